// SPDX-License-Identifier: MIT
// The gateway's REST interface as functions. Knows HTTP, nothing of what is on the screen.

/**
 * @typedef {{type?: string, title: string, status: number, detail: string, code?: string, needed_role?: string}} Problem  RFC 9457
 * @typedef {{id: string, address: string}} NodeRef
 * @typedef {{lo: string, hi: string}} Range  the ids in (lo, hi]
 * @typedef {object} RingNode
 * @property {string} id  @property {string} address  @property {number|null} slot  @property {string|null} dashboard
 * @property {"joining"|"member"|"leaving"|"left"|"down"|"foreign"} state  @property {number} since_ms
 * @property {number} keys  @property {number} keys_stored  @property {number} bytes_stored
 * @property {number|null} cpu_percent  @property {number|null} pss_bytes  @property {number|null} uptime_ms
 * @property {number} incarnation  @property {string|null} predecessor  @property {string[]} successors
 * @property {number} copies_short  @property {number} recovered  @property {number} bad_rows  @property {Range|null} range  @property {boolean} disputed  @property {string} host  @property {string} invariant
 * @typedef {object} Ring
 * @property {string} ring_id  @property {number} m  @property {number} n  @property {number} replicas  @property {boolean} formed
 * @property {"healthy"|"healing"|"forming"|"degraded"} state  @property {string} state_reason
 * @property {number} survives_failures  @property {number} survives_hosts  @property {{name: string, members: number, ids_at_risk: number}[]} hosts
 * @property {string} warning  @property {number} sequence  @property {number} keys
 * @property {{total_bytes: number, available_bytes: number}|null} memory  @property {RingNode[]} nodes
 * @typedef {object} Operation
 * @property {string} id  @property {"running"|"done"|"partial"|"failed"|"cancelled"} state
 * @property {number} bytes_read  @property {number|null} bytes_total  @property {number} rows_read
 * @property {number} rows_stored  @property {number} rows_failed  @property {{line: number, reason: string}[]} errors  @property {string} error
 * @typedef {{key: string, key_id: string, owner: NodeRef, hops: {node: NodeRef, microseconds: number}[]}} Lookup
 */

const PREFIX = "/api/v1";
const TIMEOUT_MS = 15000;
const TOKEN_NAME = "chord-token";

/** An answer that is not a success, or no answer at all (status 0). */
export class ApiError extends Error {
  /** @param {Problem} problem */
  constructor(problem) {
    super(problem.detail || problem.title);
    this.status = problem.status;
    this.title = problem.title;
    this.needed_role = problem.needed_role;
  }
}

/** The cookie is for reads that cannot carry a header (events, downloads); changes never rely on it. */
function keep_token(token) {
  sessionStorage.setItem(TOKEN_NAME, token);
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${TOKEN_NAME}=${encodeURIComponent(token)}; Path=/; SameSite=Strict${secure}`;
}

/** A token arrives once in the address (#token=...); it is forgotten with the browser's session. */
export function take_token() {
  const match = /[#&]token=([^&]+)/.exec(location.hash);
  if (!match) return;
  keep_token(decodeURIComponent(match[1]));
  history.replaceState(null, "", location.pathname + location.search);
}

/** A link to another page of the same host carries the token: each port has its own storage. */
export function with_token(link) {
  const token = sessionStorage.getItem(TOKEN_NAME);
  return link && token && new URL(link).hostname === location.hostname ? `${link}#token=${encodeURIComponent(token)}` : link;
}

/** A one-time link (#login=...) makes this browser an operator for some hours, by a cookie that no
 * script can read. @returns {Promise<boolean>} whether there was one */
