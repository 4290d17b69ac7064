#!/usr/bin/env node
// SPDX-License-Identifier: MIT
// The driver of the conformance tests (tests/system/test_conformance.py): one JSON object a line in, one a line
// out, requests carried out concurrently. Nothing but the public client is used.

import { createInterface } from "node:readline";
import { ChordError, Client } from "./lib/index.js";

/** @typedef {Record<string, any>} Json */

/** @type {Client | null} */
let client = null;
/** Why there is none. @type {Json} */
let none = notOpen();

function notOpen() {
  return { code: "UNAVAILABLE", fate: "not done", message: "no client is open" };
}

/** @param {string | undefined} text */
const bytes = (text) => (text === undefined ? undefined : Buffer.from(text, "base64"));
/** @param {Uint8Array} data */
const base64 = (data) => Buffer.from(data).toString("base64");

/** @param {string | undefined} text */
function given(text) {
  return bytes(text) ?? new Uint8Array(0);
}

/** @param {Json} it */
function limits(it) {
  return { timeoutMs: it.timeout_ms };
}

/** @param {Json} it */
function change(it) {
  const expiresAt = it.expires_at_ms === undefined ? undefined : BigInt(it.expires_at_ms);
  return { ifAbsent: it.if_absent, ifVersion: it.if_version, ...(it.do === "put" ? { expiresAt } : {}) };
}

/** @param {import("./lib/client.js").Row | null} row @returns {Json} */
function read(row) {
  if (row === null) return { code: "NOT_FOUND", fate: "done" };
  const { value, version, expiresAt, stale } = row;
  return { code: "OK", fate: "done", value: base64(value), version, expires_at_ms: expiresAt, stale };
}

/** @param {Json} it @param {import("./lib/client.js").Change} done @returns {Json} */
function changed(it, { version, existed }) {
  return { code: it.do === "delete" && !existed ? "NOT_FOUND" : "OK", fate: "done", version, existed };
}

/** @param {Json} it of a batch @param {any} result @returns {Json} */
function one(it, result) {
  const { code, fate, message, version } = result;
  if (fate !== "done") return { code, fate, message, version };
  return it.do === "get" ? read(code === "OK" ? result : null) : changed(it, result);
}

/** @param {Json} it */
function unknown(it) {
  return { code: "INVALID_ARGUMENT", fate: "not done", message: `the driver knows no '${it.do}'` };
}

/** @type {Record<string, (it: Json, client: Client) => Promise<Json>>} */
const ACTIONS = {
  async get(it, client) {
    return read(await client.get(given(it.key), { stale: it.stale, ...limits(it) }));
  },
  async put(it, client) {
    return changed(it, await client.put(given(it.key), given(it.value), { ...change(it), ...limits(it) }));
  },
  async delete(it, client) {
    return changed(it, await client.delete(given(it.key), { ...change(it), ...limits(it) }));
  },
  async batch(it, client) {
    const operations = /** @type {Json[]} */ (it.operations);
    const asked = operations.map((operation) => ({ kind: operation.do, key: given(operation.key),
      value: given(operation.value), stale: operation.stale, ...change(operation) }));
    const results = await client.batch(/** @type {any} */ (asked), limits(it));
    return { results: operations.map((operation, at) => one(operation, results[at])) };
  },
  async lookup(it, client) {
    const { owner, keyId, hops } = await client.lookup(given(it.key), limits(it));
    return { code: "OK", fate: "done", owner: owner.address, key_id: keyId, hops: hops.length };
  },
  async server_info(it, client) {
    const { m, n, replicas, ringId } = await client.serverInfo(limits(it));
    return { code: "OK", fate: "done", m, n, replicas, ring_id: ringId };
  },
  async call(it, client) {
    const { code, fate, message, payload } = await client.call(it.method, given(it.payload), limits(it));
    return { code, fate, message: message || undefined, payload: base64(payload) };
  },
};

/** @param {Json} it @returns {Promise<Json>} */
async function open(it) {
  await client?.close();
  client = null;
  try {
    client = await Client.open({ members: it.members, key: bytes(it.key), timeoutMs: it.timeout_ms,
      attemptMs: it.attempt_ms });
  } catch (error) {
    none = failure(error); // what comes before the next open is told the same
    return none;
  }
  return { code: "OK" };
}

async function close() {
  await client?.close();
  client = null;
  none = notOpen();
  return { code: "OK" };
}

/** @param {unknown} error @returns {Json} */
function failure(error) {
  if (!(error instanceof ChordError)) throw error;
  const { code, fate, sentence, version, retryAfterMs } = error;
  return { code, fate, message: sentence, version, retry_after_ms: retryAfterMs || undefined };
}

/** @param {Json} it @returns {Promise<Json>} */
async function answer(it) {
  if (it.do === "open") return open(it);
  if (it.do === "close") return close();
  if (it.do === "counters") return { calls: client?.calls ?? 0 };
  if (!Object.hasOwn(ACTIONS, it.do)) return unknown(it);
  if (!client) return none;
  try {
    return await ACTIONS[it.do](it, client);
  } catch (error) {
    return failure(error);
  }
}

/** Numbers of 64 bits come as they are. @param {string} line */
function parse(line) {
  return JSON.parse(line.replace(/("expires_at_ms"\s*:\s*)(\d+)(?![\d.eE])/g, '$1"$2"'));
}

/** @param {Json} object */
function print(object) {
  const text = JSON.stringify(object, (_, value) => (typeof value === "bigint" ? `bigint ${value}` : value));
  process.stdout.write(`${text.replace(/"bigint (\d+)"/g, "$1")}\n`);
}

/** @type {Set<Promise<void>>} */
const under_way = new Set();
for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() === "") continue;
  const it = parse(line);
  const request = answer(it).then((given) => print({ id: it.id, ...given }));
  under_way.add(request);
  void request.finally(() => under_way.delete(request));
}
await Promise.all(under_way);
await close();
