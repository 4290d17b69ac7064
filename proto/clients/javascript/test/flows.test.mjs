// SPDX-License-Identifier: MIT
// Which operations travel together, and when: without a socket.

import assert from "node:assert/strict";
import test from "node:test";
import { Flows } from "../lib/flows.js";
import { Operation } from "../lib/operation.js";

const PATIENCE_MS = 100;
const soon = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

/** Flows whose requests stand in `sent`, and are answered by the test. */
function setUp() {
  /** @type {{keys: string, answer: () => void}[]} */
  const sent = [];
  const batches = /** @type {any} */ ({
    send: (/** @type {string} */ address, /** @type {Operation[]} */ operations) => new Promise((resolve) => {
      sent.push({ keys: operations.map((one) => String(one.key)).join(), answer: () => resolve({ address }) });
    }),
  });
  const flows = new Flows(batches, 1000);
  const ask = (/** @type {string} */ key) => {
    const operation = new Operation({ kind: "get", key });
    return { operation, told: flows.ask("a:1", "80", operation) };
  };
  return { flows, sent, ask, keys: () => sent.map((one) => one.keys) };
}

test("two requests are out, what comes meanwhile waits for an answer and goes together", async () => {
  const { flows, sent, ask, keys } = setUp();
  const began = performance.now();
  for (const key of ["a", "b", "c", "d"]) {
    ask(key);
    await soon();
  }
  if (performance.now() - began < PATIENCE_MS) assert.deepEqual(keys(), ["a", "b"]);
  sent[0].answer();
  await soon();
  if (performance.now() - began < PATIENCE_MS) assert.deepEqual(keys(), ["a", "b", "c,d"]);
  sent.forEach((one) => one.answer());
  await soon();
  assert.equal(flows.size, 0); // nothing is kept of it
});

test("without an answer they go after a moment all the same", async () => {
  const { sent, ask, keys } = setUp();
  for (const key of ["a", "b", "c"]) {
    ask(key);
    await soon();
  }
  while (sent.length < 3) await soon();
  assert.deepEqual(keys(), ["a", "b", "c"]);
});

test("the end leaves no timer", async () => {
  const timers = () => process.getActiveResourcesInfo().filter((one) => one === "Timeout").length;
  const before = timers();
  const { flows, ask } = setUp();
  for (const key of ["a", "b", "c"]) {
    ask(key);
    await soon();
  }
  flows.close();
  assert.equal(timers(), before);
});

test("each is told its own place", async () => {
  const { sent, ask } = setUp();
  const [a, b] = [ask("a"), ask("b")];
  await soon();
  sent[0].answer();
  assert.deepEqual([(await a.told).at, (await b.told).at], [0, 1]);
});

test("one that was given up before is not sent, nor is any after the end", async () => {
  const { flows, sent, ask, keys } = setUp();
  ask("a").operation.giveUp("abort");
  ask("b");
  await soon();
  assert.deepEqual(keys(), ["b"]);
  ask("c");
  flows.close();
  await soon();
  assert.deepEqual(keys(), ["b"]);
  sent[0].answer();
  await soon();
  assert.deepEqual(keys(), ["b"]);
});
