// SPDX-License-Identifier: MIT
// Upload of a CSV: choose or drop a file, name the key column, watch the rows go in, read what was wrong.
// The import is an operation of the gateway; we choose its id, so that a reload finds it again.

import { html, signal, useRef, useSignal } from "./html.js";
import * as api from "./api.js";
import { link, operations, stale, take_operation } from "./store.js";
import { format_bytes, format_count, format_plural } from "./format.js";

const POLL_MS = 700;
const HEAD_BYTES = 65536;
const REMEMBER = "chord-import";
/** After so many polls in a row that do not find the operation it counts as gone. */
const LOST_LIMIT = 20;

/** The import of this tab. @type {{value: null|{id: string, name: string, sent: number, total: number, sending: boolean, error: string}}} */
const job = signal(null);
let upload = null;

const change_job = (id, part) => { if (job.value?.id === id) job.value = { ...job.value, ...part }; };
const is_running = (operation) => !operation || operation.state === "running";

/** Polls an operation until it ends, in case the event stream is missing or skips events. */
async function follow(id) {
  for (let lost = 0; job.value?.id === id;) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    // While the file travels the event stream tells more, and the gateway may not know the operation yet.
    if (link.value === "live" && job.value?.sending && !operations.value[id]) continue;
    try {
      take_operation(await api.get_operation(id));
      lost = 0;
    } catch (error) {
      if (error.status === 404 && !job.value?.sending && ++lost >= LOST_LIMIT) {
        change_job(id, { error: "the gateway no longer knows this import" });
        return;
      }
    }
    const known = operations.value[id];
    if ((known && !is_running(known)) || job.value?.error) return;
  }
}

function remember(id, name) {
  try { sessionStorage.setItem(REMEMBER, JSON.stringify({ id, name })); } catch { /* only a reload would need it */ }
}

/** Shows the import that was under way before a reload. */
export function resume_import() {
  try {
    const { id, name } = JSON.parse(sessionStorage.getItem(REMEMBER) ?? "null") ?? {};
    if (!id) return;
    job.value = { id, name, sent: 0, total: 0, sending: false, error: "" };
    follow(id);
  } catch { /* nothing to resume */ }
}

async function start_import(file, key_column, on_error) {
  const id = `web-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 10)}`;
  job.value = { id, name: file.name, sent: 0, total: file.size, sending: true, error: "" };
  remember(id, file.name);
  follow(id);
  await send(id, file, key_column, on_error);
}

async function send(id, file, key_column, on_error) {
  upload = api.start_upload(file, { id, key_column, on_error,
    on_progress: (sent, total) => change_job(id, { sent, total }) });
  try {
    await upload.done;
  } catch (error) {
    if (await api.renew_token(error)) return send(id, file, key_column, on_error);
    const known = operations.value[id];
    if (!known || known.state === "running") change_job(id, { error: error.message });
  }
  return change_job(id, { sending: false });
}

async function cancel_import() {
  const { id, sending } = job.value;
  try { await api.cancel_operation(id); } catch { /* an upload that is cut is an import that ends */ }
  if (sending) upload?.abort();
}

/** The columns of a CSV's first line, good enough for suggestions; the gateway does the real parsing. */
async function read_columns(file) {
  const text = (await file.slice(0, HEAD_BYTES).text()).replace(/^\uFEFF/, "");
  const cells = [];
  for (const match of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g)) {
    cells.push(match[1] !== undefined ? match[1].replaceAll('""', '"') : match[2]);
    if (match[3] !== ",") break;
  }
  return cells.filter((cell) => cell !== "").slice(0, 100);
}

function Outcome({ operation, error }) {
  const state = error ? "failed" : operation?.state ?? "running";
  const words = { running: ["↻", "Importing"], done: ["✔", "Done"], partial: ["!", "Partly done: not every row is stored"], failed: ["✕", "Failed"], cancelled: ["□", "Cancelled"] };
  const [sign, word] = words[state] ?? ["?", state];
  const reason = error || operation?.error;
  return html`<p class=${`outcome is-${state in words ? state : "unknown"}`} role="status"><b data-testid="import-state" data-state=${state}><span aria-hidden="true">${sign}</span> ${word}</b>
    ${reason && html`: <span class="wrap" data-testid="import-error">${reason}</span>`}</p>`;
}

