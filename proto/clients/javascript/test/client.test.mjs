// SPDX-License-Identifier: MIT
// The client against nodes that answer as a test says: which requests it sends, and what it tells its user.

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import test from "node:test";
import { OPERATIONS_MAX } from "../lib/client.js";
import { ChordError, Client } from "../lib/index.js";
import { status } from "../lib/messages.js";
import { FakeNode, RING_ID } from "./fake_node.mjs";

const OK = (/** @type {bigint} */ counter) => ({ code: 0, version: { epoch: 1n, counter } });
/** For tests in which nobody answers. */
const IMPATIENT = { timeoutMs: 4000, attemptMs: 200 };
const KEY = Buffer.from("0123456789abcdef");
const seenOf = (/** @type {any} */ operation) => `${operation.seen.epoch}.${operation.seen.counter}`;
const nameOf = (/** @type {any} */ operation) => Buffer.from(operation.opId).toString("hex");

/**
 * @param {import("node:test").TestContext} t
 * @param {{count?: number, key?: Buffer, nodeKey?: Buffer, options?: object}} [more]
 */
async function setUp(t, { count = 1, key, nodeKey = key, options } = {}) {
  const nodes = await Promise.all(Array.from({ length: count }, () => new FakeNode(nodeKey ?? null).listen()));
  t.after(() => Promise.all(nodes.map((node) => node.close())));
  const open = () => Client.open({ members: nodes.map((node) => String(node.address)), key, ...options });
  return { nodes, node: nodes[0], open };
}

/** @param {import("node:test").TestContext} t @param {Parameters<typeof setUp>[1]} [more] */
async function opened(t, more) {
  const it = await setUp(t, more);
  const client = await it.open();
  t.after(() => client.close());
  return { ...it, client };
}

/** Until both ends of all but so many connections have noticed that these are closed. @param {number} left */
async function closed(left) {
  const count = () => process.getActiveResourcesInfo().filter((one) => one === "TCPSocketWrap").length;
  while (count() > 2 * left) await new Promise((resolve) => setImmediate(resolve));
}

/** @param {string} code @param {string} fate @param {RegExp} [message] */
function failed(code, fate, message = /./) {
  return (/** @type {any} */ error) => {
    assert.ok(error instanceof ChordError, error);
    assert.deepEqual([error.code, error.fate], [code, fate], error.message);
    assert.match(error.message, message);
    return true;
  };
}

test("answers come in any order over one connection", async (t) => {
  const { node, client } = await opened(t);
  /** @type {(() => void)[]} */
  const waiting = [];
  node.batch = (operations) => new Promise((resolve) => {
    waiting.unshift(() => resolve({ results: [{ ...OK(1n), value: operations[0].key }] }));
    if (waiting.length === 8) waiting.forEach((answer) => answer());
  });
  const keys = Array.from({ length: 8 }, (_, number) => `key ${number}`);
  const rows = await Promise.all(keys.map((key) => client.get(key)));
  assert.deepEqual(rows.map((row) => String(Buffer.from(row?.value ?? []))), keys);
  assert.equal(node.connections, 1);
  assert.equal(client.calls, 8);
});

test("its ring's id is in every request, and asked for once", async (t) => {
  const { node, client } = await opened(t);
  await client.put("k", "v");
  await client.put("k", "v");
  const batches = node.requests.filter((one) => one.method.endsWith("Batch"));
  assert.deepEqual(batches.map((one) => Buffer.from(one.ringId)), [RING_ID, RING_ID]);
  assert.equal(node.requests.filter((one) => one.method.endsWith("GetServerInfo")).length, 1);
});

test("a write without an answer: the same op_id and seen, the next attempt, another member", async (t) => {
  const { nodes, client } = await opened(t, { count: 2, options: IMPATIENT });
  nodes[0].batch = () => null;
  nodes[1].batch = () => ({ results: [OK(9n)] });
  const done = await client.put("k", "v");
  assert.deepEqual(done, { version: "1.9", existed: false, repeated: true });
  const [first, second] = [nodes[0].batches[0][0], nodes[1].batches[0][0]];
  assert.equal(nameOf(first), nameOf(second));
  assert.deepEqual([first.attempt, second.attempt, seenOf(first), seenOf(second)], [1, 2, "0.0", "0.0"]);
  assert.equal(client.calls, 2);
});

