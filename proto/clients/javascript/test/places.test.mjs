// SPDX-License-Identifier: MIT
// Where keys lie, who leads them, whom to ask, whose turn it is: all that is known of the ring without a socket.

import assert from "node:assert/strict";
import test from "node:test";
import { Hints } from "../lib/hints.js";
import { idFromWire, inRange, keyId } from "../lib/ids.js";
import { Members, isAddress } from "../lib/members.js";
import { Turns } from "../lib/turns.js";
import { isNewer, parseVersion, versionText } from "../lib/version.js";

test("ids are the top M bits of SHA-1", () => {
  const apple = Buffer.from("apple"); // d0be2dc4...
  assert.equal(keyId(apple, 6), "34");
  assert.equal(keyId(apple, 3), "06");
  assert.equal(keyId(apple, 8), "d0");
  assert.equal(keyId(apple, 12), "0d0b");
  assert.equal(keyId(apple, 32), "d0be2dc4");
  assert.equal(keyId(apple, 160), "d0be2dc421be4fcd0172e5afceea3970e2f3d940");
  assert.equal(BigInt(`0x${keyId(apple, 157)}`), BigInt(`0x${keyId(apple, 160)}`) >> 3n);
  assert.equal(idFromWire(Buffer.from([0x34]), 6), "34");
  assert.equal(idFromWire(Buffer.from([0, 0x34]), 6), null);
});

test("ranges are (lo, hi], clockwise; lo = hi is the whole ring", () => {
  assert.deepEqual(["10", "11", "20", "21"].map((id) => inRange(id, "10", "20")), [false, true, true, false]);
  assert.deepEqual(["f0", "f1", "00", "20", "21"].map((id) => inRange(id, "f0", "20")),
    [false, true, true, true, false]);
  assert.deepEqual(["00", "10", "ff"].map((id) => inRange(id, "10", "10")), [true, true, true]);
});

test("versions keep all 64 bits", () => {
  const text = "18446744073709551615.9007199254740993";
  assert.equal(versionText(parseVersion(text)), text);
  assert.equal(versionText({ epoch: 0n, counter: 0n }), undefined);
  assert.ok(isNewer(parseVersion("10.1"), parseVersion("9.99")));
  assert.ok(!isNewer(parseVersion("9.99"), parseVersion("10.1")));
  for (const bad of ["", "1", "1.", "1.2.3", "-1.2", "a.b", "18446744073709551616.1"]) {
    assert.throws(() => parseVersion(bad), { code: "INVALID_ARGUMENT", fate: "not done" });
  }
});

test("hints: the highest epoch of each range, its newest counter", () => {
  const hints = new Hints();
  assert.equal(hints.find("10"), null);
  hints.learn("00", "80", 3n, 5n, "a:1");
  hints.learn("80", "00", 3n, 0n, "b:1");
  assert.deepEqual(["00", "01", "80", "81"].map((id) => hints.find(id)?.address), ["b:1", "a:1", "a:1", "b:1"]);
  assert.deepEqual(hints.seen("40"), { epoch: 3n, counter: 5n });
  hints.learn("00", "80", 3n, 0n, "c:1"); // from one that does not lead
  assert.deepEqual([hints.seen("40"), hints.find("40")?.address], [{ epoch: 3n, counter: 5n }, "c:1"]);
  hints.learn("00", "40", 2n, 9n, "old:1");
  assert.equal(hints.find("20")?.address, "c:1");
  hints.learn("00", "40", 4n, 0n, "d:1"); // the wider one is of an older epoch: all of it is forgotten
  assert.deepEqual([hints.find("20")?.address, hints.find("60"), hints.count], ["d:1", null, 2]);
  assert.deepEqual(hints.seen("20"), { epoch: 4n, counter: 0n });
});

test("hints: a version of another epoch may be of another range", () => {
  const hints = new Hints();
  hints.learn("00", "80", 3n, 5n, "a:1");
  hints.hear("40", { epoch: 4n, counter: 1n });
  hints.hear("40", { epoch: 3n, counter: 4n });
  assert.deepEqual(hints.seen("41"), { epoch: 3n, counter: 5n });
  hints.hear("40", { epoch: 3n, counter: 6n });
  assert.deepEqual(hints.seen("41"), { epoch: 3n, counter: 6n });
});

test("hints have a limit", () => {
  const hints = new Hints();
  const id = (/** @type {number} */ number) => number.toString(16).padStart(4, "0");
  for (let number = 0; number < 3000; number++) hints.learn(id(number), id(number + 1), 1n, 0n, "a:1");
  assert.equal(hints.count, 1024);
});

test("members: one that fails goes to the end of the line, a silent one is left alone for a while", () => {
  let now = 0;
  const members = new Members(["a:1", "b:1"], () => now);
  members.learn("c:1");
  members.learn("c:1");
  members.learn("no address");
  assert.equal(members.count, 3);
  assert.equal(members.next(""), "a:1");
  assert.equal(members.next("a:1"), "b:1");
  members.mistrust("a:1");
  assert.equal(members.next(""), "b:1");
  members.silence("b:1");
  assert.deepEqual([members.next(""), members.isSilent("b:1")], ["c:1", true]);
  now = 1001;
  assert.equal(members.isSilent("b:1"), false);
  members.silence("b:1");
  now += 1001;
  assert.equal(members.isSilent("b:1"), true); // twice as long
  members.heard("b:1");
  assert.equal(members.isSilent("b:1"), false);
  const both = new Members(["a:1", "b:1"], () => now);
  both.silence("a:1");
  both.mistrust("b:1");
  assert.equal(both.next(""), "b:1"); // rather who refused than who was silent
  for (let port = 1; port <= 1000; port++) members.learn(`d:${port}`);
  assert.equal(members.count, 2 + 64); // those that were named stay
  assert.deepEqual(new Members(["a:1"], () => 0).next("a:1"), "a:1");
});

test("addresses", () => {
  for (const good of ["127.0.0.1:4001", "[::1]:4001", "host.example:1"]) assert.ok(isAddress(good), good);
  for (const bad of ["", "host", "host:", ":1", "host:0", "host:65536", "a b:1", "::1:4001", `${"h".repeat(60)}:4001`,
    undefined]) assert.ok(!isAddress(bad), String(bad));
});

test("turns: one after the other, and who gave up is passed over", () => {
  const turns = new Turns();
  /** @type {string[]} */
  const started = [];
  const start = (/** @type {string} */ name, wanted = true) => () => Boolean(wanted && started.push(name));
  turns.enter("k", start("1"));
  turns.enter("k", start("2", false));
  turns.enter("k", start("3"));
  turns.enter("other", start("o"));
  assert.deepEqual(started, ["1", "o"]);
  turns.leave("k");
  assert.deepEqual(started, ["1", "o", "3"]);
  turns.leave("k");
  turns.leave("other");
  assert.equal(turns.size, 0);
});
