// SPDX-License-Identifier: MIT
// One attempt for one or more operations: a Batch to one node, and what its answer tells of the ring.

import { CONSISTENCY_STALE, batchRequest, batchResponse } from "./messages.js";
import { NO_VERSION } from "./version.js";

/** @typedef {import("./envelope.js").Answer} Answer */
/** @typedef {import("./messages.js").BatchResponse} BatchResponse */
/** @typedef {import("./operation.js").Operation} Operation */
/** `response`: null where the answer has no results, or not those that were asked for.
 * @typedef {{answer: Answer, response: BatchResponse | null}} Told */

const METHOD = "chord.v1.KvService/Batch";

export class Batches {
  #ring;
  #caller;

  /** @param {import("./ring.js").Ring} ring @param {import("./caller.js").Caller} caller */
  constructor(ring, caller) {
    this.#ring = ring;
    this.#caller = caller;
  }

  /** @param {string} address @param {Operation[]} operations all of one kind; a key of a change only once
   * @param {number} timeoutMs @returns {Promise<Told>} */
  async send(address, operations, timeoutMs) {
    const flight = { sent: false, counted: true };
    const packed = batchRequest.pack({
      operations: operations.map((operation) => operation.pack(this.#ring.hints.seen(operation.id))),
      consistency: operations[0].stale ? CONSISTENCY_STALE : 0,
    });
    for (const operation of operations) operation.flight = flight;
    const answer = await this.#caller.attempt(address, METHOD, packed, timeoutMs, flight);
    const response = readResponse(answer, operations.length);
    this.#ring.hearOf(address, answer);
    if (response) this.#hear(operations, response);
    return { answer, response };
  }

  /** @param {Operation[]} operations @param {BatchResponse} response */
  #hear(operations, response) {
    this.#ring.hear(response.hint);
    for (const hint of response.hints) this.#ring.hear(hint);
    // What was read counts for nothing: a writer that has seen nothing may overwrite a damaged row.
    response.results.forEach((result, at) => {
      if (operations[at].writes) this.#ring.hints.hear(operations[at].id, result.version ?? NO_VERSION);
    });
  }
}

/** @param {Answer} answer @param {number} count */
function readResponse(answer, count) {
  if (answer.outcome.code !== "OK") return null;
  try {
    const response = batchResponse.unpack(answer.payload);
    return response.results.length === count ? response : null;
  } catch {
    return null;
  }
}