export async function take_login() {
  const match = /[#&]login=([^&]+)/.exec(location.hash);
  if (!match) return false;
  history.replaceState(null, "", location.pathname + location.search);
  await request_once("POST", "/session", { body: JSON.stringify({ code: decodeURIComponent(match[1]) }),
    headers: { "Content-Type": "application/json" } });
  return true;
}

/** Asks the user for a token; returns "" when the user declines. Many requests may fail at the same
 * time: the user is asked once. */
let ask_token = async (reason) => "";
export function set_token_asker(asker) {
  let asking = null;
  ask_token = (reason) => (asking ??= asker(reason).finally(() => { asking = null; }));
}

/** When an answer is 401, or another role is needed, asks for a token; true when there is one to try
 * again with. @param {ApiError} error */
let declined = false;
export async function renew_token(error) {
  if (error.status !== 401 && !error.needed_role) return false;
  const token = await ask_token(error.needed_role ? error.message : "");
  declined = token === "";
  if (token) keep_token(token);
  return token !== "";
}

function auth_headers() {
  const token = sessionStorage.getItem(TOKEN_NAME);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** @returns {Problem} whatever the answer contains */
export function read_problem(status, text) {
  try {
    const body = JSON.parse(text);
    return { title: String(body.title ?? `HTTP ${status}`), status, detail: String(body.detail ?? ""), needed_role: body.needed_role };
  } catch {
    return { title: `HTTP ${status}`, status, detail: text.slice(0, 200) };
  }
}

async function request(method, path, options) {
  try {
    return await request_once(method, path, options);
  } catch (error) {
    // A user who declined is asked again only by an action of his own, not by each poll.
    if ((declined && method === "GET") || !await renew_token(error)) throw error;
    return request_once(method, path, options);
  }
}

async function request_once(method, path, { body, headers, signal, timeout_ms = TIMEOUT_MS } = {}) {
  const abort = new AbortController();
  signal?.addEventListener("abort", () => abort.abort());
  const timer = setTimeout(() => abort.abort(), timeout_ms);
  try {
    const response = await fetch(PREFIX + path, { method, body, cache: "no-store", signal: abort.signal,
      headers: { ...auth_headers(), ...headers } });
    const bytes = method === "HEAD" ? new ArrayBuffer(0) : await response.arrayBuffer();
    if (response.ok) return { response, bytes };
    throw new ApiError(read_problem(response.status, new TextDecoder().decode(bytes)));
  } catch (error) {
    if (error instanceof ApiError) throw error;
    const detail = abort.signal.aborted ? `no answer within ${timeout_ms / 1000} s` : "the gateway does not answer";
    throw new ApiError({ title: "No answer", status: 0, detail });
  } finally {
    clearTimeout(timer);
  }
}

async function request_json(method, path, options) {
  const { bytes } = await request(method, path, options);
  if (bytes.byteLength === 0) return {};
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new ApiError({ title: "Bad answer", status: 0, detail: `the answer to ${method} ${path} is not JSON` });
  }
}

const part = encodeURIComponent;

/** A browser resolves "." and ".." in a path, even percent-encoded, before it asks. */
function key_path(room, key) {
  if (key === "." || key === "..")
    throw new ApiError({ title: "Not possible in a browser", status: 0, detail: `a web address cannot carry the key "${key}"; use chordctl` });
  return `/${room}/${part(key)}`;
}

/** @returns {Promise<Ring>} */
export const get_ring = () => request_json("GET", "/ring", { timeout_ms: 5000 });
/** @returns {Promise<{slot: number|null, address: string|null, ring_dashboard: string|null}>} */
export const get_self = () => request_json("GET", "/self", { timeout_ms: 5000 });
export const get_node = (address) => request_json("GET", `/nodes/${part(address)}`, { timeout_ms: 5000 });

/** @param {{after?: string|null, limit?: number, prefix?: string, led?: boolean}} options */
/** A page; with a prefix it may hold fewer keys than the limit, or none, and still have a `next`. */
export function get_node_keys(address, { after, limit = 50, prefix = "", led = false, signal }) {
  const query = new URLSearchParams({ limit: String(limit), values: "1" });
  if (after) query.set("after", after);
  if (prefix) query.set("prefix", prefix);
  if (led) query.set("led", "1");
  return request_json("GET", `/nodes/${part(address)}/keys?${query}`, { signal });
}

/** Lines after a sequence number; without one the latest. */
export function get_node_logs(address, after, limit = 100) {
  const query = new URLSearchParams({ limit: String(limit) });
  if (after !== undefined) query.set("after", String(after));
  return request_json("GET", `/nodes/${part(address)}/logs?${query}`, { timeout_ms: 5000 });
}

/** @param {"leave"|"join"|"start"} verb @returns {Promise<{warning?: string}>} */
export const post_node_verb = (address, verb) => request_json("POST", `/nodes/${part(address)}/${verb}`);

export const post_node_kill = (address, id) => request_json("POST", `/nodes/${part(address)}/kill`,
  { body: JSON.stringify({ confirm: id }), headers: { "Content-Type": "application/json" } });

/** @returns {Promise<Lookup>} */
export const get_lookup = async (key) => request_json("GET", key_path("lookups", key));

/** @returns {Promise<{bytes: Uint8Array, etag: string|null}>} */
export async function get_value(key) {
  const { response, bytes } = await request("GET", key_path("kv", key));
  return { bytes: new Uint8Array(bytes), etag: response.headers.get("ETag") };
}

/** @returns {Promise<boolean>} true when the key is new */
export async function put_value(key, text) {
  const { response } = await request("PUT", key_path("kv", key),
    { body: new TextEncoder().encode(text), headers: { "Content-Type": "application/octet-stream" } });
  return response.status === 201;
}

export const delete_value = async (key) => request("DELETE", key_path("kv", key));

/** @returns {Promise<Operation>} */
export const get_operation = (id) => request_json("GET", `/operations/${part(id)}`, { timeout_ms: 5000 });
export const cancel_operation = (id) => request_json("DELETE", `/operations/${part(id)}`);

/** @param {"csv"|"lossless"|"spreadsheet"} form */
export const export_address = (form) => `${PREFIX}/exports?format=${form}`;
/** Includes what happened before this page was opened, so that its log also names nodes that died. */
export const EVENTS_ADDRESS = `${PREFIX}/events?history=50`;

/**
 * Sends a file unchanged. By XMLHttpRequest, because fetch does not report upload progress.
 * @param {File} file
 * @param {{id: string, key_column: string, on_error: "skip"|"abort", on_progress: (sent: number, total: number) => void}} options
 * @returns {{done: Promise<void>, abort: () => void}}
 */
export function start_upload(file, { id, key_column, on_error, on_progress }) {
  const query = new URLSearchParams({ id, on_error });
  if (key_column) query.set("key_column", key_column);
  const xhr = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    const fail = (title, detail, needed_role) => reject(new ApiError({ title, status: xhr.status, detail, needed_role }));
    xhr.upload.onprogress = (event) => on_progress(event.loaded, event.total);
    xhr.onload = () => {
      if (xhr.status >= 200 && xhr.status < 300) return resolve();
      const problem = read_problem(xhr.status, xhr.responseText);
      return fail(problem.title, problem.detail, problem.needed_role);
    };
    xhr.onerror = () => fail("Upload cut", "the connection to the gateway broke during the upload");
    xhr.onabort = () => fail("Cancelled", "the upload was cancelled");
  });
  xhr.open("POST", `${PREFIX}/imports?${query}`);
  xhr.setRequestHeader("Content-Type", "text/csv");
  for (const [name, value] of Object.entries(auth_headers())) xhr.setRequestHeader(name, value);
  xhr.send(file);
  return { done, abort: () => xhr.abort() };
}
