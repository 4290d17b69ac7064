// SPDX-License-Identifier: MIT
// The time of one call of the user: its deadline, its AbortSignal, the end of the client. Whatever comes
// first stops it; then no timer and no listener of it is left.

/** @typedef {"deadline" | "abort" | "closed"} Reason */

export class Run {
  #signal;
  #timer;
  /** @type {Set<NodeJS.Timeout>} */
  #pauses = new Set();
  /** @type {(() => void) | null} */
  #onStop = null;
  #onOver;
  #aborted = () => this.stop("abort");
  /** Why it was stopped. @type {Reason | null} */
  reason = null;

  /**
   * @param {number} timeoutMs
   * @param {AbortSignal | undefined} signal
   * @param {(run: Run) => void} onOver
   */
  constructor(timeoutMs, signal, onOver) {
    this.untilMs = performance.now() + timeoutMs;
    this.#signal = signal;
    this.#onOver = onOver;
    this.#timer = setTimeout(() => this.stop("deadline"), timeoutMs);
    signal?.addEventListener("abort", this.#aborted);
    if (signal?.aborted) this.stop("abort");
  }

  get leftMs() {
    return Math.max(1, Math.floor(this.untilMs - performance.now()));
  }

  /** Why the user gave it up. */
  get cause() {
    return this.reason === "abort" ? this.#signal?.reason : undefined;
  }

  /** What is to be done when it is stopped: one thing at a time. @param {(() => void) | null} action */
  set onStop(action) {
    this.#onStop = action;
    if (action && this.reason) action();
  }

  /** @param {number} ms @param {() => void} action */
  after(ms, action) {
    const timer = setTimeout(() => {
      this.#pauses.delete(timer);
      action();
    }, ms);
    this.#pauses.add(timer);
  }

  /** The value, or null: stopped before. @template T @param {Promise<T>} promise @returns {Promise<T | null>} */
  race(promise) {
    return new Promise((resolve, reject) => {
      this.onStop = () => resolve(null);
      const settled = (/** @type {(result: any) => void} */ settle) => (/** @type {unknown} */ result) => {
        this.onStop = null;
        settle(result);
      };
      promise.then(settled(resolve), settled(reject));
    });
  }

  /** False: stopped. @param {number} ms @returns {Promise<boolean>} */
  async pause(ms) {
    return (await this.race(new Promise((resolve) => this.after(ms, () => resolve(true))))) === true;
  }

  /** @param {Reason} reason */
  stop(reason) {
    if (this.reason) return;
    this.reason = reason;
    const action = this.#onStop;
    this.#clear();
    action?.();
  }

  #clear() {
    clearTimeout(this.#timer);
    for (const pause of this.#pauses) clearTimeout(pause);
    this.#pauses.clear();
    this.#signal?.removeEventListener("abort", this.#aborted);
  }

  /** All that it was for has ended. */
  over() {
    this.#onStop = null;
    this.#clear();
    this.#onOver(this);
  }
}

/** A random part of a pause, so that those refused together do not return together; at least what the node
 * asked for, as far as that is reasonable. @param {number} pauseMs @param {number} askedMs */
export function jittered(pauseMs, askedMs) {
  return Math.max(pauseMs / 2 + (Math.random() * pauseMs) / 2, Math.min(askedMs, PAUSE_MS_MAX));
}

export const PAUSE_MS_FIRST = 20;
export const PAUSE_MS_MAX = 500;
/** With less left, another attempt would only turn "not done" into "maybe done". */
export const ATTEMPT_MS_MIN = 50;
