// SPDX-License-Identifier: MIT
// What a code says of a request: whether a write was done, and whether to ask again. Knows nothing else.
// The same table as proto/clients/fates.csv, which the tests hold it against.

/** @typedef {"done" | "not done" | "maybe done"} Fate */
/** @typedef {"never" | "later" | "at once" | "at leader" | "elsewhere"} Again */
/** @typedef {{code: string, fate: Fate, again: Again}} Outcome */

/** By number of chord.v1.Code. @type {Record<number, Outcome>} */
const OUTCOMES = {
  0: { code: "OK", fate: "done", again: "never" },
  1: { code: "CANCELLED", fate: "maybe done", again: "later" },
  2: { code: "UNKNOWN", fate: "maybe done", again: "later" },
  3: { code: "INVALID_ARGUMENT", fate: "not done", again: "never" },
  4: { code: "DEADLINE_EXCEEDED", fate: "maybe done", again: "later" },
  5: { code: "NOT_FOUND", fate: "done", again: "never" },
  6: { code: "ALREADY_EXISTS", fate: "not done", again: "never" },
  7: { code: "PERMISSION_DENIED", fate: "not done", again: "never" },
  8: { code: "RESOURCE_EXHAUSTED", fate: "not done", again: "later" },
  9: { code: "FAILED_PRECONDITION", fate: "not done", again: "never" },
  10: { code: "ABORTED", fate: "not done", again: "at once" },
  11: { code: "OUT_OF_RANGE", fate: "not done", again: "at leader" },
  12: { code: "UNIMPLEMENTED", fate: "not done", again: "never" },
  13: { code: "INTERNAL", fate: "maybe done", again: "never" }, // a bug, perhaps after the change was made
  14: { code: "UNAVAILABLE", fate: "not done", again: "later" },
  15: { code: "DATA_LOSS", fate: "not done", again: "never" },
  16: { code: "UNAUTHENTICATED", fate: "not done", again: "never" },
  17: { code: "WRONG_RING", fate: "not done", again: "elsewhere" },
  19: { code: "CHALLENGE", fate: "not done", again: "later" },
};
/** A code that a newer node invented: nothing is known, and nobody knows whether asking again helps. */
const INVENTED = /** @type {const} */ ({ code: "UNKNOWN", fate: "maybe done", again: "never" });

/** @param {number} number of chord.v1.Code @returns {Outcome} */
export function outcomeOf(number) {
  return OUTCOMES[number] ?? INVENTED;
}

/** Every code, for the tests. */
export function allOutcomes() {
  return Object.entries(OUTCOMES).map(([number, outcome]) => ({ number: Number(number), ...outcome }));
}
