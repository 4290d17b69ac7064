// SPDX-License-Identifier: MIT
// Envelopes and MACs: proto/vectors.txt, and what is not to be believed.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { Envelopes } from "../lib/envelope.js";
import { requestMac, responseMac, sameMac } from "../lib/mac.js";
import { rpcRequest, rpcResponse } from "../lib/messages.js";

const lines = readFileSync(new URL("../../../vectors.txt", import.meta.url), "ascii").split("\n");
/** @type {Record<string, Buffer>} */
const vectors = Object.fromEntries(lines.filter((line) => line && !line.startsWith("#"))
  .map((line) => line.split(" ")).map(([name, hex]) => [name, Buffer.from(hex, "hex")]));
const KEY = vectors.key;
const NOTHING = new Uint8Array(0);
const AT = "127.0.0.1:4001";

/** @param {Uint8Array | null} key @param {Uint8Array} [ringId] */
function envelopes(key, ringId = NOTHING, time = { ms: 1000 }) {
  return new Envelopes(key, ringId, () => time.ms);
}

/** An answer to a sealed request. @param {any} sent @param {any} more @param {Uint8Array | null} key */
function answer(sent, more, key = null) {
  const response = { protocolVersion: 1, requestId: sent.requestId, code: 0, message: "", retryAfterMs: 0,
    payload: NOTHING, mac: NOTHING, ringId: NOTHING, start: NOTHING, clockMs: 0n, ...more };
  if (key) response.mac = responseMac(key, response);
  return rpcResponse.pack(response);
}

test("a request packs to the bytes of the contract", () => {
  const request = rpcRequest.unpack(vectors.request);
  assert.equal(request.method, "chord.v1.KvService/Get");
  assert.deepEqual(Buffer.from(rpcRequest.pack(request)), vectors.request);
});

test("the MACs of the vectors, and every field is under them", () => {
  const request = rpcRequest.unpack(vectors.signed_request);
  const response = rpcResponse.unpack(vectors.signed_answer);
  assert.ok(sameMac(requestMac(KEY, request), request.mac));
  assert.ok(sameMac(responseMac(KEY, response), response.mac));
  for (const [it, mac] of /** @type {[any, any][]} */ ([[request, requestMac], [response, responseMac]])) {
    for (const name of Object.keys(it).filter((one) => one !== "mac")) {
      const value = it[name];
      const other = typeof value === "string" ? `${value}.` : typeof value === "number" ? value + 1
        : typeof value === "bigint" ? value + 2n ** 32n : Buffer.concat([value, Buffer.from([0])]);
      assert.ok(!sameMac(mac(KEY, { ...it, [name]: other }), it.mac), `${name} is not signed`);
    }
  }
  assert.ok(!sameMac(request.mac, request.mac.subarray(1)));
});

test("a request is signed for what the receiver told last", () => {
  const time = { ms: 1000 };
  const it = envelopes(KEY, NOTHING, time);
  const first = it.seal(AT, "chord.v1.KvService/Get", NOTHING, 1000);
  assert.deepEqual([...rpcRequest.unpack(first.body).receiver], Array(16).fill(0));
  const start = Buffer.alloc(16, 9);
  const challenge = answer(first.sent, { code: 19, start, clockMs: 5_000_000_000n }, KEY);
  assert.equal(it.open(AT, first.sent, challenge).outcome.code, "CHALLENGE");
  time.ms = 1250;
  const second = rpcRequest.unpack(it.seal(AT, "chord.v1.KvService/Get", NOTHING, 1000).body);
  assert.deepEqual(Buffer.from(second.receiver), start);
  assert.equal(second.sentMs, 5_000_000_250n);
  assert.ok(sameMac(requestMac(KEY, second), second.mac));
  assert.notDeepEqual(second.requestId, rpcRequest.unpack(first.body).requestId);
  const other = rpcRequest.unpack(it.seal("127.0.0.1:4002", "chord.v1.KvService/Get", NOTHING, 1000).body);
  assert.deepEqual([...other.receiver], Array(16).fill(0));
});

test("an answer with a missing or wrong MAC tells nothing", () => {
  const it = envelopes(KEY);
  const { sent } = it.seal(AT, "chord.v1.KvService/Get", NOTHING, 1000);
  for (const key of [null, Buffer.from("another key of 16+")]) {
    const { outcome, said } = it.open(AT, sent, answer(sent, {}, key));
    assert.deepEqual([outcome.code, outcome.fate, outcome.again, said],
      ["UNAUTHENTICATED", "maybe done", "never", false]);
  }
  assert.equal(it.open(AT, sent, answer(sent, {}, KEY)).outcome.code, "OK");
});

test("an answer to another request, or one that cannot be read, tells nothing", () => {
  const it = envelopes(null);
  const { sent } = it.seal(AT, "chord.v1.KvService/Get", NOTHING, 1000);
  for (const body of [answer({ requestId: Buffer.alloc(16, 1) }, {}), answer({ requestId: NOTHING }, {}),
    answer({ requestId: Buffer.alloc(16, 1) }, { code: 3 }), Buffer.from("no message")]) {
    const { outcome, said } = it.open(AT, sent, body);
    assert.deepEqual([outcome.fate, said], ["maybe done", false]);
  }
  // What could not be read comes back without its id.
  const unread = it.open(AT, sent, answer({ requestId: NOTHING }, { code: 3, message: "why" }));
  assert.deepEqual([unread.outcome.code, unread.message, unread.said], ["INVALID_ARGUMENT", "why", true]);
});

test("an answer of another ring is refused, but who one is may be asked of any", () => {
  const ring = Buffer.alloc(16, 1), other = Buffer.alloc(16, 2);
  const it = envelopes(null, ring);
  const { sent, body } = it.seal(AT, "chord.v1.KvService/Get", NOTHING, 1000);
  assert.deepEqual(Buffer.from(rpcRequest.unpack(body).ringId), ring);
  const refused = it.open(AT, sent, answer(sent, { ringId: other }));
  assert.deepEqual([refused.outcome.code, refused.outcome.fate, refused.said], ["WRONG_RING", "not done", false]);
  assert.equal(it.open(AT, sent, answer(sent, { ringId: ring })).outcome.code, "OK");
  const status = it.seal(AT, "chord.v1.AdminService/Status", NOTHING, 1000);
  assert.equal(rpcRequest.unpack(status.body).ringId.length, 0);
  assert.equal(it.open(AT, status.sent, answer(status.sent, { ringId: other })).outcome.code, "OK");
});

test("a code of a newer node is UNKNOWN and not asked again", () => {
  const it = envelopes(null);
  const { sent } = it.seal(AT, "chord.v1.KvService/Get", NOTHING, 1000);
  assert.deepEqual(it.open(AT, sent, answer(sent, { code: 99 })).outcome,
    { code: "UNKNOWN", fate: "maybe done", again: "never" });
});