test("a connection that closes under a write: perhaps executed", async (t) => {
  const { node, client } = await opened(t);
  node.batch = (_, number) => (number === 1 ? "close" : { results: [OK(2n)] });
  assert.equal((await client.put("k", "v")).repeated, true);
  assert.deepEqual(node.batches.map(([one]) => one.attempt), [1, 2]);
});

test("where no connection can be made nothing was sent: attempt 1 again, not done", async (t) => {
  const { nodes, client } = await opened(t, { count: 2 });
  await client.put("k", "v");
  await nodes[0].close();
  await closed(0);
  await client.put("k", "v");
  assert.deepEqual([nodes[0].batches.length, nodes[1].batches[0][0].attempt], [1, 1]);
  await nodes[1].close();
  await closed(0);
  await assert.rejects(client.put("k", "v", { timeoutMs: 200 }), failed("UNAVAILABLE", "not done"));
});

test("a node that says no hello is sent nothing", async (t) => {
  const { nodes, client } = await opened(t, { count: 2, options: IMPATIENT });
  await client.put("k", "v");
  nodes[0].greets = false;
  for (const socket of nodes[0].sockets) socket.destroy();
  await closed(0);
  await client.put("k", "v");
  assert.equal(nodes[0].connections, 2);
  assert.deepEqual([nodes[0].batches.length, nodes[1].batches[0][0].attempt], [1, 1]);
});

test("ABORTED: its version becomes seen, at once; the next write has seen it", async (t) => {
  const { node, client } = await opened(t);
  node.batch = (_, number) => ({ hint: node.leads(), results: [number === 1 ? { ...OK(7n), code: 10 } : OK(8n)] });
  await client.put("k", "v");
  await client.put("k", "v");
  assert.deepEqual(node.batches.map(([one]) => [one.attempt, seenOf(one)]), [[1, "0.0"], [1, "1.7"], [1, "1.8"]]);
});

test("a hint leads straight to the leader", async (t) => {
  const { nodes, client } = await opened(t, { count: 2 });
  nodes[0].batch = nodes[1].batch = () => ({ hint: nodes[1].leads(), results: [OK(1n)] });
  for (let number = 0; number < 4; number++) await client.get(`key ${number}`);
  assert.deepEqual(nodes.map((node) => node.batches.length), [1, 3]);
});

test("sixteen writers of one key take turns, in their order, one request each", async (t) => {
  const { node, client } = await opened(t);
  let counter = 0n;
  node.batch = (operations) => {
    const newer = counter > operations[0].seen.counter;
    if (!newer) counter++;
    return { hint: node.leads(counter), results: [{ ...OK(counter), code: newer ? 10 : 0 }] };
  };
  const done = await Promise.all(Array.from({ length: 16 }, (_, number) => client.put("k", String(number))));
  assert.deepEqual(done.map((one) => one.version), done.map((_, number) => `1.${number + 1}`));
  assert.deepEqual(node.batches.map(([one]) => String(one.value)), done.map((_, number) => String(number)));
  assert.equal(client.calls, 16);
});

test("a write that waits for its turn in vain was not done", async (t) => {
  const { node, client } = await opened(t);
  node.batch = () => null;
  const first = client.put("k", "1", { timeoutMs: 400 });
  await assert.rejects(client.put("k", "2", { timeoutMs: 60 }), failed("UNAVAILABLE", "not done", /earlier changes/));
  await assert.rejects(first, failed("UNKNOWN", "maybe done"));
  node.batch = () => ({ results: [OK(1n)] });
  await client.put("k", "3"); // nobody has kept the turn
});

test("fates at the deadline: a write may have been done, a read was not", async (t) => {
  const { node, client } = await opened(t, { options: IMPATIENT });
  node.batch = () => null;
  await assert.rejects(client.put("k", "v", { timeoutMs: 250 }), failed("UNKNOWN", "maybe done"));
  await assert.rejects(client.get("k", { timeoutMs: 250 }), failed("DEADLINE_EXCEEDED", "not done"));
  let told = false;
  node.batch = () => (told ? null : (told = true, { results: [{ code: 14 }], missing: ["x:1", "y:1"] }));
  await assert.rejects(client.get("k", { timeoutMs: 600 }), failed("UNAVAILABLE", "not done", /x:1, y:1/));
  assert.ok(node.connections > 1); // one that was silent for a whole attempt is given up
});

