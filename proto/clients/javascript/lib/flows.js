// SPDX-License-Identifier: MIT
// Operations of several calls that wait at one moment for the same leader travel as one Batch: the busier the
// leader, the larger the batches. A flow is what may travel together: small operations on one range, all reads,
// all stale reads, or all changes, so that none waits for what another kind needs. One that was tried before
// travels alone: whatever keeps it is not to keep others.

/** @typedef {import("./operation.js").Operation} Operation */
/** @typedef {import("./batches.js").Told & {at: number}} ToldAt */
/** @typedef {{operation: Operation, resolve: (told: ToldAt) => void}} Entry */
/** `out`: requests without an answer yet; `due`: the next one is sent in this turn of the event loop; `timer`: until
 * those that wait go all the same.
 * @typedef {{name: string, address: string, waiting: Entry[], out: number, due: NodeJS.Immediate | null,
 *   timer: NodeJS.Timeout | null}} Flow */

const OUT_MAX = 2;
/** A late answer keeps others for so long. */
const PATIENCE_MS = 100;
const OPERATIONS_MAX = 128;
const BYTES_MAX = 256 * 1024;
export const SMALL_BYTES = 16 * 1024;

export class Flows {
  #batches;
  #attemptMs;
  /** @type {Map<string, Flow>} */
  #flows = new Map();

  /** @param {import("./batches.js").Batches} batches @param {number} attemptMs */
  constructor(batches, attemptMs) {
    this.#batches = batches;
    this.#attemptMs = attemptMs;
  }

  /** Flows in use. */
  get size() {
    return this.#flows.size;
  }

  /** What becomes of the operation's attempt; never, if it is given up before it was sent.
   * @param {string} address @param {string} range @param {Operation} operation @returns {Promise<ToldAt>} */
  ask(address, range, operation) {
    const name = `${operation.kind} ${range} ${address}`;
    const flow = this.#flows.get(name) ?? { name, address, waiting: [], out: 0, due: null, timer: null };
    this.#flows.set(name, flow);
    return new Promise((resolve) => {
      flow.waiting.push({ operation, resolve });
      this.#plan(flow);
    });
  }

  /** @param {Flow} flow */
  #plan(flow) {
    if (flow.due) return;
    if (flow.waiting.length === 0) {
      if (flow.out === 0) this.#flows.delete(flow.name);
    } else if (flow.out < OUT_MAX) {
      flow.due = setImmediate(() => void this.#send(flow));
    } else {
      flow.timer ??= setTimeout(() => void this.#send(flow), PATIENCE_MS);
    }
  }

  /** @param {Flow} flow */
  async #send(flow) {
    stop(flow);
    const entries = take(flow);
    if (entries.length === 0) return this.#plan(flow);
    flow.out++;
    const sent = this.#batches.send(flow.address, entries.map((entry) => entry.operation), this.#attemptMs);
    this.#plan(flow);
    const told = await sent;
    flow.out--;
    entries.forEach(({ resolve }, at) => resolve({ ...told, at }));
    this.#plan(flow);
  }

  /** Nothing that waits is sent any more. */
  close() {
    for (const flow of this.#flows.values()) {
      flow.waiting = [];
      stop(flow);
    }
  }
}

/** @param {Flow} flow */
function stop(flow) {
  if (flow.due) clearImmediate(flow.due);
  if (flow.timer) clearTimeout(flow.timer);
  flow.due = flow.timer = null;
}

/** The next ones that wait, in their order, without those that were given up. @param {Flow} flow */
function take(flow) {
  /** @type {Entry[]} */
  const entries = [];
  let bytes = 0;
  let count = 0;
  for (const entry of flow.waiting) {
    bytes += entry.operation.bytes;
    if (entries.length === OPERATIONS_MAX || bytes > BYTES_MAX) break;
    if (!entry.operation.ended) entries.push(entry);
    count++;
  }
  flow.waiting.splice(0, count);
  return entries;
}