function Progress() {
  const current = job.value;
  if (!current) return null;
  const operation = operations.value[current.id];
  const running = !current.error && is_running(operation);
  const total = operation?.bytes_total ?? current.total;
  // The gateway's count of bytes read is the truth; until it arrives, the browser's count of bytes sent.
  const read = operation?.bytes_read || (current.sending ? current.sent : 0);
  const done = operation?.state === "done" || operation?.state === "partial";
  const share = done ? 1 : total > 0 ? Math.min(1, read / total) : null;
  const errors = operation?.errors ?? [];
  return html`<div class="import-progress" data-testid="import-progress">
    <p class="wrap"><b>${current.name}</b> ${total > 0 && html`<span class="muted">${format_bytes(total)}</span>`}</p>
    <progress max="1" value=${share ?? undefined} aria-label="Import progress" data-testid="import-bar"></progress>
    <p class="muted">${share !== null && `${Math.floor(share * 100)} %`}${current.sending && current.total > 0 && `, sent ${format_bytes(current.sent)} of ${format_bytes(current.total)}`}</p>
    <${Outcome} operation=${operation} error=${current.error} />
    ${operation && html`<p><b data-testid="rows-stored">${format_count(operation.rows_stored)}</b> rows stored of ${format_count(operation.rows_read)} read,
      ${" "}<b data-testid="rows-failed">${format_count(operation.rows_failed)}</b> with errors${operation.rows_completed > 0 && html`; <b data-testid="rows-completed">${format_count(operation.rows_completed)}</b> had absent cells, taken as empty`}</p>`}
    ${operation?.form && html`<p class="muted" data-testid="import-reading">Read as ${operation.form === "csv" ? "plain CSV" : `an export in the ${operation.form} form`}, delimiter ${operation.delimiter}, ${operation.charset}.</p>`}
    ${errors.length > 0 && html`<details open><summary>Rows that were not stored</summary>
      <ul class="row-errors" data-testid="row-errors">${errors.map((row, index) => html`<li key=${index}><b>line ${row.line}</b>: <span class="wrap">${row.reason}</span></li>`)}
        ${operation.rows_failed > errors.length && html`<li class="muted">and ${format_count(operation.rows_failed - errors.length)} more</li>`}</ul></details>`}
    ${running && html`<button type="button" data-testid="import-cancel" onClick=${cancel_import}>Cancel the import</button>`}
  </div>`;
}

export function ImportPanel() {
  const file = useSignal(null);
  const columns = useSignal([]);
  const key_column = useSignal("");
  const on_error = useSignal("skip");
  const form = useSignal("csv");
  const over = useSignal(false);
  const picker = useRef(null);
  const busy = job.value !== null && !job.value.error && (job.value.sending || is_running(operations.value[job.value.id]));

  const take_file = async (chosen) => {
    if (!chosen) return;
    file.value = chosen;
    key_column.value = "";
    columns.value = await read_columns(chosen).catch(() => []);
  };
  const take_sample = async () => {
    const response = await fetch("./sample.csv");
    if (response.ok) take_file(new File([await response.blob()], "sample.csv", { type: "text/csv" }));
  };
  const drop = (event) => {
    event.preventDefault();
    over.value = false;
    take_file(event.dataTransfer.files[0]);
  };
  const submit = (event) => {
    event.preventDefault();
    if (file.value && !busy) start_import(file.value, key_column.value.trim(), on_error.value);
  };
  return html`<section class="card" aria-labelledby="import-title">
    <h2 id="import-title">Import a CSV</h2>
    <form onSubmit=${submit}>
      <div class=${`drop ${over.value ? "is-over" : ""}`} onDragOver=${(event) => { event.preventDefault(); over.value = true; }}
        onDragLeave=${() => { over.value = false; }} onDrop=${drop}>
        <label>CSV file, first line is the header
          <input type="file" accept=".csv,text/csv,text/plain" ref=${picker} data-testid="import-file" onChange=${(event) => take_file(event.target.files[0])} /></label>
        <p class="muted">or drop it here, or <button type="button" class="plain" data-testid="use-sample" onClick=${take_sample}>use the sample</button> (118 elements,${" "}
          <a href="./sample.csv" download="sample.csv">download it</a>)</p>
        ${file.value && html`<p class="wrap" data-testid="chosen-file">Chosen: <b>${file.value.name}</b>, ${format_bytes(file.value.size)}${columns.value.length > 0 && `, ${format_plural(columns.value.length, "column")}`}</p>`}
      </div>
      <div class="fields">
        <label>Key column <input type="text" list="import-columns" autocomplete="off" data-testid="key-column" value=${key_column.value}
          placeholder=${columns.value[0] ? `${columns.value[0]} (the first)` : "the first column"} onInput=${(event) => { key_column.value = event.target.value; }} /></label>
        <datalist id="import-columns">${columns.value.map((column) => html`<option key=${column} value=${column} />`)}</datalist>
        <label>A bad row <select data-testid="on-error" value=${on_error.value} onChange=${(event) => { on_error.value = event.target.value; }}>
          <option value="skip">is reported, the others are stored</option><option value="abort">ends the import</option></select></label>
      </div>
      <div class="buttons start">
        <button type="submit" class="primary" disabled=${!file.value || busy || stale.value} data-testid="import-start">Upload</button>
        <a class="button" href=${api.export_address(form.value)} download=${form.value === "csv" ? "ring.csv" : `ring-${form.value}.csv`} data-testid="export">Download all as CSV</a>
        <label>Form of the download <select data-testid="export-form" value=${form.value} onChange=${(event) => { form.value = event.target.value; }}>
          <option value="csv">plain: the bytes as they are</option><option value="lossless">lossless: comes back here with any bytes and expiry</option>
          <option value="spreadsheet">for a spreadsheet: no cell is taken for a formula</option></select></label>
      </div>
    </form>
    <${Progress} />
  </section>`;
}