test("an AbortSignal ends it, with its fate and its reason", async (t) => {
  const { node, client } = await opened(t);
  node.batch = () => null;
  const sent = new AbortController();
  const reason = new Error("no longer wanted");
  const write = client.put("k", "v", { signal: sent.signal });
  const read = client.get("k", { signal: sent.signal });
  setTimeout(() => sent.abort(reason), 50);
  await assert.rejects(write, failed("CANCELLED", "maybe done"));
  await assert.rejects(write, { cause: reason });
  await assert.rejects(read, failed("CANCELLED", "not done"));
  const before = node.batches.length;
  await assert.rejects(client.put("other", "v", { signal: sent.signal }), failed("CANCELLED", "not done"));
  await assert.rejects(client.lookup("k", { signal: sent.signal }), failed("CANCELLED", "not done"));
  assert.equal(node.batches.length, before);
  const { signal } = new AbortController();
  node.batch = () => ({ results: [OK(1n)] });
  await client.put("k", "v", { signal });
  assert.deepEqual(getEventListeners(signal, "abort"), []);
});

test("aborted before it could be sent: not done", async (t) => {
  const { node, client } = await opened(t);
  await client.put("k", "v");
  node.greets = false;
  for (const socket of node.sockets) socket.destroy();
  await closed(0);
  const user = new AbortController();
  const write = client.put("k", "v", { signal: user.signal });
  while (node.connections < 2) await new Promise((resolve) => setImmediate(resolve));
  user.abort();
  await assert.rejects(write, failed("CANCELLED", "not done"));
});

test("close: what is under way ends with its fate; no socket and no timer stays", async (t) => {
  const { node, open } = await setUp(t);
  const held = () => process.getActiveResourcesInfo().filter((one) => /^(TCPSocket|TCPConnect|Timeout)/.test(one));
  await closed(0);
  const before = held();
  const client = await open();
  node.batch = () => null;
  const write = assert.rejects(client.put("k", "v"), failed("UNKNOWN", "maybe done", /closed/));
  const waits = assert.rejects(client.put("k", "w"), failed("UNAVAILABLE", "not done", /closed/));
  const read = assert.rejects(client.get("k"), failed("UNAVAILABLE", "not done", /closed/));
  while (node.batches.length < 2) await new Promise((resolve) => setImmediate(resolve));
  node.batch = () => ({ results: [{ code: 14 }], retryAfterMs: 500 });
  const pauses = assert.rejects(client.put("other", "v"), failed("UNAVAILABLE", "not done"));
  while (node.batches.length < 3) await new Promise((resolve) => setImmediate(resolve));
  await client.call("chord.v1.KvService/Nothing", new Uint8Array(0)); // its answer comes after the refusal
  await client.close();
  await Promise.all([write, waits, read, pauses]);
  await assert.rejects(client.get("k"), failed("UNAVAILABLE", "not done", /closed/));
  assert.equal(client.calls, 4);
  await closed(0);
  assert.deepEqual(held(), before);
});

