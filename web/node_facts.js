// SPDX-License-Identifier: MIT
// What one node knows: predecessor, successor list, finger table, ranges. Used by both pages.

import { html, useEffect, useSignal } from "./html.js";
import { get_node, with_token } from "./api.js";
import { find_node, ring, selected } from "./store.js";
import { NodeActions } from "./node_actions.js";
import { StateBadge } from "./nodes_table.js";
import { format_count, format_id, safe_link } from "./format.js";

/** A node by id and address; selecting it is possible where the page has a ring picture. */
export function NodeName({ node, pick = true }) {
  if (!node) return html`<span class="muted">none</span>`;
  const name = html`<b class="id" title=${node.id}>${format_id(node.id)}</b> <span class="muted">${node.address}</span>`;
  return pick ? html`<button type="button" class="plain" onClick=${() => { selected.value = node.address; }}>${name}</button>` : name;
}

export function SuccessorList({ detail, pick }) {
  const list = detail.successors ?? [];
  return html`<ol class="plain-list" data-testid="successors">${list.length === 0 ? html`<li class="muted">none</li>`
    : list.map((node) => html`<li key=${node.address}><${NodeName} node=${node} pick=${pick} /></li>`)}</ol>`;
}

/** Fingers to the same node share a row: with many bits most of them do. */
export function group_fingers(fingers) {
  const groups = [];
  for (const finger of fingers ?? []) {
    const last = groups[groups.length - 1];
    if (last && last.node?.address === finger.node?.address) last.to = finger;
    else groups.push({ from: finger, to: finger, node: finger.node });
  }
  return groups;
}

export function FingerTable({ detail, pick }) {
  const groups = group_fingers(detail.fingers);
  if (groups.length === 0) return html`<p class="muted" data-testid="fingers">no fingers</p>`;
  return html`<div class="scroll"><table data-testid="fingers">
    <thead><tr><th scope="col" class="number">Index</th><th scope="col">Starts at</th><th scope="col">Node</th></tr></thead>
    <tbody>${groups.map(({ from, to, node }) => html`<tr key=${from.index}>
      <td class="number">${from.index}${to !== from && ` to ${to.index}`}</td>
      <td class="id" title=${from.start}>${format_id(from.start)}</td>
      <td><${NodeName} node=${node} pick=${pick} /></td></tr>`)}</tbody>
  </table></div>`;
}

export function RangesTable({ detail }) {
  const ranges = detail.ranges ?? [];
  if (ranges.length === 0) return html`<p class="muted" data-testid="ranges">no range is held here</p>`;
  return html`<div class="scroll"><table class="cards" data-testid="ranges">
    <thead><tr><th scope="col">Range</th><th scope="col">State</th><th scope="col" class="number">Copies</th><th scope="col" class="number">Epoch</th><th scope="col">Leader</th><th scope="col">Members</th></tr></thead>
    <tbody>${ranges.map((range) => html`<tr key=${`${range.lo} ${range.hi} ${range.epoch}`}>
      <td data-label="Range" class="id" title=${`(${range.lo}, ${range.hi}]`}>(${format_id(range.lo)}, ${format_id(range.hi)}]</td>
      <td data-label="State">${range.state}${range.recovered && html` <span class="warn-text" data-testid="range-recovered" title="it went on without a majority of its copies once: acknowledged writes may be missing">recovered by hand</span>`}</td>
      <td data-label="Copies" class="number" title="only the leader knows">${range.copies ? `${range.copies} of ${detail.replicas}` : "–"}</td>
      <td data-label="Epoch" class="number">${format_count(range.epoch)}</td>
      <td data-label="Leader">${range.leader ?? "–"}</td>
      <td data-label="Members">${(range.members ?? []).join(", ")}</td></tr>`)}</tbody>
  </table></div>`;
}

/** The card of the node that is selected on the ring dashboard. */
export function SelectedNode() {
  const address = selected.value;
  const node = address && find_node(address);
  const detail = useSignal(null);
  const error = useSignal("");
  const sequence = ring.value?.sequence;
  useEffect(() => {
    let current = true;
    if (!address) return undefined;
    get_node(address).then((answer) => { if (current) { detail.value = { ...answer, asked: address }; error.value = ""; } })
      .catch((problem) => { if (current) error.value = problem.message; });
    return () => { current = false; };
  }, [address, sequence]);

  if (!node) return html`<p class="muted hint">Select a node on the ring, or in the table, to see its successors and fingers.</p>`;
  const facts = detail.value?.asked === address ? detail.value : null;
  const link = with_token(safe_link(node.dashboard));
  return html`<div class="selected-node" data-testid="selected-node">
    <h3>Node <span class="id wrap">${node.id}</span> <${StateBadge} node=${node} /></h3>
    <p>${node.address}${link && html`, <a href=${link}>its own page</a>`} <button type="button" class="plain" onClick=${() => { selected.value = null; }}>unselect</button></p>
    <p><${NodeActions} node=${node} /></p>
    ${error.value && html`<p class="warn-text">${error.value}</p>`}
    ${facts && html`<div class="columns">
      <div><h4>Predecessor</h4><${NodeName} node=${facts.predecessor} /></div>
      <div><h4>Successor list</h4><${SuccessorList} detail=${facts} /></div>
    </div>
    <h4>Finger table</h4><${FingerTable} detail=${facts} />`}
  </div>`;
}
