// SPDX-License-Identifier: MIT
// One attempt: a request to one node and what came of it, a CHALLENGE answered within. Never rejects.

import { NoAnswer } from "./connection.js";
import { Connections } from "./connections.js";
import { refused } from "./envelope.js";
import { CUT_OFF, UNANSWERED, UNSENT } from "./recipe.js";

/** @typedef {import("./envelope.js").Answer} Answer */
/** An attempt under way: whether the node may have it, and whether it is counted.
 * @typedef {{sent: boolean, counted: boolean}} Flight */

export class Caller {
  #envelopes;
  #connections;
  /** Requests that operations have sent. */
  calls = 0;

  /** @param {import("./envelope.js").Envelopes} envelopes @param {number} connectMs */
  constructor(envelopes, connectMs) {
    this.#envelopes = envelopes;
    this.#connections = new Connections(connectMs);
  }

  /**
   * @param {string} address
   * @param {string} method
   * @param {Uint8Array} payload
   * @param {number} timeoutMs
   * @param {Flight} flight
   * @returns {Promise<Answer>}
   */
  async attempt(address, method, payload, timeoutMs, flight) {
    const until = performance.now() + timeoutMs;
    for (let last = false; ; last = true) {
      const leftMs = Math.max(1, Math.floor(until - performance.now()));
      const answer = await this.#send(address, method, payload, leftMs, flight);
      if (last || answer.outcome.code !== "CHALLENGE") return answer;
      flight.sent = false; // nothing was done; at once signed anew, with what the answer told
    }
  }

  /** @param {string} address @param {string} method @param {Uint8Array} payload @param {number} timeoutMs
   * @param {Flight} flight @returns {Promise<Answer>} */
  async #send(address, method, payload, timeoutMs, flight) {
    /** @type {import("./envelope.js").Sent | undefined} */
    let sent;
    const pack = (/** @type {number} */ leftMs) => {
      const sealed = this.#envelopes.seal(address, method, payload, leftMs);
      sent = sealed.sent;
      flight.sent = true;
      this.calls += flight.counted ? 1 : 0;
      return sealed.body;
    };
    try {
      const body = await this.#connections.call(address, pack, timeoutMs);
      return this.#envelopes.open(address, /** @type {import("./envelope.js").Sent} */ (sent), body);
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      const outcome = !error.sent ? UNSENT : error.late ? UNANSWERED : CUT_OFF;
      return refused(outcome, error.message);
    }
  }

  close() {
    return this.#connections.close();
  }
}
