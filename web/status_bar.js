// SPDX-License-Identifier: MIT
// The top of both pages: the ring's state, how fresh it is, and the numbers that sum it up.

import { computed, effect, html } from "./html.js";
import { active_nodes, failure, link, refresh_ring, ring, ring_at_ms, stale, too_many_windows } from "./store.js";
import { format_bytes, format_clock, format_count, format_percent, format_plural } from "./format.js";
import { evenness } from "./ring_math.js";
import { ring_state, state_class } from "./words.js";

const LINKS = {
  connecting: ["…", "connecting"], live: ["●", "live"],
  reconnecting: ["↻", "reconnecting"], polling: ["◌", "polling each second"],
};

/** The verdict on the ring, as far as the page knows: one state and one sentence. */
const verdict = computed(() => {
  if (failure.value) return { state: "silent", reason: failure.value.message };
  if (!ring.value) return { state: "waiting", reason: "asking the gateway" };
  if (ring.value.nodes.length === 0) return { state: "waiting", reason: "no node is known yet" };
  return { state: ring.value.state, reason: ring.value.state_reason };
});

/** Keeps the tab's title in step. @param {() => string} name */
export function title_follows_ring(name) {
  effect(() => {
    const word = ring_state(verdict.value.state).word.toLowerCase();
    document.title = `${name()}: ${word}${ring.value ? `, ${format_plural(active_nodes.value, "node")}` : ""}`;
  });
}

/** What the ring still bears is in the reason already, but while it heals: then the reason is what is mended.
 * @param {{ring_word?: boolean}} props  with ring_word the badge says that it is the ring's, not a node's */
export function StatusBar({ ring_word = false }) {
  const { state, reason } = verdict.value;
  const { word, sign } = ring_state(state);
  const view = ring.value;
  const [link_sign, link_word] = LINKS[link.value];
  return html`<div class=${`status-bar ${state_class(state)}`}>
    <p class="status-main" role="status">
      <span class="badge" data-testid="ring-state" data-state=${state}><span aria-hidden="true">${sign}</span> ${ring_word ? `Ring: ${word.toLowerCase()}` : word}</span>
      <span class="status-reason" title=${reason} data-testid="ring-reason">${reason}</span>
    </p>
    <p class="status-side">
      ${state === "healing" && !stale.value && html`<span data-testid="survives">survives <b>${view.survives_failures ?? "–"}</b> more ${view.survives_failures === 1 ? "failure" : "failures"}</span>`}
      <span class=${`link link-${link.value}`} data-testid="link" data-link=${link.value}><span aria-hidden="true">${link_sign}</span> ${link_word}</span>
    </p>
    ${view?.warning && !stale.value && html`<p class="status-warning" data-testid="ring-warning">⚠ ${view.warning}</p>`}
    ${too_many_windows.value && html`<p class="status-warning" data-testid="too-many-windows">Too many windows show this gateway: all of its event streams are in use, so this one asks each second. Close some to see changes at once.</p>`}
    ${stale.value && html`<p class="status-warning" data-testid="stale">
      ${ring_at_ms.value ? `What you see is as of ${format_clock(ring_at_ms.value)}.` : "Nothing has been heard of the ring yet."}
      ${" "}<button type="button" onClick=${refresh_ring}>Ask again</button></p>`}
  </div>`;
}

const sum = (nodes, name) => {
  const numbers = nodes.map((node) => node[name]).filter(Number.isFinite);
  return numbers.length ? numbers.reduce((total, number) => total + number, 0) : null;
};

/** How many copies a key has: no more than there are members. */
function copies_of(view) {
  const copies = Math.min(view.replicas, Math.max(1, view.members ?? view.replicas));
  const wanted = copies < view.replicas ? ` (of ${format_count(view.replicas)}: more nodes are needed)` : "";
  return `${format_plural(copies, "copy", "copies")} of each${wanted}, ${format_bytes(sum(view.nodes, "bytes_stored"))} stored`;
}

/** How evenly the members share the ring, and what to do where they do not. */
function Evenness({ view }) {
  const ids = view.nodes.filter((node) => node.state === "member" && node.id).map((node) => node.id);
  if (ids.length < 2) return `of ${format_count(view.nodes.length)} known`;
  const { largest, smallest, even } = evenness(ids, view.m);
  return html`of ${format_count(view.nodes.length)} known; arcs <span data-testid="evenness"
    title="The arc that a node leads, in parts of the mean: the smallest and the largest.">${smallest.toFixed(1)} to ${largest.toFixed(1)} of the mean</span>${
    !even && html`. <span class="warn-text" data-testid="uneven">Uneven: <code>chordctl rebalance</code></span>`}`;
}

function Tile({ name, testid, value, note }) {
  return html`<div class="tile"><dt>${name}</dt><dd><b data-testid=${testid}>${value}</b><small>${note}</small></dd></div>`;
}

export function Tiles() {
  const view = ring.value;
  const nodes = view?.nodes ?? [];
  const memory = view?.memory;
  return html`<dl class="tiles">
    <${Tile} name="Active nodes" testid="active-nodes" value=${view ? format_count(active_nodes.value) : "–"}
      note=${view ? html`<${Evenness} view=${view} />` : ""} />
    <${Tile} name="Keys" testid="keys-total" value=${format_count(view?.keys)}
      note=${view?.keys_lost > 0 ? html`<span class="warn-text" data-testid="keys-lost">⚠ ${format_count(view.keys_lost)} of them cannot be read now</span>` : view ? copies_of(view) : ""} />
    <${Tile} name="Memory of the nodes" testid="memory" value=${format_bytes(sum(nodes, "pss_bytes"))}
      note=${memory ? `PSS, shared pages in parts; machine: ${format_bytes(memory.available_bytes)} free of ${format_bytes(memory.total_bytes)}` : ""} />
    <${Tile} name="CPU of the nodes" testid="cpu" value=${format_percent(sum(nodes, "cpu_percent"))}
      note=${view?.cpu ? `100 % is one core; machine: ${format_percent(view.cpu.percent)} of ${format_plural(view.cpu.cores, "core")}` : ""} />
  </dl>`;
}
