// SPDX-License-Identifier: MIT
// The writer's recipe of proto/README.md ("Writing") for one operation: what goes with each attempt,
// whether there is another one, and what to report of all of them. Sends nothing, knows no time.

/** @typedef {import("./fate.js").Fate} Fate */
/** @typedef {import("./fate.js").Outcome} Outcome */
/** @typedef {import("./version.js").Version} Version */
/** end: nothing more can be found out; later: again after a pause; at once: again, nothing to wait for.
 * @typedef {"end" | "later" | "at once"} Next */

/** The attempt had no answer, but may have been executed. @type {Outcome} */
export const UNANSWERED = Object.freeze({ code: "DEADLINE_EXCEEDED", fate: "maybe done", again: "later" });
/** The connection closed under it. @type {Outcome} */
export const CUT_OFF = Object.freeze({ code: "UNAVAILABLE", fate: "maybe done", again: "later" });
/** Not a byte of it was sent. @type {Outcome} */
export const UNSENT = Object.freeze({ code: "UNAVAILABLE", fate: "not done", again: "later" });
/** An answer that cannot be believed tells nothing. @type {Outcome} */
export const FORGED = Object.freeze({ code: "UNAUTHENTICATED", fate: "maybe done", again: "never" });
/** One that cannot be read tells nothing either. @type {Outcome} */
export const UNREADABLE = Object.freeze({ code: "INTERNAL", fate: "maybe done", again: "later" });

export class Recipe {
  /**
   * @param {Uint8Array | null} opId 16 random bytes, new for each write; null: a read
   * @param {Version} seen the newest version heard of the key or its range; (0, 0): nothing was heard
   */
  constructor(opId, seen) {
    this.opId = opId;
    this.attempt = 1;
    this.seen = seen;
    /** An attempt may have been executed. */
    this.maybe = false;
  }

  get writes() {
    return this.opId !== null;
  }

  /**
   * What became of an attempt.
   * @param {Outcome} outcome of the result where there is one, else of the envelope, or one of the above
   * @param {Version} version of the result; (0, 0): it has none
   * @returns {Next}
   */
  take(outcome, version) {
    const told = version.epoch > 0n;
    if (outcome.again === "at once" && this.writes && this.attempt === 1 && told) {
      // Nothing was done: the key is newer than was known here. Once a second attempt was sent, `seen` stays.
      this.seen = version;
      return "at once";
    }
    if (outcome.code === "DATA_LOSS" && this.writes && this.attempt === 1 && this.seen.epoch > 0n) {
      // A disk has changed the row. Only a write that asks for nothing of what was there takes its place; where the
      // row is good by then, it is ABORTED.
      this.seen = { epoch: 0n, counter: 0n };
      return "at once";
    }
    if (outcome.fate === "maybe done" && this.writes) {
      this.maybe = true;
      this.attempt++;
      if (told) return "end"; // overwritten since: nobody can find out any more
    }
    return outcome.again === "never" ? "end" : "later";
  }

  /**
   * Of all attempts together. Whatever refused the last one, an earlier one may have been executed; a
   * condition may have failed by it.
   * @param {Outcome} last how the last attempt ended
   * @returns {{code: string, fate: Fate}}
   */
  report(last) {
    if (last.fate === "done") return { code: last.code, fate: "done" };
    if (this.maybe) return { code: "UNKNOWN", fate: "maybe done" };
    // ABORTED to the end: others kept writing the key.
    return { code: last.code === "ABORTED" ? "UNAVAILABLE" : last.code, fate: "not done" };
  }
}
