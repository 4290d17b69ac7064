// What the pages know of the ring, kept live by one event stream, by polling when the stream is
// refused. Knows the REST interface, nothing of what is on the screen.

import { batch, computed, signal } from "./html.js";
import * as api from "./api.js";

const LOG_LIMIT = 1000;
const STALE_MS = 3000;
const RETRY_STREAM_MS = 15000;
const HIDDEN_CLOSE_MS = 60000;
const LOG_NODES_LIMIT = 32;

/** @type {{value: import("./api.js").Ring|null}} the last ring heard of */
export const ring = signal(null);
/** When it was heard, by the local clock; null before the first. */
export const ring_at_ms = signal(null);
/** How we hear: "connecting", "live", "reconnecting" or "polling". */
export const link = signal("connecting");
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

/** Fills in what an answer left out, so that no component has to ask. */
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

/** The latest lines of every node that answers: what the stream told before this page was opened. */
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

let stream = null;
let stream_retry_at = 0;

function listen(event, take) {
  stream.addEventListener(event, (message) => {
    try {
      take(JSON.parse(message.data));
    } catch { /* an event that is not JSON is dropped; the next /ring puts things right */ }
  });
}

function open_stream() {
  stream = new EventSource(api.EVENTS_ADDRESS);
  stream.onopen = () => { link.value = "live"; };
  stream.onerror = () => {
    if (stream?.readyState !== EventSource.CLOSED) {
      link.value = "reconnecting";
      return;
    }
    // Refused (503: too many streams) or not an event stream: poll, and try again later.
    close_stream();
    link.value = "polling";
    stream_retry_at = Date.now() + RETRY_STREAM_MS;
  };
  listen("ring", take_ring);
  listen("import", take_operation);
  listen("log", (line) => add_lines([line]));
  for (const [event, level] of [["node.joined", "info"], ["node.left", "info"], ["node.down", "error"], ["node.back", "info"], ["keys.moved", "info"]])
    listen(event, (data) => add_lines([{ ...data, level, word: event, address: data.address ?? data.to ?? "" }]));
}

function close_stream() {
  stream?.close();
  stream = null;
}

let checking = false;
async function check_stream() {
  if (document.hidden || checking) return;
  checking = true;
  try {
    const polling = link.value !== "live";
    const age_ms = Date.now() - (ring_at_ms.value ?? 0);
    if (!stream && Date.now() >= stream_retry_at) open_stream();
    if (polling || age_ms > STALE_MS || failure.value) await refresh_ring();
    if (link.value === "polling" && ring.value)
      await fetch_logs(ring.value.nodes.filter((node) => node.state !== "down").map((node) => node.address));
  } finally {
    checking = false;
  }
}

/** Starts listening. A tab nobody looks at gives its stream back: the gateway has 16. */
export async function start_store() {
  let hidden_timer = 0;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hidden_timer);
    if (document.hidden) hidden_timer = setTimeout(() => { close_stream(); link.value = "connecting"; }, HIDDEN_CLOSE_MS);
    else check_stream();
  });
  open_stream();
  setInterval(check_stream, 1000);
  await refresh_ring();
}
