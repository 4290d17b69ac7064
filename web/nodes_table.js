// SPDX-License-Identifier: MIT
// The same ring as a table: everything the picture shows, readable without it, with the actions.

import { html } from "./html.js";
import { with_token } from "./api.js";
import { ring, selected } from "./store.js";
import { NodeActions } from "./node_actions.js";
import { format_bytes, format_count, format_duration, format_id, format_percent, safe_link } from "./format.js";
import { node_state, state_class } from "./words.js";

/** Sign and word of a state, and how long it has been so. */
export function StateBadge({ node }) {
  const { sign, word: plain } = node_state(node.state);
  const word = node.departed && node.state === "down" ? "left, stopped" : plain;
  return html`<span class=${`state ${state_class(node.state)}`} data-testid=${`state-${node.address}`} data-state=${node.state}>
    <span aria-hidden="true">${sign}</span> ${word}${node.state !== "member" && Number.isFinite(node.since_ms) ? html` <small>${format_duration(node.since_ms)}</small>` : ""}</span>`;
}

function Row({ node, several }) {
  const link = with_token(safe_link(node.dashboard));
  const is_selected = selected.value === node.address;
  const pick = () => { selected.value = is_selected ? null : node.address; };
  return html`<tr class=${is_selected ? "is-selected" : ""} data-testid=${`row-${node.address}`}>
    <th scope="row" data-label="Id"><button type="button" class="plain id" title=${node.id} aria-pressed=${is_selected} onClick=${pick}>${format_id(node.id)}</button></th>
    <td data-label="Address">${node.address}</td>
    ${several && html`<td data-label="Host">${node.host || "–"}</td>`}
    <td data-label="State"><${StateBadge} node=${node} />
      ${node.disputed && html` <span class="warn-text" title="fewer than two nodes report it">disputed</span>`}
      ${node.recovered > 0 && html` <span class="warn-text" data-testid=${`recovered-${node.address}`} title="a range of this node went on without a majority of its copies once: acknowledged writes may be missing">recovered by hand</span>`}
      ${node.bad_rows > 0 && html` <span class="warn-text" data-testid=${`bad-rows-${node.address}`} title="rows that its disk has changed; they are not given out. chordctl doctor says what to do">${format_count(node.bad_rows)} damaged</span>`}
      ${node.copies_short > 0 && html` <span class="warn-text">${format_count(node.copies_short)} copies short</span>`}</td>
    <td data-label="Keys" class="number" title="keys whose copies this node leads">${format_count(node.keys)}</td>
    <td data-label="Stored" class="number" title="keys of which it holds a copy">${format_count(node.keys_stored)} <small>${format_bytes(node.bytes_stored)}</small></td>
    <td data-label="CPU" class="number">${format_percent(node.cpu_percent)}</td>
    <td data-label="Memory" class="number">${format_bytes(node.pss_bytes)}</td>
    <td data-label="Uptime" class="number">${node.state === "down" ? "–" : format_duration(node.uptime_ms)}</td>
    <td data-label="Page">${link ? html`<a href=${link} data-testid=${`open-${node.address}`}>open<span class="hidden"> the page of node ${node.id}</span></a>` : html`<span class="muted">not known</span>`}</td>
    <td data-label="Actions"><${NodeActions} node=${node} /></td>
  </tr>`;
}

export function NodesTable() {
  const nodes = ring.value?.nodes ?? [];
  const several = ring.value?.hosts?.length > 1;
  return html`<section class="card wide" aria-labelledby="nodes-title">
    <h2 id="nodes-title">Nodes</h2>
    ${nodes.length === 0 ? html`<p class="muted" data-testid="no-nodes">No node is known yet. Start some with <code>python3 init.py</code>.</p>` : html`
    <div class="scroll"><table class="cards" data-testid="nodes-table">
      <thead><tr><th scope="col">Id</th><th scope="col">Address</th>${several && html`<th scope="col">Host</th>`}<th scope="col">State</th><th scope="col" class="number">Keys led</th><th scope="col" class="number">Stored</th>
        <th scope="col" class="number">CPU</th><th scope="col" class="number" title="PSS: pages that processes share count as their part">Memory</th><th scope="col" class="number">Uptime</th><th scope="col">Page</th><th scope="col">Actions</th></tr></thead>
      <tbody>${nodes.map((node) => html`<${Row} key=${node.address} node=${node} several=${several} />`)}</tbody>
    </table></div>`}
  </section>`;
}
