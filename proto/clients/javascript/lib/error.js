// SPDX-License-Identifier: MIT
// The one error of this client.

/** @typedef {import("./fate.js").Fate} Fate */

/** What the ring said, or why it said nothing. */
export class ChordError extends Error {
  /**
   * @param {string} code name of a code of chord/v1/envelope.proto, without CODE_
   * @param {Fate} fate
   * @param {string} message one sentence for people
   * @param {{retryAfterMs?: number, version?: string, cause?: unknown}} [more]
   */
  constructor(code, fate, message, { retryAfterMs = 0, version, cause } = {}) {
    super(`${code}: ${message}`, cause === undefined ? undefined : { cause });
    this.name = "ChordError";
    this.code = code;
    /** The message without the code. */
    this.sentence = message;
    /** What became of the operation: "done" never, "not done" surely not, "maybe done": a change may
     * have been carried out, or may still be.
     * @type {Fate} */
    this.fate = fate;
    /** Above 0: the same may succeed after that time. */
    this.retryAfterMs = retryAfterMs;
    /** Of the value that stood in the way of a condition. @type {string | undefined} */
    this.version = version;
  }
}

/** Refused here: nothing was sent. @param {string} message */
export function invalid(message) {
  return new ChordError("INVALID_ARGUMENT", "not done", message);
}
