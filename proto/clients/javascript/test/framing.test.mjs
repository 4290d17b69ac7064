// SPDX-License-Identifier: MIT
// SP framing: any cut of the stream gives the same messages; what is no SP, or too long, ends it.

import assert from "node:assert/strict";
import test from "node:test";
import { FrameReader, FramingError, HELLO_REP, RECEIVE_BYTES_MAX, frame, nextId } from "../lib/framing.js";

/** @param {Buffer[]} chunks */
function read(chunks) {
  const reader = new FrameReader();
  /** @type {[number, string][]} */
  const got = [];
  for (const chunk of chunks) reader.push(chunk, (id, body) => got.push([id, body.toString()]));
  return got;
}

/** @param {number} high @param {number} low */
function head(high, low) {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32BE(high, 0);
  bytes.writeUInt32BE(low, 4);
  return Buffer.concat([HELLO_REP, bytes]);
}

test("the example of proto/README.md", () => {
  const bytes = frame(0x80000001, Buffer.alloc(44, 7));
  assert.equal(bytes.subarray(0, 12).toString("hex"), "000000000000003080000001");
  assert.equal(bytes.length, 8 + 48);
});

test("messages come whole, however the stream is cut", () => {
  const stream = Buffer.concat([HELLO_REP, frame(0x80000001, Buffer.from("one")), frame(0xffffffff, Buffer.alloc(0)),
    frame(0x80000002, Buffer.from("three"))]);
  const wanted = [[0x80000001, "one"], [0xffffffff, ""], [0x80000002, "three"]];
  for (let size = 1; size <= stream.length; size++) {
    const chunks = [];
    for (let at = 0; at < stream.length; at += size) chunks.push(stream.subarray(at, at + size));
    assert.deepEqual(read(chunks), wanted, `pieces of ${size} bytes`);
  }
});

test("a message has at most 2 MiB", () => {
  assert.deepEqual(read([head(0, RECEIVE_BYTES_MAX)]), []);
  assert.throws(() => read([head(0, RECEIVE_BYTES_MAX + 1)]), FramingError);
  assert.throws(() => read([head(1, 4)]), FramingError); // its upper half counts
  assert.throws(() => read([head(0, 3)]), FramingError);
});

test("who does not speak SP REP is found out", () => {
  assert.throws(() => read([Buffer.from("HTTP/1.1 400")]), FramingError);
  assert.throws(() => read([Buffer.from([0, 0x53, 0x50, 0, 0, 0x30, 0, 0])]), FramingError);
});

test("ids keep their top bit and go round", () => {
  assert.equal(nextId(0x80000001), 0x80000002);
  assert.equal(nextId(0xffffffff), 0x80000000);
  assert.equal(nextId(7), 0x80000008);
});
