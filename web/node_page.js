// SPDX-License-Identifier: MIT
// The dashboard of one local node (node.html). The gateway serves it, so it works while the node is down.

import { computed, effect, html, mount, signal } from "./html.js";
import { get_node, get_self, with_token } from "./api.js";
import { take_access } from "./login.js";
import { fetch_logs, find_node, ring, selected, stale, start_store } from "./store.js";
import { StatusBar, title_follows_ring } from "./status_bar.js";
import { RingPicture } from "./ring_picture.js";
import { NodeActions } from "./node_actions.js";
import { StateBadge } from "./nodes_table.js";
import { FingerTable, NodeName, RangesTable, SuccessorList } from "./node_facts.js";
import { LocalData } from "./local_data.js";
import { LogPanel } from "./log_panel.js";
import { Dialogs } from "./dialogs.js";
import { Notices } from "./notices.js";
import { format_bytes, format_clock, format_count, format_duration, format_percent, safe_link } from "./format.js";

const REFRESH_MS = 2000;

/** The node that this page shows: {slot, address, ring_dashboard}. */
const self = signal(null);
const detail = signal(null);
const problem = signal("");
const tick = signal(0);

/** The ring's view is newer than the node's own answer: while the node is down, its last answer stays. */
const node = computed(() => {
  const brief = self.value?.address ? find_node(self.value.address) : null;
  return brief ?? detail.value;
});

async function refresh_self() {
  try {
    self.value = await get_self();
    problem.value = "";
  } catch (error) {
    problem.value = error.message;
  }
}

let asking = false;
async function refresh() {
  if (document.hidden || asking) return;
  asking = true;
  // A slot that was just added gets its address only when its node has answered once.
  if (!self.value?.address) await refresh_self();
  const address = self.value?.address;
  if (address) {
    try {
      detail.value = await get_node(address);
      problem.value = "";
    } catch (error) {
      problem.value = error.message;
    }
    await fetch_logs([address]);
    tick.value++;
  }
  asking = false;
}

function Fact({ name, testid, children }) {
  return html`<div><dt>${name}</dt><dd data-testid=${testid}>${children}</dd></div>`;
}

function Identity({ shown }) {
  const facts = detail.value ?? {};
  const down = shown.state === "down";
  return html`<section class="card" aria-labelledby="node-title">
    <h2 id="node-title">Node <span class="id wrap" data-testid="node-id">${shown.id}</span></h2>
    <p><${StateBadge} node=${shown} />${down && Number.isFinite(shown.since_ms) && html` <span data-testid="down-since">down since ${format_clock(Date.now() - shown.since_ms)}; what follows is the last that was known</span>`}</p>
    <p><${NodeActions} node=${shown} /></p>
    ${shown.invariant && html`<p class="warn-text" role="alert" data-testid="invariant">⚠ A rule of Chord is broken in this node: ${shown.invariant}</p>`}
    <dl class="facts">
      <${Fact} name="Address" testid="node-address">${shown.address}<//>
      <${Fact} name="Range it owns">${shown.range ? html`<span class="id wrap">(${shown.range.lo}, ${shown.range.hi}]</span>` : "none"}<//>
      <${Fact} name="Keys led">${format_count(shown.keys)}<//>
      <${Fact} name="Keys stored">${format_count(shown.keys_stored)}, ${format_bytes(shown.bytes_stored)}<//>
      <${Fact} name="CPU">${format_percent(shown.cpu_percent)}<//>
      <${Fact} name="Memory (PSS)" testid="node-memory">${format_bytes(shown.pss_bytes)}<//>
      <${Fact} name="Uptime">${down ? "–" : format_duration(shown.uptime_ms)}<//>
      <${Fact} name="Incarnation" testid="incarnation">${format_count(shown.incarnation)}<//>
      <${Fact} name="Salt of its id">${format_count(facts.salt)}<//>
      <${Fact} name="Requests">${format_count(facts.requests_total)}, ${format_count(facts.refused_total)} refused<//>
    </dl>
  </section>`;
}

function Neighbours() {
  const facts = detail.value;
  if (!facts) return null;
  return html`<section class="card" aria-labelledby="neighbours-title"><h2 id="neighbours-title">Neighbours</h2>
      <h3>Predecessor</h3><p data-testid="predecessor"><${NodeName} node=${facts.predecessor} pick=${false} /></p>
      <h3>Successor list</h3><${SuccessorList} detail=${facts} pick=${false} />
      <h3>Finger table</h3><${FingerTable} detail=${facts} pick=${false} /></section>
    <section class="card wide" aria-labelledby="ranges-title"><h2 id="ranges-title">Ranges it holds</h2><${RangesTable} detail=${facts} /></section>`;
}

function NodePage() {
  const shown = node.value;
  const back = with_token(safe_link(self.value?.ring_dashboard));
  const off_slot = self.value && !self.value.slot;
  return html`<a class="skip" href="#main">Skip to the node</a>
    <header class="top"><h1><img src="./icon.svg" alt="" width="28" height="28" /> Chord node ${self.value?.slot ?? ""}
      ${back && html` <a class="button small" href=${back} data-testid="back">← the ring</a>`}</h1><${StatusBar} ring_word /></header>
    <main id="main" tabindex="-1" class=${stale.value ? "is-stale" : ""}>
      ${problem.value && html`<p class="card wide warn-text" role="alert" data-testid="node-problem">${problem.value}</p>`}
      ${shown?.state === "down" && html`<p class="card wide warn-text" role="alert" data-testid="node-down">✕ This node is down${Number.isFinite(shown.since_ms) ? ` since ${format_clock(Date.now() - shown.since_ms)}` : ""}. The badge above is of the ring, which goes on without it.</p>`}
      ${off_slot && html`<p class="card wide">This address is not the page of one node. See ${back ? html`<a href=${back}>the ring</a>` : "the ring dashboard"}.</p>`}
      ${shown ? html`<${Identity} shown=${shown} />
        <section class="card tall" aria-labelledby="ring-title"><h2 id="ring-title">Its place and its fingers</h2><${RingPicture} /></section>
        <${Neighbours} />
        <${LocalData} address=${shown.address} alive=${shown.state !== "down"} tick=${tick.value} />
        <${LogPanel} address=${shown.address} title="System log of this node" />`
      : !problem.value && !off_slot && html`<p class="card wide muted">Asking the node…</p>`}
    </main>
    <${Notices} /><${Dialogs} />`;
}

await take_access();
mount(html`<${NodePage} />`);
title_follows_ring(() => `Node ${node.value?.id ?? self.value?.slot ?? ""}`);
await Promise.all([start_store(), refresh_self()]);
selected.value = self.value?.address ?? null;
setInterval(refresh, REFRESH_MS);
// Each change of the ring may be a change of this node.
effect(() => { if (ring.value) refresh(); });
