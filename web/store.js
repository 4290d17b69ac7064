// SPDX-License-Identifier: MIT
// What the pages know of the ring, kept live by one event stream, by polling when the stream is
// refused. Knows the REST interface, nothing of what is on the screen.

import { batch, computed, signal } from "./html.js";
import * as api from "./api.js";
import { share_events } from "./event_stream.js";

const LOG_LIMIT = 1000;
const STALE_MS = 3000;
const HIDDEN_CLOSE_MS = 2000;
const LOG_NODES_LIMIT = 32;

/** @type {{value: import("./api.js").Ring|null}} the last ring heard of */
export const ring = signal(null);
/** When it was heard, by the local clock; null before the first. */
export const ring_at_ms = signal(null);
/** The connection: "connecting", "live", "reconnecting" or "polling". */
export const link = signal("connecting");
/** True when the gateway has no event stream left for this window. */
export const too_many_windows = signal(false);
/** Why the last question for the ring failed; null when it did not. @type {{value: api.ApiError|null}} */
export const failure = signal(null);
/** @typedef {{order: number, time_ms: number, level: string, word: string, text: string, address: string}} LogLine */
/** @type {{value: LogLine[]}} oldest first */
export const log_lines = signal([]);
/** Address of the node the user picked; addresses never change, ids may. */
export const selected = signal(null);
/** The lookup to draw: {lookup, shown} where `shown` hops are visible already. */
export const path = signal(null);
/** Import operations heard of, by id. @type {{value: Record<string, import("./api.js").Operation>}} */
export const operations = signal({});

/** True when what is shown may be old: actions are off and numbers are greyed. */
export const stale = computed(() => failure.value !== null);
export const active_nodes = computed(() => (ring.value?.nodes ?? []).filter((node) => node.state === "member").length);

export function find_node(address) {
  return ring.value?.nodes.find((node) => node.address === address) ?? null;
}

/** The last line read of each node's log. @type {Map<string, number>} */
const log_after = new Map();

/** Fills in what an answer left out, so that no component has to check. */
function take_ring(body) {
  if (!body || !Array.isArray(body.nodes)) return;
  // A node that starts again counts its lines from 1.
  for (const node of body.nodes) if (node.state === "down") log_after.delete(node.address);
  batch(() => {
    ring.value = { m: 6, n: 3, replicas: 3, warning: "", state: "forming", state_reason: "", ...body,
      nodes: body.nodes.map((node) => ({ ...node, successors: node.successors ?? [] })) };
    ring_at_ms.value = Date.now();
    failure.value = null;
  });
}

export function take_operation(operation) {
  if (operation?.id) operations.value = { ...operations.value, [operation.id]: operation };
}

const seen_lines = new Set();
let line_order = 0;

function add_lines(lines) {
  const fresh = lines.filter((line) => {
    const name = `${line.address} ${line.sequence ?? line.text} ${line.time_ms}`;
    if (seen_lines.has(name)) return false;
    seen_lines.add(name);
    return true;
  }).map((line) => ({ level: "info", word: "", ...line, order: ++line_order }));
  if (fresh.length === 0) return;
  const all = log_lines.value.concat(fresh);
  // Lines of several nodes come in nearly in order; a stable sort by time puts the rest right.
  all.sort((a, b) => a.time_ms - b.time_ms || a.order - b.order);
  log_lines.value = all.slice(-LOG_LIMIT);
  if (seen_lines.size > 8 * LOG_LIMIT) {
    seen_lines.clear();
    for (const line of log_lines.value) seen_lines.add(`${line.address} ${line.sequence ?? line.text} ${line.time_ms}`);
  }
}

/** The latest lines of every node that answers: what happened before this page was opened. */
export async function fetch_logs(addresses) {
  await Promise.all(addresses.slice(0, LOG_NODES_LIMIT).map(async (address) => {
    try {
      const { lines = [] } = await api.get_node_logs(address, log_after.get(address));
      if (lines.length === 0) return;
      log_after.set(address, lines[lines.length - 1].sequence);
      add_lines(lines.map((line) => ({ ...line, address })));
    } catch { /* a node that is down has no log to give; the ring view says that it is down */ }
  }));
}

export async function refresh_ring() {
  try {
    take_ring(await api.get_ring());
  } catch (error) {
    failure.value = error;
  }
}

/** What each kind of event changes here. */
const LISTENERS = {
  ring: take_ring,
  import: take_operation,
  log: (line) => add_lines([line]),
  ...Object.fromEntries([["node.joined", "info"], ["node.left", "info"], ["node.down", "error"], ["node.back", "info"], ["keys.moved", "info"]]
    .map(([kind, level]) => [kind, (data) => add_lines([{ ...data, level, word: kind, address: data.address ?? data.to ?? "" }])])),
};

function take_event(kind, text) {
  try {
    LISTENERS[kind](JSON.parse(text));
  } catch { /* an event that is not JSON is dropped; the next /ring puts things right */ }
}

function take_state(state, status) {
  link.value = state === "refused" ? "polling" : state;
  too_many_windows.value = state === "refused" && status === 503;
}

let checking = false;
async function check_stream() {
  if (document.hidden || checking) return;
  checking = true;
  try {
    const polling = link.value !== "live";
    const age_ms = Date.now() - (ring_at_ms.value ?? 0);
    if (polling || age_ms > STALE_MS || failure.value) await refresh_ring();
    if (link.value === "polling" && ring.value)
      await fetch_logs(ring.value.nodes.filter((node) => node.state !== "down").map((node) => node.address));
  } finally {
    checking = false;
  }
}

/** Starts listening. A hidden tab soon gives up the stream. */
export async function start_store() {
  const events = share_events(api.EVENTS_ADDRESS, { kinds: Object.keys(LISTENERS), on_event: take_event, on_state: take_state });
  let hidden_timer = 0;
  const follow_visibility = () => {
    clearTimeout(hidden_timer);
    if (document.hidden) {
      hidden_timer = setTimeout(() => events.set_visible(false), HIDDEN_CLOSE_MS);
      return;
    }
    events.set_visible(true);
    check_stream();
  };
  document.addEventListener("visibilitychange", follow_visibility);
  follow_visibility();
  setInterval(check_stream, 1000);
  await refresh_ring();
}