test("close while the ring is not known yet: nobody else is called", async (t) => {
  const { nodes } = await setUp(t, { count: 2 });
  nodes[0].tells = false;
  const members = nodes.map((node) => String(node.address));
  const client = new Client({ members });
  const write = assert.rejects(client.put("k", "v"), failed("UNAVAILABLE", "not done", /closed/));
  while (nodes[0].requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
  await client.close();
  await write;
  const later = await Client.open({ members: members.slice(1) });
  await later.close();
  assert.equal(nodes[1].connections, 1); // this one's
});

test("one member is enough: it tells of others", async (t) => {
  const { nodes: [one, other] } = await setUp(t, { count: 2 });
  const id = Buffer.alloc(4);
  one.other = () => ({ payload: status.pack({ successors: [{ id, address: String(other.address) }] }) });
  const client = await Client.open({ members: [String(one.address)] });
  t.after(() => client.close());
  await client.put("k", "v");
  await one.close();
  await closed(0);
  await client.put("k", "v");
  assert.deepEqual([one.batches.length, other.batches.length], [1, 1]);
});

test("a ring key: challenged once, then never", async (t) => {
  const { node, client } = await opened(t, { key: KEY });
  await client.put("k", "v");
  await client.put("k", "v");
  assert.equal(client.calls, 2); // opening met the challenge
  node.start = Buffer.alloc(16, 8); // it was restarted
  await client.put("k", "v");
  assert.equal(client.calls, 4);
  assert.equal(node.batches[2][0].attempt, 1);
  node.start = Buffer.alloc(16, 9);
  const { code } = await client.call("chord.v1.KvService/Nothing", new Uint8Array(0));
  assert.equal(code, "UNIMPLEMENTED"); // within one attempt
});

test("a wrong ring key is told when the client opens", async (t) => {
  const { open } = await setUp(t, { key: Buffer.from("another key of 16"), nodeKey: KEY });
  await assert.rejects(open(), failed("UNAUTHENTICATED", "not done", /another ring key/));
  const { open: without } = await setUp(t, { nodeKey: KEY });
  await assert.rejects(without(), failed("UNAUTHENTICATED", "not done"));
});

test("opening does not wait for who is silent; operations ask again", async (t) => {
  const { node, client } = await setUp(t, { options: IMPATIENT }).then(async (it) => {
    it.node.tells = false;
    return { node: it.node, client: await it.open() };
  });
  t.after(() => client.close());
  await assert.rejects(client.put("k", "v", { timeoutMs: 200 }), failed("UNAVAILABLE", "not done"));
  node.tells = true;
  await client.put("k", "v");
});

test("an answer of another ring is refused, and another member asked", async (t) => {
  const { nodes, client } = await opened(t, { count: 2 });
  nodes[0].batch = () => ({ results: [OK(1n)], ringId: Buffer.alloc(16, 1) });
  nodes[1].batch = () => ({ results: [OK(2n)] });
  assert.deepEqual(await client.put("k", "v"), { version: "1.2", existed: false, repeated: false });
});

test("a batch: each has its result, changes of one key go one after the other", async (t) => {
  const { node, client } = await opened(t);
  const codes = /** @type {Record<string, number>} */ ({ none: 5, held: 9 });
  const told = (/** @type {any} */ { key }) => ({ ...OK(4n), code: codes[String(key)] ?? 0 });
  node.batch = (operations) => ({ results: operations.map(told) });
  const results = await client.batch([{ kind: "put", key: "a", value: "1" }, { kind: "put", key: "a", value: "2" },
    { kind: "get", key: "none" }, { kind: "put", key: "held", value: "", ifAbsent: true },
    { kind: "put", key: "", value: "" }]);
  assert.deepEqual(results.map(({ code, fate, version }) => [code, fate, version]), [["OK", "done", "1.4"],
    ["OK", "done", "1.4"], ["NOT_FOUND", "done", "1.4"], ["FAILED_PRECONDITION", "not done", "1.4"],
    ["INVALID_ARGUMENT", "not done", undefined]]);
  const sent = node.batches.map((batch) => batch.map((one) => `${one.kind} ${one.key} ${one.value}`).sort());
  assert.deepEqual(sent.sort(), [["1 none "], ["2 a 1", "2 held "], ["2 a 2"]]);
  assert.deepEqual(await client.batch([]), []);
});

test("who refuses is not asked again at once, also where hints lead there", async (t) => {
  const { nodes, client } = await opened(t, { count: 2 });
  nodes[0].batch = (_, number) => ({ hint: nodes[0].leads(), results: [number === 1 ? OK(1n) : { code: 14 }] });
  nodes[1].batch = () => ({ results: [OK(2n)] });
  await client.get("k");
  assert.equal((await client.put("k", "v")).version, "1.2");
  assert.deepEqual(nodes.map((node) => node.batches.length), [2, 1]);
});

test("a value that had no room in an answer is asked for again, there and at once", async (t) => {
  const { nodes, client } = await opened(t, { count: 2 });
  nodes[0].batch = (operations) => ({ hint: nodes[0].leads(),
    results: operations.map((_, at) => (at === 0 ? OK(1n) : { code: 8 })) });
  const results = await client.batch(["a", "b", "c"].map((key) => ({ kind: /** @type {const} */ ("get"), key })));
  assert.deepEqual(results.map((one) => one.code), ["OK", "OK", "OK"]);
  assert.deepEqual(nodes.map((node) => node.batches.map((batch) => batch.length)), [[3, 2, 1], []]);
});

test("the version of a condition was seen, unless nobody has told of its epoch", async (t) => {
  const { node, client } = await opened(t);
  node.batch = () => ({ hint: node.leads(5n), results: [OK(5n)] });
  await client.put("k", "v", { ifVersion: "9.9" });
  await client.put("k", "v", { ifVersion: "1.7" });
  await client.put("k", "v", { ifVersion: "2.1" });
  assert.deepEqual(node.batches.map(([one]) => seenOf(one)), ["0.0", "1.7", "1.5"]);
});

/** A client that knows the leader of all keys. @param {import("node:test").TestContext} t */
async function led(t) {
  const it = await opened(t, { options: { timeoutMs: 4000, attemptMs: 1000 } });
  it.node.batch = (operations) => ({ hint: it.node.leads(), results: operations.map(() => OK(1n)) });
  await it.client.get("first");
  it.node.batches = [];
  return it;
}

test("what is asked for at one moment travels together: reads with reads, changes with changes", async (t) => {
  const { node, client } = await led(t);
  const each = Array.from({ length: 50 }, (_, number) => [client.get(`k${number}`), client.put(`k${number}`, "v"),
    client.get(`k${number}`, { stale: true })]);
  await Promise.all(each.flat());
  assert.deepEqual(node.batches.map((batch) => [batch[0].kind, batch.length]).sort(), [[1, 50], [1, 50], [2, 50]]);
  assert.equal(client.calls, 4);
  node.batches = [];
  await Promise.all(Array.from({ length: 300 }, (_, number) => client.get(`k${number}`)));
  assert.deepEqual(node.batches.map((batch) => batch.length), [128, 128, 44]);
  node.batches = [];
  await Promise.all([client.put("large", Buffer.alloc(20000)), client.put("small", "")]);
  assert.deepEqual(node.batches.map((batch) => batch.length), [1, 1]);
});

test("a late answer keeps others only for a moment; what was tried before travels alone", async (t) => {
  const { node, client } = await led(t);
  const answers = node.batch;
  node.batch = (operations, number) => (number < 3 ? null : answers(operations, number));
  const next = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  const late = [client.put("a", "v")];
  await next();
  late.push(client.put("b", "v"));
  await next();
  const began = performance.now();
  const rows = await Promise.all([client.put("c", "v"), client.put("d", "v")]);
  assert.ok(rows.every((row) => !row.repeated) && performance.now() - began < 900);
  assert.ok((await Promise.all(late)).every((row) => row.repeated));
  assert.deepEqual(node.batches.map((batch) => batch.map((one) => `${one.key}${one.attempt}`).join()).slice(0, 3),
    ["a1", "b1", "c1,d1"]);
  assert.deepEqual(node.batches.slice(3).map((batch) => batch.length), [1, 1]);
});

test("what was tried before, or has no time for a whole attempt, travels alone", async (t) => {
  const { node, client } = await led(t);
  const answers = node.batch;
  t.mock.method(Math, "random", () => 0.5); // both pause for the same time
  node.batch = (operations, number) => (number === 1 ? "close" : answers(operations, number));
  await Promise.all([client.put("a", "v"), client.put("b", "v")]);
  assert.deepEqual(node.batches.map((batch) => batch.length), [2, 1, 1]);
  node.batches = [];
  node.batch = answers;
  await Promise.all([client.put("a", "v"), client.put("b", "v", { timeoutMs: 900 })]);
  assert.deepEqual(node.batches.map((batch) => batch.length), [1, 1]);
});

test("what was read does not count as seen", async (t) => {
  const { node, client } = await led(t);
  node.batch = (operations) => ({ results: operations.map(() => OK(9n)) });
  await client.get("k");
  await client.put("k", "v");
  await client.put("k", "v");
  assert.deepEqual(node.batches.slice(1).map(([one]) => seenOf(one)), ["1.1", "1.9"]);
});

test("given up while it waits for others: not sent, not done", async (t) => {
  const { node, client } = await led(t);
  node.batch = () => null;
  const next = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  const user = new AbortController();
  const out = [];
  for (const key of ["a", "b"]) {
    out.push(assert.rejects(client.put(key, "v"), failed("UNKNOWN", "maybe done")));
    while (node.batches.length < out.length) await next();
  }
  const waiting = assert.rejects(client.put("c", "v", { signal: user.signal }), failed("CANCELLED", "not done"));
  const closing = assert.rejects(client.put("d", "v"), failed("UNAVAILABLE", "not done", /closed/));
  user.abort();
  await waiting;
  await client.close();
  await Promise.all([closing, ...out]);
  assert.ok(node.batches.flat().every((one) => !["c", "d"].includes(String(one.key))));
});

test("large batches are cut", async (t) => {
  const { node, client } = await opened(t);
  const value = Buffer.alloc(300 * 1024, 1);
  const put = /** @type {const} */ ("put");
  await client.batch(Array.from({ length: 5 }, (_, number) => ({ kind: put, key: `k${number}`, value })));
  assert.deepEqual(node.batches.map((batch) => batch.length), [2, 2, 1]);
});

test("what cannot be asked is refused here", async (t) => {
  const { node, client } = await opened(t);
  const refused = failed("INVALID_ARGUMENT", "not done");
  for (const key of ["", Buffer.alloc(1025), /** @type {any} */ (7), /** @type {any} */ (null)]) {
    await assert.rejects(client.get(key), refused);
  }
  await assert.rejects(client.put("k", Buffer.alloc(1024 * 1024 + 1)), refused);
  await assert.rejects(client.put("k", "v", { ifAbsent: true, ifVersion: "1.1" }), refused);
  await assert.rejects(client.put("k", "v", { ifVersion: "one" }), refused);
  for (const expiresAt of [-1, 1.5, 2 ** 53, -1n, 2n ** 63n, new Date(NaN)]) {
    await assert.rejects(client.put("k", "v", { expiresAt }), refused);
  }
  for (const timeoutMs of [0, -1, 1.5, 600_001, NaN]) await assert.rejects(client.get("k", { timeoutMs }), refused);
  await assert.rejects(client.call("m", Buffer.alloc(1024 * 1024 + 64 * 1024 + 1)), refused);
  assert.deepEqual([node.batches.length, client.calls], [0, 0]);
  for (const options of [{ members: [] }, { members: ["nowhere"] }, { members: ["a:1"], key: "short" },
    { members: ["a:1"], ringId: "xyz" }, { members: ["a:1"], attemptMs: 0 }, /** @type {any} */ ({})]) {
    await assert.rejects(Client.open(options), refused);
  }
});

test("so many may be under way, one more is refused", async (t) => {
  const { node, client } = await opened(t);
  node.batch = () => null;
  const get = /** @type {const} */ ("get");
  const keys = Array.from({ length: OPERATIONS_MAX }, (_, number) => ({ kind: get, key: `k${number}` }));
  const all = client.batch(keys);
  await assert.rejects(client.get("one more"), failed("RESOURCE_EXHAUSTED", "not done"));
  await client.close();
  assert.ok((await all).every((one) => one.code === "UNAVAILABLE" && one.fate === "not done"));
  const other = await Client.open({ members: [String(node.address)] });
  t.after(() => other.close());
  node.batch = (operations) => ({ results: operations.map(() => OK(1n)) });
  assert.ok((await other.batch(keys)).every((one) => one.code === "OK"));
  assert.ok((await other.batch(keys)).every((one) => one.code === "OK")); // those that have ended count no more
});

test("a raw call is sent once, and its answer told whatever its code", async (t) => {
  const { node, client } = await opened(t, { options: IMPATIENT });
  const answer = await client.call("chord.v1.KvService/Nothing", new Uint8Array(0));
  assert.deepEqual([answer.code, answer.fate], ["UNIMPLEMENTED", "not done"]);
  node.other = () => null;
  await assert.rejects(client.call("chord.v1.KvService/Nothing", new Uint8Array(0)),
    failed("DEADLINE_EXCEEDED", "maybe done"));
  assert.equal(client.calls, 2);
});

test("numbers keep all 64 bits, values are the caller's own", async (t) => {
  const { node, client } = await opened(t);
  const version = { epoch: 2n ** 63n + 1n, counter: 2n ** 64n - 1n };
  node.batch = (_, number) => (number === 2 ? "close"
    : { results: [{ code: 0, version, value: Buffer.from("v"), expiresAtMs: 2n ** 53n + 1n }] });
  const row = await client.get("k");
  assert.deepEqual([row?.version, row?.expiresAt], ["9223372036854775809.18446744073709551615", 2n ** 53n + 1n]);
  assert.equal(row?.value.buffer.byteLength, 1);
  const value = Buffer.from("before");
  const done = client.put("k", value, { ifVersion: String(row?.version), expiresAt: 2n ** 63n - 1n });
  value.fill(0);
  await done;
  const [sent] = node.batches[2]; // the second attempt
  assert.deepEqual([String(sent.value), sent.expiresAtMs, sent.precondition.version],
    ["before", 2n ** 63n - 1n, version]);
});
