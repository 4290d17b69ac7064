// The keys that one node holds, a page at a time: all or only those it leads, by prefix.

import { html, useEffect, useSignal } from "./html.js";
import { get_node_keys } from "./api.js";
import { format_bytes, format_count, format_id } from "./format.js";

const PAGE_ROWS = 25;
const VALUE_SHOWN = 300;

/** Text where it is text, else base64, said so. */
function shown_text(text, base64) {
  if (text !== null && text !== undefined) return text.length > VALUE_SHOWN ? `${text.slice(0, VALUE_SHOWN)}…` : text;
  return base64 ? html`<span class="muted">base64 </span>${base64.slice(0, VALUE_SHOWN)}` : "–";
}

/** @param {{address: string, alive: boolean, tick: number}} props  `tick` changes when it is time to look again */
export function LocalData({ address, alive, tick }) {
  const prefix = useSignal("");
  const led = useSignal(false);
  /** Tokens of the pages before this one; the last is this page's. */
  const tokens = useSignal([null]);
  const page = useSignal(null);
  const problem = useSignal("");
  const after = tokens.value[tokens.value.length - 1];
  const restart = (change) => { change(); tokens.value = [null]; };

  useEffect(() => {
    let current = true;
    if (!address || !alive) return undefined;
    const timer = setTimeout(() => {
      get_node_keys(address, { after, limit: PAGE_ROWS, prefix: prefix.value, led: led.value })
        .then((answer) => { if (current) { page.value = answer; problem.value = ""; } })
        .catch((error) => { if (current) problem.value = error.message; });
    }, 100);
    return () => { current = false; clearTimeout(timer); };
  }, [address, alive, after, prefix.value, led.value, tick]);

  const keys = page.value?.keys ?? [];
  return html`<section class="card wide" aria-labelledby="data-title">
    <h2 id="data-title">Local data</h2>
    <div class="fields">
      <label>Keys that begin with <input type="search" autocomplete="off" autocapitalize="none" spellcheck=${false} data-testid="data-prefix" value=${prefix.value}
        onInput=${(event) => restart(() => { prefix.value = event.target.value; })} /></label>
      <label class="check"><input type="checkbox" data-testid="data-led" checked=${led.value} onChange=${(event) => restart(() => { led.value = event.target.checked; })} /> only those this node leads</label>
    </div>
    ${!alive && html`<p class="muted">The node is down; its data is on its disk and is shown when it is started again.</p>`}
    ${problem.value && html`<p class="warn-text">${problem.value}</p>`}
    ${alive && page.value && keys.length === 0 && html`<p class="muted" data-testid="data-empty">${prefix.value || led.value ? "No key matches." : "No keys here yet."}</p>`}
    ${keys.length > 0 && html`<div class="scroll"><table class="cards" data-testid="data-table">
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
      <button type="button" disabled=${!page.value?.next} data-testid="data-next" onClick=${() => { tokens.value = [...tokens.value, page.value.next]; }}>Next</button>
      ${keys.length > 0 && html`<span class="muted">page ${format_count(tokens.value.length)}</span>`}
    </div>
  </section>`;
}
