// SPDX-License-Identifier: MIT
// A mock of the gateway's HTTP side over MockRing, for the pages' development and tests.
// Nothing here is shipped. Needs only node.
//
//     node mock_gateway.mjs [PORT [NODES [M]]]

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { basename, dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { MockRing } from "./mock_ring.mjs";

const WEB = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "web");
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css",
  ".svg": "image/svg+xml", ".csv": "text/csv" };
const ROWS_PER_TICK = 8;

/** The small CSV parser of the mock: quotes, doubled quotes, CRLF. */
export function parse_csv(text) {
  const rows = [];
  let row = [], cell = "", quoted = false, line = 1, start = 1;
  for (let i = text.charCodeAt(0) === 0xfeff ? 1 : 0; i < text.length; i++) {
    const c = text[i];
    if (c === "\n") line++;
    if (quoted) {
      if (c !== '"') cell += c;
      else if (text[i + 1] === '"') { cell += c; i++; } else quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === ",") { row.push(cell); cell = ""; }
    else if (c === "\n") { rows.push({ line: start, cells: [...row, cell] }); row = []; cell = ""; start = line; }
    else if (c !== "\r") cell += c;
  }
  if (cell !== "" || row.length) rows.push({ line: start, cells: [...row, cell] });
  return rows;
}

const csv_cell = (cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);

/**
 * @param {{port: number, nodes?: number, m?: number, supervisor?: boolean}} options
 * @returns {Promise<{ring: MockRing, url: string, close: () => Promise<void>, refuse_events: boolean, streams: Set<object>, token: string, reader_token: string, login_code: string}>}
 */
