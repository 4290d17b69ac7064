#!/usr/bin/env node
// SPDX-License-Identifier: MIT
// What this client costs and yields: node measure.mjs HOST:PORT[,HOST:PORT...] [SECONDS]
// One line of JSON: 16 concurrent writers of one key, then gets of 1,000 keys with 64 under way.

import { Client } from "./lib/index.js";

const WRITERS = 16;
const GETS_UNDER_WAY = 64;
const KEYS = 1000;
const [members, seconds = "2"] = process.argv.slice(2);
const client = await Client.open({ members: members.split(",") });

/** How often `action` was carried out, by `count` that run side by side.
 * @param {number} count @param {(number: number, done: number) => Promise<unknown>} action */
async function during(count, action) {
  const end = performance.now() + Number(seconds) * 1000;
  const done = Array(count).fill(0);
  let longestMs = 0;
  const before = process.cpuUsage();
  await Promise.all(done.map(async (_, number) => {
    for (let began = performance.now(); began < end; began = performance.now()) {
      await action(number, done[number]);
      done[number]++;
      longestMs = Math.max(longestMs, performance.now() - began);
    }
  }));
  const { user, system } = process.cpuUsage(before);
  const sum = done.reduce((total, one) => total + one, 0);
  return { done, sum, longestMs: Math.round(longestMs), cpuUs: Math.round((user + system) / sum) };
}

await client.put("hot", "first");
const before = client.calls;
const puts = await during(WRITERS, (number, done) => client.put("hot", `${number} ${done}`));
const callsOfPuts = client.calls - before;

const keys = Array.from({ length: KEYS }, (_, number) => `measured ${number}`);
await client.batch(keys.map((key) => ({ kind: /** @type {const} */ ("put"), key, value: "x".repeat(100) })));
const gets = await during(GETS_UNDER_WAY, (number, done) => client.get(keys[(number * 31 + done) % KEYS]));
await client.close();
console.log(JSON.stringify({
  puts: puts.sum, putsOfEach: puts.done, callsAPut: callsOfPuts / puts.sum, longestPutMs: puts.longestMs,
  getsPerSecond: Math.round(gets.sum / Number(seconds)), longestGetMs: gets.longestMs,
  cpuUsOfAGet: gets.cpuUs,
}));
