// SPDX-License-Identifier: MIT
// The keys that one node holds, a page at a time: all or only those it leads, by prefix.

import { html, useEffect, useRef, useSignal } from "./html.js";
import { get_node_keys } from "./api.js";
import { format_bytes, format_count, format_id } from "./format.js";

const PAGE_ROWS = 25;
const VALUE_SHOWN = 300;
const TYPING_MS = 250;

/** The key as text, or as base64 that is marked as such. */
function shown_text(text, base64) {
  if (text !== null && text !== undefined) return text.length > VALUE_SHOWN ? `${text.slice(0, VALUE_SHOWN)}…` : text;
  return base64 ? html`<span class="muted">base64 </span>${base64.slice(0, VALUE_SHOWN)}` : "–";
}

/** How much of all hashes lies before a place in the list: it begins with the hash. */
const share_before = (token) => parseInt(token.slice(0, 4), 16) / 0x10000;

/** @param {{address: string, alive: boolean, tick: number}} props  `tick` changes when it is time to look again */
export function LocalData({ address, alive, tick }) {
  const prefix = useSignal("");
  const led = useSignal(false);
  /** Tokens of the pages before this one; the last is this page's. */
  const tokens = useSignal([null]);
  const page = useSignal(null);
  const problem = useSignal("");
  /** Progress of a search, 0 to 1. */
  const searched = useSignal(null);
  const busy = useRef(false);
  const again = useSignal(0);
  const after = tokens.value[tokens.value.length - 1];
  const restart = (change) => { change(); tokens.value = [null]; };

  // A node ends a long search early and says how far it came; we continue until the page is full.
  useEffect(() => {
    if (!address || !alive) return undefined;
    const abort = new AbortController();
    busy.current = true;
    const search = async () => {
      let found = [];
      let next = after;
      do {
        const answer = await get_node_keys(address, { after: next, limit: PAGE_ROWS - found.length, prefix: prefix.value, led: led.value, signal: abort.signal });
        if (abort.signal.aborted) return;
        found = found.concat(answer.keys ?? []);
        next = answer.next;
        page.value = { keys: found, next };
        searched.value = next && found.length < PAGE_ROWS ? share_before(next) : null;
      } while (next && found.length < PAGE_ROWS);
    };
    const timer = setTimeout(async () => {
      if (prefix.value) searched.value = 0;
      try {
        await search();
        if (!abort.signal.aborted) problem.value = "";
      } catch (error) {
        if (!abort.signal.aborted) problem.value = error.message;
      }
      if (!abort.signal.aborted) { busy.current = false; searched.value = null; }
    }, TYPING_MS);
    return () => { abort.abort(); busy.current = false; clearTimeout(timer); };
  }, [address, alive, after, prefix.value, led.value, again.value]);

  // Only the cheap request is repeated automatically: the first page without a search.
  useEffect(() => {
    if (!busy.current && !prefix.value && !led.value) again.value++;
  }, [tick]);

  const keys = page.value?.keys ?? [];
  const looking = searched.value !== null;
  return html`<section class="card wide" aria-labelledby="data-title">
    <h2 id="data-title">Local data</h2>
    <div class="fields">
      <label>Keys that begin with <input type="search" autocomplete="off" autocapitalize="none" spellcheck=${false} data-testid="data-prefix" value=${prefix.value}
        onInput=${(event) => restart(() => { prefix.value = event.target.value; page.value = null; })} /></label>
      <label class="check"><input type="checkbox" data-testid="data-led" checked=${led.value} onChange=${(event) => restart(() => { led.value = event.target.checked; page.value = null; })} /> only those this node leads</label>
      ${(prefix.value || led.value) && html`<button type="button" class="small" disabled=${looking} data-testid="data-again" onClick=${() => { again.value++; }}>Search again</button>`}
    </div>
    ${!alive && html`<p class="muted">The node is down; its data is on its disk and is shown when it is started again.</p>`}
    ${problem.value && html`<p class="warn-text">${problem.value}</p>`}
    ${alive && looking && html`<p class="muted" role="status" data-testid="data-searched">Looking through this node's keys: ${format_count(Math.floor(100 * searched.value))} %</p>`}
    ${alive && !looking && page.value && keys.length === 0 && html`<p class="muted" data-testid="data-empty">${prefix.value || led.value ? "No key matches." : "No keys here yet."}</p>`}
    ${alive && keys.length > 0 && html`<div class="scroll"><table class="cards" data-testid="data-table">
      <thead><tr><th scope="col">Key</th><th scope="col">Id</th><th scope="col">Value</th><th scope="col" class="number">Size</th><th scope="col" class="number">Version</th><th scope="col">Role</th></tr></thead>
      <tbody>${keys.map((entry) => html`<tr key=${entry.key_base64 ?? entry.key}>
        <th scope="row" data-label="Key" class="wrap">${shown_text(entry.key, entry.key_base64)}</th>
        <td data-label="Id" class="id" title=${entry.id}>${format_id(entry.id)}</td>
        <td data-label="Value" class="wrap">${shown_text(entry.value, entry.value_base64)}</td>
        <td data-label="Size" class="number">${format_bytes(entry.bytes)}</td>
        <td data-label="Version" class="number">${entry.version ?? "–"}</td>
        <td data-label="Role">${entry.led ? "leads" : "copy"}</td></tr>`)}</tbody></table></div>`}
    <div class="buttons start">
      <button type="button" disabled=${tokens.value.length === 1} data-testid="data-back" onClick=${() => { tokens.value = tokens.value.slice(0, -1); }}>Back</button>
      <button type="button" disabled=${looking || !page.value?.next} data-testid="data-next" onClick=${() => { tokens.value = [...tokens.value, page.value.next]; }}>Next</button>
      ${keys.length > 0 && html`<span class="muted">page ${format_count(tokens.value.length)}</span>`}
    </div>
  </section>`;
}
