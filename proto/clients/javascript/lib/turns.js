// SPDX-License-Identifier: MIT
// Changes of one key take turns: each starts when the one before it has ended, so it knows the version that
// was made, is not ABORTED, and costs one request. First come, first served.

export class Turns {
  /** By key: who waits behind the one that has the turn. @type {Map<string, (() => boolean)[]>} */
  #lines = new Map();

  /** How many keys are in use. */
  get size() {
    return this.#lines.size;
  }

  /**
   * Calls `start` when the turn comes, maybe at once; false: the turn is not wanted any more.
   * @param {string} key
   * @param {() => boolean} start
   */
  enter(key, start) {
    const line = this.#lines.get(key);
    if (line) {
      line.push(start);
    } else {
      this.#lines.set(key, []);
      if (!start()) this.leave(key);
    }
  }

  /** The one that has the turn has ended. @param {string} key */
  leave(key) {
    const line = this.#lines.get(key);
    for (let next = line?.shift(); next; next = line?.shift()) if (next()) return;
    this.#lines.delete(key);
  }

  /** No turn comes any more. */
  close() {
    this.#lines.clear();
  }
}
