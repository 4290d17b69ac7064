// SPDX-License-Identifier: MIT
// The writer's recipe: every code of fates.csv, and the table of proto/README.md row by row.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { allOutcomes, outcomeOf } from "../lib/fate.js";
import { CUT_OFF, FORGED, Recipe, UNANSWERED, UNSENT } from "../lib/recipe.js";
import { NO_VERSION } from "../lib/version.js";

const [heading, ...rows] = readFileSync(new URL("../../fates.csv", import.meta.url), "ascii").trim().split("\n");
const table = rows.map((row) => row.split(","));
const OP_ID = new Uint8Array(16);
const SEEN = { epoch: 3n, counter: 17n };
const TOLD = { epoch: 3n, counter: 20n };
const write = () => new Recipe(OP_ID, SEEN);
const read = () => new Recipe(null, NO_VERSION);
/** @param {string} code */
const outcome = (code) => outcomeOf(/** @type {any} */ (allOutcomes().find((one) => one.code === code)).number);

test("the table is that of fates.csv, the numbers are those of envelope.proto", () => {
  assert.equal(heading, "code,fate,again");
  assert.deepEqual(allOutcomes().map(({ code, fate, again }) => [code, fate, again]), table);
  const contract = readFileSync(new URL("../../../chord/v1/envelope.proto", import.meta.url), "utf8");
  const lines = [...contract.matchAll(/^ {2}CODE_(\w+) = (\d+);/gm)];
  const numbers = lines.map(([, code, number]) => [code, Number(number)]);
  assert.deepEqual(allOutcomes().map(({ code, number }) => [code, number]), numbers);
});

for (const [code, fate, again] of table) {
  test(`${code} to the first attempt of a write, and of a read`, () => {
    const recipe = write();
    if (code === "DATA_LOSS") { // a write that asks for nothing of what was there may take the row's place
      assert.equal(recipe.take(outcome(code), NO_VERSION), "at once");
      assert.deepEqual([recipe.attempt, recipe.seen, recipe.maybe], [1, NO_VERSION, false]);
      recipe.seen = NO_VERSION;
      assert.equal(recipe.take(outcome(code), NO_VERSION), "end");
      assert.deepEqual(recipe.report(outcome(code)), { code, fate });
      return;
    }
    assert.equal(recipe.take(outcome(code), NO_VERSION), again === "never" ? "end" : "later");
    const maybe = fate === "maybe done";
    assert.equal(recipe.attempt, maybe ? 2 : 1);
    assert.deepEqual(recipe.seen, SEEN);
    assert.deepEqual(recipe.report(outcome(code)),
      { code: maybe ? "UNKNOWN" : code === "ABORTED" ? "UNAVAILABLE" : code, fate });
    const reader = read();
    assert.equal(reader.take(outcome(code), TOLD), again === "never" ? "end" : "later");
    assert.equal(reader.report(outcome(code)).fate, fate === "done" ? "done" : "not done");
  });

  test(`${code} after an attempt that may have been executed`, () => {
    const recipe = write();
    assert.equal(recipe.take(UNANSWERED, NO_VERSION), "later");
    assert.equal(recipe.take(outcome(code), NO_VERSION), again === "never" ? "end" : "later");
    assert.equal(recipe.attempt, fate === "maybe done" ? 3 : 2);
    assert.deepEqual(recipe.report(outcome(code)),
      fate === "done" ? { code, fate } : { code: "UNKNOWN", fate: "maybe done" });
  });
}

test("ABORTED to attempt 1: its version becomes seen, at once", () => {
  const recipe = write();
  assert.equal(recipe.take(outcome("ABORTED"), TOLD), "at once");
  assert.deepEqual([recipe.attempt, recipe.seen, recipe.maybe], [1, TOLD, false]);
});

test("once a second attempt was sent, seen stays", () => {
  const recipe = write();
  recipe.take(UNANSWERED, NO_VERSION);
  assert.equal(recipe.take(outcome("ABORTED"), TOLD), "later");
  assert.deepEqual([recipe.attempt, recipe.seen], [2, SEEN]);
});

test("UNKNOWN with a version is final, without one it is asked again", () => {
  assert.equal(write().take(outcome("UNKNOWN"), TOLD), "end");
  assert.equal(write().take(outcome("UNKNOWN"), NO_VERSION), "later");
  assert.equal(read().take(outcome("UNKNOWN"), TOLD), "later");
});

test("without an answer: counted only where it was sent", () => {
  for (const [how, attempt, next] of /** @type {[any, number, string][]} */ ([[UNANSWERED, 2, "later"],
    [CUT_OFF, 2, "later"], [UNSENT, 1, "later"], [FORGED, 2, "end"]])) {
    const recipe = write();
    assert.equal(recipe.take(how, NO_VERSION), next);
    assert.equal(recipe.attempt, attempt);
    assert.equal(recipe.report(how).fate, attempt === 1 ? "not done" : "maybe done");
  }
});
