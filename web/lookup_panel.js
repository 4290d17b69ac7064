// SPDX-License-Identifier: MIT
// Look a key up and see the way over the ring and the value; store or delete a single key.

import { html, useEffect, useSignal } from "./html.js";
import * as api from "./api.js";
import { path, stale } from "./store.js";
import { NodeName } from "./node_facts.js";
import { ask_delete } from "./dialogs.js";
import { tell_outcome } from "./notices.js";
import { format_bytes, format_id, format_microseconds, show_bytes } from "./format.js";

const HOP_MS = 450;

/** Shows the path hop by hop, at once where motion is unwanted. */
function draw_path(lookup) {
  const count = lookup.hops.length + 1;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  path.value = { lookup, shown: still ? count : 1 };
  if (still) return undefined;
  const timer = setInterval(() => {
    const drawn = path.value;
    if (drawn?.lookup !== lookup || drawn.shown >= count) return clearInterval(timer);
    path.value = { lookup, shown: drawn.shown + 1 };
    return undefined;
  }, HOP_MS);
  return timer;
}

async function find_value(key) {
  try {
    return { found: true, ...await api.get_value(key) };
  } catch (error) {
    if (error.status === 404) return { found: false };
    throw error;
  }
}

function Path({ lookup }) {
  const total = lookup.hops.reduce((sum, hop) => sum + (hop.microseconds ?? 0), 0);
  return html`<h3>Path</h3>
    <p>Key id <b class="id wrap" data-testid="lookup-key-id">${lookup.key_id}</b> belongs to <span data-testid="lookup-owner"><${NodeName} node=${lookup.owner} /></span></p>
    <ol class="hops" data-testid="lookup-hops">${lookup.hops.map((hop, index) => html`<li key=${index} data-testid="lookup-hop">
      <${NodeName} node=${hop.node} /> <span class="number">${format_microseconds(hop.microseconds)}</span></li>`)}</ol>
    <p class="muted">${lookup.hops.length} ${lookup.hops.length === 1 ? "node" : "nodes"} asked in ${format_microseconds(total)}</p>`;
}

function Value({ result }) {
  const { lookup, value } = result;
  if (!value.found) return html`<p class="not-found" data-testid="lookup-missing">Nothing is stored under <b class="wrap">${lookup.key}</b>. If it were, node <b>${format_id(lookup.owner.id)}</b> would lead it.</p>`;
  const { kind, shown } = show_bytes(value.bytes);
  return html`<h3>Value <small class="muted">${format_bytes(value.bytes.length)}${kind === "hex" && ", not UTF-8, shown as hex"}${value.etag && `, version ${value.etag.replaceAll('"', "")}`}</small></h3>
    <pre data-testid="lookup-value" tabindex="0">${shown}</pre>`;
}

export function LookupPanel() {
  const key = useSignal("");
  const result = useSignal(null);
  const problem = useSignal("");
  const busy = useSignal(false);
  const look_up = async (event) => {
    event.preventDefault();
    if (key.value === "" || busy.value) return;
    busy.value = true;
    problem.value = "";
    try {
      const [lookup, value] = await Promise.all([api.get_lookup(key.value), find_value(key.value)]);
      result.value = { lookup: { ...lookup, hops: lookup.hops ?? [] }, value };
      draw_path(result.value.lookup);
    } catch (error) {
      result.value = null;
      path.value = null;
      problem.value = error.message;
    }
    busy.value = false;
  };
  const clear = () => { result.value = null; path.value = null; };
  return html`<section class="lookup" aria-labelledby="lookup-title">
    <h2 id="lookup-title">Look a key up</h2>
    <form class="row" onSubmit=${look_up}>
      <label>Key <input type="text" autocomplete="off" autocapitalize="none" spellcheck=${false} required data-testid="lookup-key" value=${key.value}
        placeholder="Iron" onInput=${(event) => { key.value = event.target.value; }} /></label>
      <button type="submit" class="primary" disabled=${busy.value || stale.value} data-testid="lookup-start">Look up</button>
    </form>
    ${problem.value && html`<p class="warn-text" role="alert" data-testid="lookup-problem">${problem.value}</p>`}
    ${result.value && html`<div data-testid="lookup-result" data-key=${result.value.lookup.key}><${Value} result=${result.value} /><${Path} lookup=${result.value.lookup} />
      <div class="buttons start"><button type="button" onClick=${() => draw_path(result.value.lookup)}>Show the path again</button>
        <button type="button" onClick=${clear}>Clear</button></div></div>`}
  </section>`;
}

export function KeyPanel() {
  const key = useSignal("");
  const value = useSignal("");
  const busy = useSignal(false);
  useEffect(() => () => { path.value = null; }, []);
  const store = async (event) => {
    event.preventDefault();
    if (key.value === "") return;
    busy.value = true;
    const done = await tell_outcome(async () => { await api.put_value(key.value, value.value); }, `Stored "${key.value}".`);
    if (done) value.value = "";
    busy.value = false;
  };
  return html`<section class="card" aria-labelledby="key-title">
    <h2 id="key-title">Store or delete one key</h2>
    <form onSubmit=${store}>
      <label>Key <input type="text" autocomplete="off" autocapitalize="none" spellcheck=${false} required data-testid="put-key" value=${key.value}
        onInput=${(event) => { key.value = event.target.value; }} /></label>
      <label>Value <textarea rows="3" data-testid="put-value" value=${value.value} onInput=${(event) => { value.value = event.target.value; }}></textarea></label>
      <div class="buttons start">
        <button type="submit" class="primary" disabled=${busy.value || stale.value} data-testid="put-start">Store</button>
        <button type="button" disabled=${busy.value || stale.value || key.value === ""} data-testid="delete-start"
          onClick=${() => ask_delete(key.value, () => { key.value = ""; })}>Delete</button>
      </div>
    </form>
  </section>`;
}
