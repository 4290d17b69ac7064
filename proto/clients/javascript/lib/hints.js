// SPDX-License-Identifier: MIT
// What the ring has told of its ranges: who leads them, and the newest version in each. Sends nothing.

import { inRange } from "./ids.js";
import { NO_VERSION, newest } from "./version.js";

/** @typedef {import("./version.js").Version} Version */
/** @typedef {{lo: string, hi: string, epoch: bigint, address: string, seen: Version}} Hint */

const HINTS_MAX = 1024;

export class Hints {
  /** By hi, no two overlap. @type {Hint[]} */
  #hints = [];

  /** The first one whose hi is at or after the id. @param {string} id */
  #lower(id) {
    let low = 0;
    let high = this.#hints.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#hints[middle].hi < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  get count() {
    return this.#hints.length;
  }

  /** @param {string} id @returns {Hint | null} */
  find(id) {
    if (this.#hints.length === 0) return null;
    const hint = this.#hints[this.#lower(id) % this.#hints.length];
    return inRange(id, hint.lo, hint.hi) ? hint : null;
  }

  /**
   * Of the highest epoch for each range; of one epoch the latest, which keeps the newest counter.
   * @param {string} lo @param {string} hi @param {bigint} epoch @param {bigint} counter @param {string} address
   */
  learn(lo, hi, epoch, counter, address) {
    const same = this.find(hi);
    const seen = { epoch, counter };
    if (same && same.hi === hi && same.lo === lo && same.epoch === epoch) {
      same.seen = newest(seen, same.seen);
      same.address = address;
      return;
    }
    const overlap = this.#hints.filter((hint) => inRange(hint.hi, lo, hi) || inRange(hi, hint.lo, hint.hi));
    if (overlap.some((hint) => hint.epoch > epoch)) return;
    this.#hints = this.#hints.filter((hint) => !overlap.includes(hint));
    if (this.#hints.length >= HINTS_MAX) this.#hints.splice(Math.floor(Math.random() * HINTS_MAX), 1);
    this.#hints.splice(this.#lower(hi), 0, { lo, hi, epoch, address, seen });
  }

  /**
   * An answer told of a version of a key. One of another epoch may be of a range that is not known here yet:
   * its counter says nothing of the other keys.
   * @param {string} id @param {Version} version
   */
  hear(id, version) {
    const hint = this.find(id);
    if (hint && hint.epoch === version.epoch) hint.seen = newest(version, hint.seen);
  }

  /** No version of the key is known to be newer. @param {string} id @returns {Version} */
  seen(id) {
    return this.find(id)?.seen ?? NO_VERSION;
  }
}
