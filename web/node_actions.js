// SPDX-License-Identifier: MIT
// The buttons that a node's state allows: leave and KYS while it lives, join when it left, start when it is down.

import { html, useSignal } from "./html.js";
import * as api from "./api.js";
import { refresh_ring, stale } from "./store.js";
import { tell_outcome } from "./notices.js";
import { ask_kill, ask_leave } from "./dialogs.js";

/** @param {{node: import("./api.js").RingNode}} props */
export function NodeActions({ node }) {
  const busy = useSignal(false);
  const off = busy.value || (stale.value && node.state !== "down");
  const run = async (verb, done) => {
    busy.value = true;
    await tell_outcome(() => api.post_node_verb(node.address, verb), done);
    busy.value = false;
    refresh_ring();
  };
  const button = (verb, label, kind, action) => html`<button type="button" class=${kind} disabled=${off}
    aria-label=${`${label} node ${node.id}`} data-testid=${`${verb}-${node.address}`} onClick=${action}>${label}</button>`;
  return html`<span class="node-actions">
    ${node.state === "member" && button("leave", "Leave", "", () => ask_leave(node))}
    ${node.state === "left" && button("join", "Join", "primary", () => run("join", `Node ${node.id} is joining.`))}
    ${node.state === "down" && node.slot !== null && button("start", "Start", "primary", () => run("start", `Node ${node.id} is starting.`))}
    ${node.state === "down" && node.slot === null && html`<span class="muted">start it on its own host</span>`}
    ${node.state !== "down" && button("kill", "KYS", "danger", () => ask_kill(node))}
  </span>`;
}
