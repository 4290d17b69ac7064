// SPDX-License-Identifier: MIT
// The geometry of the ring picture, without a browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import { evenness, range_share, ring_fraction, ring_point, spread_labels } from "../../web/ring_math.js";

test("an id's place is id / 2^M at any M", () => {
  assert.equal(ring_fraction("20", 6), 0.5);
  assert.equal(ring_fraction("7", 3), 7 / 8);
  assert.equal(ring_fraction("8" + "0".repeat(39), 160), 0.5);
  assert.ok(ring_fraction("f".repeat(40), 160) < 1);
});

test("(lo, hi] wraps past 0, and lo == hi is everything", () => {
  assert.equal(range_share("30", "10", 6), 0.5);
  assert.equal(range_share("10", "30", 6), 0.5);
  assert.equal(range_share("10", "10", 6), 1);
});

test("evenness is of the mean arc, across 0", () => {
  assert.deepEqual(evenness(["00", "10", "20", "30"], 6), { largest: 1, smallest: 1, even: true });
  const { largest, smallest, even } = evenness(["08", "00", "20"], 6); // arcs of 32, 8 and 24
  assert.deepEqual([largest, smallest, even], [1.5, 0.375, true]);
  assert.equal(evenness(["01", "00"], 6).even, false);
});

test("0 is at the top and ids run clockwise", () => {
  assert.deepEqual(ring_point(0, 100, 200), { x: 200, y: 100 });
  assert.equal(Math.round(ring_point(0.25, 100, 200).x), 300);
});

test("labels keep their distance, also across 0", () => {
  const at = spread_labels([0.001, 0.002, 0.003, 0.999], 0.04);
  for (let i = 0; i + 1 < at.length; i++) assert.ok(at[i + 1] - at[i] > 0.039 || i === 2, String(at));
  assert.ok(at[0] + 1 - at[3] > 0.039, String(at));
});
