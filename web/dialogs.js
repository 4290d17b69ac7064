// SPDX-License-Identifier: MIT
// The dialogs that stand between a click and what cannot be undone: leave, kill (KYS), delete a key,
// and the question for the token.

import { html, signal, useEffect, useRef, useSignal } from "./html.js";
import * as api from "./api.js";
import { ring } from "./store.js";
import { tell_outcome } from "./notices.js";
import { format_count, format_plural } from "./format.js";

/** @type {{value: null|{kind: "leave"|"kill", node: import("./api.js").RingNode}|{kind: "delete", key: string, on_done: () => void}|{kind: "token", reason: string, take: (token: string) => void}}} */
const open_dialog = signal(null);

export const ask_leave = (node) => { open_dialog.value = { kind: "leave", node }; };
export const ask_kill = (node) => { open_dialog.value = { kind: "kill", node }; };
export const ask_delete = (key, on_done) => { open_dialog.value = { kind: "delete", key, on_done }; };
const close = () => {
  const ask = open_dialog.value;
  open_dialog.value = null;
  if (ask?.kind === "token") ask.take("");
};
api.set_token_asker((reason) => new Promise((take) => { open_dialog.value = { kind: "token", reason, take }; }));

/** How many failures the ring can survive, as a sentence; shown before a node goes. */
function survival(verb) {
  const view = ring.value;
  if (!view) return null;
  const survives = view.survives_failures;
  const text = survives > 0
    ? `The ring survives ${format_plural(survives, "more failure")} now${view.survives_hosts > 0 ? `, or any ${view.survives_hosts} of ${view.hosts.length} hosts` : ""}.`
    : `The ring survives no failure now${verb === "kill" ? ": values may become unreadable until this node is started again" : ""}.`;
  return html`<p class=${survives > 0 ? "" : "warn-text"} data-testid="dialog-survives">${survives > 0 ? "" : "⚠ "}${text}</p>
    ${view.warning && html`<p class="warn-text">⚠ ${view.warning}</p>`}`;
}

function Modal({ title, danger, testid, children }) {
  const box = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    box.current.showModal();
    return () => before?.isConnected && before.focus?.();
  }, []);
  return html`<dialog ref=${box} class=${danger ? "danger" : ""} aria-labelledby="dialog-title" data-testid=${testid}
    onClose=${close} onClick=${(event) => event.target === box.current && close()}>
    <div class="dialog-body"><h2 id="dialog-title">${title}</h2>${children}</div>
  </dialog>`;
}

function LeaveDialog({ node }) {
  const confirm = () => {
    close();
    tell_outcome(() => api.post_node_verb(node.address, "leave"), `Node ${node.id} is handing over its keys.`);
  };
  return html`<${Modal} title=${`Leave: node ${node.id}`} testid="leave-dialog">
    <p>Node <b>${node.id}</b> (${node.address}) hands its ${format_count(node.keys)} keys to the others and goes out of the ring.
      Nothing is lost; its process stays and can join again.</p>
    ${survival("leave")}
    <div class="buttons">
      <button type="button" onClick=${close}>Cancel</button>
      <button type="button" class="primary" data-testid="leave-confirm" onClick=${confirm}>Leave the ring</button>
    </div>
  <//>`;
}

function KillDialog({ node }) {
  const typed = useSignal("");
  const right = typed.value.trim().toLowerCase() === node.id;
  const confirm = (event) => {
    event.preventDefault();
    if (!right) return;
    close();
    tell_outcome(() => api.post_node_kill(node.address, node.id), `Node ${node.id} was killed; the ring heals now.`);
  };
  return html`<${Modal} title=${`KYS: kill node ${node.id}`} danger testid="kill-dialog">
    <form onSubmit=${confirm}>
      <p>The process of node <b>${node.id}</b> (${node.address}) ends at once. It hands nothing over; the other copies of its keys must do.</p>
      ${survival("kill")}
      <label><span>Type the node's id, <code>${node.id}</code>, to confirm</span>
        <input type="text" autocomplete="off" autocapitalize="none" spellcheck=${false} data-testid="kill-input"
          value=${typed.value} onInput=${(event) => { typed.value = event.target.value; }} /></label>
      <div class="buttons">
        <button type="button" onClick=${close}>Cancel</button>
        <button type="submit" class="danger" disabled=${!right} data-testid="kill-confirm">Kill node ${node.id}</button>
      </div>
    </form>
  <//>`;
}

function DeleteDialog({ ask }) {
  const confirm = async () => {
    close();
    if (await tell_outcome(async () => { await api.delete_value(ask.key); }, `Deleted "${ask.key}".`)) ask.on_done();
  };
  return html`<${Modal} title="Delete a key" danger testid="delete-dialog">
    <p>Delete the key <b class="wrap">${ask.key}</b> and its value from every copy?</p>
    <div class="buttons">
      <button type="button" onClick=${close}>Cancel</button>
      <button type="button" class="danger" data-testid="delete-confirm" onClick=${confirm}>Delete</button>
    </div>
  <//>`;
}

/** A gateway that has tokens accepts changes only with one whose role allows them. */
function TokenDialog({ ask }) {
  const typed = useSignal("");
  const confirm = (event) => {
    event.preventDefault();
    ask.take(typed.value.trim());
    close();
  };
  return html`<${Modal} title=${ask.reason ? "This token may not do that" : "This gateway asks for a token"} testid="token-dialog">
    <form onSubmit=${confirm}>
      ${ask.reason && html`<p class="warn-text" data-testid="token-reason">⚠ Refused: ${ask.reason}. Give another token.</p>`}
      <p>Changes need a token of the gateway's API_TOKEN_FILE; where others can reach the address, reads need one too. It is forgotten with this browser's session.
        Without one, <code>python3 init.py --link</code> on the gateway's host prints a link that opens this page once.</p>
      <label>Token <input type="password" autocomplete="current-password" data-testid="token-input" value=${typed.value}
        onInput=${(event) => { typed.value = event.target.value; }} /></label>
      <div class="buttons"><button type="button" onClick=${close}>Cancel</button>
        <button type="submit" class="primary" disabled=${typed.value.trim() === ""} data-testid="token-confirm">Go on</button></div>
    </form>
  <//>`;
}

export function Dialogs() {
  const ask = open_dialog.value;
  if (!ask) return null;
  // The key gives each question its own dialog with an empty input.
  if (ask.kind === "leave") return html`<${LeaveDialog} key=${`leave ${ask.node.address}`} node=${ask.node} />`;
  if (ask.kind === "kill") return html`<${KillDialog} key=${`kill ${ask.node.address}`} node=${ask.node} />`;
  if (ask.kind === "token") return html`<${TokenDialog} key="token" ask=${ask} />`;
  return html`<${DeleteDialog} key=${`delete ${ask.key}`} ask=${ask} />`;
}