export async function start_mock({ port, nodes = 5, m = 6, supervisor = true }) {
  const vendor = mkdtempSync(join(tmpdir(), "chord-vendor-"));
  const built = spawnSync(process.execPath, [join(WEB, "vendor.mjs"), vendor], { encoding: "utf8" });
  if (built.status !== 0) throw new Error(built.stderr);

  const ring = new MockRing({ nodes, m, n: 3, replicas: 3, host: "127.0.0.1", port });
  const operations = new Map();
  const streams = new Set();
  const mock = { ring, url: `http://127.0.0.1:${port}`, refuse_events: false, supervisor, streams, token: "", reader_token: "", login_code: "" };

  const send_event = (response, event, data) => response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  const heard = []; // what ?history=N gives to a stream that is opened later
  const broadcast = (event, data) => {
    if (event !== "ring") heard.push([event, data]);
    for (const response of streams) send_event(response, event, data);
  };
  let ring_due = false;
  ring.on("ring", () => {
    if (ring_due) return;
    ring_due = true;
    setTimeout(() => { ring_due = false; broadcast("ring", ring.snapshot()); }, 100);
  });
  ring.on("event", broadcast);
  const pulse = setInterval(() => ring.changed(), 1000);

  const json = (response, status, body, headers = {}) => {
    response.writeHead(status, { "Content-Type": status >= 400 ? "application/problem+json" : "application/json", ...headers });
    response.end(JSON.stringify(body));
  };
  const problem = (response, status, title, detail) =>
    json(response, status, { type: "about:blank", title, status, detail, code: title.toUpperCase().replaceAll(" ", "_") });

  function run_import(operation, text, key_column, on_error) {
    const rows = parse_csv(text);
    const finish = (state, error = "") => { Object.assign(operation, { state, error }); broadcast("import", operation); ring.changed(); };
    operation.bytes_read = operation.bytes_total = Buffer.byteLength(text);
    if (rows.length === 0) return finish("failed", "the file is empty");
    const header = rows.shift().cells;
    const key_index = key_column ? header.indexOf(key_column) : 0;
    if (key_index < 0) return finish("failed", `no column "${key_column}" in the header`);
    const tick = () => {
      if (operation.state !== "running") return;
      for (const { line, cells } of rows.splice(0, ROWS_PER_TICK)) {
        operation.rows_read++;
        const reason = cells.length !== header.length ? `${cells.length} cells where the header has ${header.length}`
          : cells[key_index] === "" ? "the key is empty" : null;
        if (reason) {
          operation.rows_failed++;
          operation.errors.push({ line, reason });
          if (on_error === "abort") return finish("failed", `line ${line}: ${reason}`);
          continue;
        }
        const others = cells.filter((unused, index) => index !== key_index);
        ring.put(cells[key_index], Buffer.from(others.map(others.length > 1 ? csv_cell : (cell) => cell).join(",")));
        operation.rows_stored++;
      }
      if (rows.length === 0) return finish(operation.rows_failed === 0 ? "done" : "partial");
      broadcast("import", operation);
      setTimeout(tick, 50);
    };
    tick();
  }

  function serve_node_verb(response, node, verb, body) {
    if (verb === "leave" && node.state === "member") ring.leave(node);
    else if (verb === "join" && node.state === "left") ring.join(node);
    else if (verb === "start" && node.state === "down") {
      if (!mock.supervisor) return problem(response, 409, "no supervisor", `type: python3 init.py --start ${node.slot}`);
      ring.start(node);
    } else if (verb === "kill" && node.state !== "down") {
      if (JSON.parse(body || "{}").confirm !== node.id) return problem(response, 400, "not confirmed", `confirm must be "${node.id}"`);
      ring.kill(node);
    } else return problem(response, 409, "wrong state", `node ${node.id} is ${node.state}`);
    return json(response, 202, { warning: ring.warning() });
  }

  function serve_keys(response, node, query) {
    const limit = Number(query.get("limit") ?? 100);
    const prefix = query.get("prefix") ?? "";
    const all = ring.keys_of(node, query.get("led") === "1").filter(([key]) => key.startsWith(prefix)).sort();
    const from = Number(query.get("after") ?? 0);
    json(response, 200, {
      keys: all.slice(from, from + limit).map(([key, entry]) => ({ key, key_base64: Buffer.from(key).toString("base64"),
        id: ring.hash(key), bytes: entry.value.length, led: ring.owner(ring.hash(key)) === node, version: entry.version,
        value: entry.value.toString(), value_base64: entry.value.toString("base64") })),
      next: from + limit < all.length ? String(from + limit) : null,
    });
  }

  function serve_kv(request, response, key, body) {
    const entry = ring.values.get(key);
    if (request.method === "PUT") {
      const created = ring.put(key, body);
      ring.changed();
      response.writeHead(created ? 201 : 204).end();
    } else if (!entry) problem(response, 404, "not found", `no value under "${key}"`);
    else if (request.method === "DELETE") { ring.remove(key); ring.changed(); response.writeHead(204).end(); }
    else response.writeHead(200, { ETag: `"${entry.version}"`, "Content-Type": "application/octet-stream" }).end(entry.value);
  }

  function serve_import(request, response, query, body) {
    const id = query.get("id") ?? `op-${operations.size + 1}`;
    const operation = { id, state: "running", bytes_read: 0, bytes_total: null, rows_read: 0, rows_stored: 0,
      rows_failed: 0, errors: [], error: "" };
    operations.set(id, operation);
    run_import(operation, body.toString(), query.get("key_column"), query.get("on_error") ?? "skip");
    const href = `/api/v1/operations/${id}`;
    json(response, 202, { id, href }, { Location: href });
  }

  function serve_events(response, query) {
    if (mock.refuse_events) return problem(response, 503, "too many event streams", "16 streams are open");
    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
    const history = Number(query.get("history") ?? 0);
    for (const [event, data] of history > 0 ? heard.slice(-history) : []) send_event(response, event, data);
    send_event(response, "ring", ring.snapshot());
    streams.add(response);
    return response.on("close", () => streams.delete(response));
  }

  function serve_login(response, body) {
    if (!mock.login_code || JSON.parse(body).code !== mock.login_code)
      return problem(response, 401, "unauthenticated", "the link was used before");
    mock.login_code = "";
    return json(response, 201, { role: "operator", seconds: 43200 }, { "Set-Cookie": "chord-session=mock; Path=/; HttpOnly; SameSite=Strict" });
  }

  function serve_api(request, response, slot, parts, query, body) {
    const [room, name, verb] = parts;
    if (room === "session") return serve_login(response, body);
    const carries = (token) => token && [`Bearer ${token}`, `chord-token=${encodeURIComponent(token)}`]
      .some((text) => [request.headers.authorization, request.headers.cookie].includes(text));
    const operator = carries(mock.token) || request.headers.cookie?.includes("chord-session=mock");
    if (mock.token && !operator && !carries(mock.reader_token))
      return problem(response, 401, "unauthenticated", "reads need the token");
    if (mock.token && !operator && request.method !== "GET")
      return json(response, 403, { title: "Forbidden", status: 403, detail: "this needs the role operator, and bob has the role reader",
        code: "PERMISSION_DENIED", needed_role: "operator" });
    if (room === "self") {
      const node = ring.list.find((other) => other.slot === slot);
      return json(response, 200, { slot: slot || null, address: node?.address ?? null, ring_dashboard: mock.url });
    }
    if (room === "events") return serve_events(response, query);
    if (room === "ring" && !ring.list.some((node) => node.state !== "down"))
      return problem(response, 503, "no node answers", `none of ${ring.list.length} known nodes answers; start one with init.py`);
    if (room === "ring") return json(response, 200, ring.snapshot());
    if (room === "kv") return serve_kv(request, response, name, body);
    if (room === "lookups") return json(response, 200, ring.lookup(name));
    if (room === "imports") return serve_import(request, response, query, body);
    if (room === "exports") {
      response.writeHead(200, { "Content-Type": "text/csv", "Content-Disposition": 'attachment; filename="ring.csv"' });
      return response.end("key,value\r\n" + [...ring.values].map(([key, entry]) => `${csv_cell(key)},${csv_cell(entry.value.toString())}\r\n`).join(""));
    }
    if (room === "operations") {
      const operation = operations.get(name);
      if (!operation) return problem(response, 404, "not found", `no operation ${name}`);
      if (request.method === "DELETE") { operation.state = "cancelled"; broadcast("import", operation); return json(response, 202, operation); }
      return json(response, 200, operation);
    }
    if (room === "nodes" && name) {
      const node = ring.find(name);
      if (!node) return problem(response, 404, "not found", `no node ${name}`);
      if (request.method === "POST") return serve_node_verb(response, node, verb, body);
      if (verb === "keys") return serve_keys(response, node, query);
      if (verb === "logs") {
        const limit = Number(query.get("limit") ?? 100);
        const lines = node.log.filter((line) => line.sequence > Number(query.get("after") ?? 0));
        return json(response, 200, { lines: query.has("after") ? lines.slice(0, limit) : lines.slice(-limit) });
      }
      return json(response, 200, ring.detail(node));
    }
    return problem(response, 404, "not found", request.url);
  }

  function serve_asset(response, slot, path) {
    const file = path === "/" ? join(WEB, slot ? "node.html" : "index.html")
      : path.startsWith("/vendor/") ? join(vendor, basename(path)) : join(WEB, basename(path));
    if (!TYPES[extname(file)] || !existsSync(file)) return problem(response, 404, "not found", path);
    response.writeHead(200, { "Content-Type": TYPES[extname(file)], "Cache-Control": "no-store", "Content-Security-Policy": "default-src 'self'" });
    return response.end(readFileSync(file));
  }

  const servers = [];
  mock.close = async () => {
    clearInterval(pulse);
    for (const server of servers) { server.close(); server.closeAllConnections(); }
  };
  for (let slot = 0; slot <= nodes; slot++) {
    const server = createServer((request, response) => {
      const url = new URL(request.url, mock.url);
      const chunks = [];
      request.on("data", (chunk) => chunks.push(chunk));
      request.on("end", () => {
        try {
          const body = Buffer.concat(chunks);
          if (url.pathname.startsWith("/api/v1/"))
            serve_api(request, response, slot, url.pathname.slice(8).split("/").map(decodeURIComponent), url.searchParams, body);
          else serve_asset(response, slot, url.pathname);
        } catch (error) { problem(response, 400, "bad request", error.message); }
      });
    });
    try {
      await new Promise((resolve, reject) => server.once("error", reject).listen(port + slot, "127.0.0.1", resolve));
    } catch (error) {
      await mock.close();
      throw error;
    }
    servers.push(server);
  }
  return mock;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [port = 18100, nodes = 5, m = 6] = process.argv.slice(2).map(Number);
  const mock = await start_mock({ port, nodes, m });
  console.log(`listening ${mock.url}`);
}
