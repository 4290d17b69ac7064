// SPDX-License-Identifier: MIT
// Operations until the outcome of each is known or their time is over: whom to ask, with which others, and
// when again. The recipe of each says whether.

import { Batches } from "./batches.js";
import { Flows, SMALL_BYTES } from "./flows.js";
import { ATTEMPT_MS_MIN, PAUSE_MS_MAX, jittered } from "./run.js";
import { Turns } from "./turns.js";

/** @typedef {import("./operation.js").Operation} Operation */
/** @typedef {import("./run.js").Run} Run */
/** By what operations are sent. @typedef {{ring: import("./ring.js").Ring, batches: Batches, flows: Flows,
 *   attemptMs: number}} Way */
/** What travels as one request. @typedef {{address: string, operations: Operation[], bytes: number}} Group */

const GROUP_OPERATIONS_MAX = 1024;
const GROUP_BYTES_MAX = 768 * 1024;
const OPERATION_BYTES = 96; // of its other fields, at most

export class Runner {
  #way;
  #turns = new Turns();

  /**
   * @param {import("./ring.js").Ring} ring
   * @param {import("./caller.js").Caller} caller
   * @param {number} attemptMs
   */
  constructor(ring, caller, attemptMs) {
    const batches = new Batches(ring, caller);
    /** @type {Way} */
    this.#way = { ring, batches, flows: new Flows(batches, attemptMs), attemptMs };
  }

  /** Nothing that waits is sent any more. */
  close() {
    this.#turns.close();
    this.#way.flows.close();
  }

  /** Once the ring is known. Resolves when each has ended. @param {Operation[]} operations @param {Run} run
   * @returns {Promise<void>} */
  async run(operations, run) {
    if (run.reason) for (const operation of operations) operation.giveUp(run.reason);
    else await this.#drive(operations, run);
  }

  /** @param {Operation[]} operations @param {Run} run @returns {Promise<void>} */
  #drive(operations, run) {
    return new Promise((resolve) => {
      let left = operations.length;
      const ended = () => {
        if (--left === 0) resolve();
      };
      const drive = new Drive(this.#way, run, (operation) => {
        if (operation.writes) this.#turns.leave(turnOf(operation));
        ended();
      });
      /** @type {Operation[] | null} */
      let first = [];
      for (const operation of operations) {
        operation.id = this.#way.ring.idOf(operation.key);
        if (operation.writes) this.#enter(operation, () => (first ? first.push(operation) : drive.send([operation])));
        else first.push(operation);
      }
      const now = first;
      first = null;
      drive.send(now);
      run.onStop = () => {
        const reason = /** @type {import("./run.js").Reason} */ (run.reason);
        const open = operations.filter((operation) => !operation.ended);
        // First those that wait for the turn of another one of them.
        for (const operation of open.filter((one) => one.waits)) {
          operation.giveUp(reason);
          ended();
        }
        for (const operation of open.filter((one) => !one.waits)) drive.giveUp(operation, reason);
      };
    });
  }

  /** @param {Operation} operation @param {() => void} start */
  #enter(operation, start) {
    operation.waits = true;
    this.#turns.enter(turnOf(operation), () => {
      if (operation.ended) return false;
      operation.waits = false;
      start();
      return true;
    });
  }
}

/** @param {Operation} operation */
function turnOf(operation) {
  return operation.key.toString("latin1");
}

/** The operations of one run that may be sent. */
class Drive {
  #way;
  #run;
  #ended;

  /**
   * @param {Way} way
   * @param {Run} run
   * @param {(operation: Operation) => void} ended
   */
  constructor(way, run, ended) {
    this.#way = way;
    this.#run = run;
    this.#ended = ended;
  }

  /** @param {Operation[]} operations */
  send(operations) {
    if (operations.length === 1 && this.#sendWithOthers(operations[0])) return;
    for (const group of this.#group(operations)) void this.#attempt(group);
  }

  /** @param {Operation} operation @param {import("./run.js").Reason} reason */
  giveUp(operation, reason) {
    operation.giveUp(reason);
    this.#ended(operation);
  }

  /** By who is asked; and reads apart from changes, so that none waits for what another kind needs.
   * @param {Operation[]} operations */
  #group(operations) {
    /** @type {Group[]} */
    const groups = [];
    /** The one that is being filled. @type {Map<string, Group>} */
    const open = new Map();
    for (const operation of operations) {
      const address = this.#way.ring.target(operation.id, operation.failedAt);
      const name = `${operation.kind} ${address}`;
      const bytes = operation.bytes + OPERATION_BYTES;
      let group = open.get(name);
      if (!group || group.bytes + bytes > GROUP_BYTES_MAX || group.operations.length === GROUP_OPERATIONS_MAX) {
        group = { address, operations: [], bytes: 0 };
        open.set(name, group);
        groups.push(group);
      }
      group.operations.push(operation);
      group.bytes += bytes;
    }
    return groups;
  }

  /** @param {Group} group */
  async #attempt({ address, operations }) {
    const timeoutMs = Math.min(this.#way.attemptMs, this.#run.leftMs);
    const { answer, response } = await this.#way.batches.send(address, operations, timeoutMs);
    this.#goOn(address, operations.map((operation, at) => ({ operation, at })), answer, response);
  }

  /** With those of other runs, where its leader is known and it has time for a whole attempt.
   * @param {Operation} operation @returns {boolean} false: not this one */
  #sendWithOthers(operation) {
    const { ring, flows, attemptMs } = this.#way;
    const address = ring.target(operation.id, operation.failedAt);
    const range = ring.rangeLedBy(operation.id, address);
    if (!range || operation.begun || operation.bytes > SMALL_BYTES || this.#run.leftMs < attemptMs) return false;
    void flows.ask(address, range, operation).then(({ answer, response, at }) =>
      this.#goOn(address, [{ operation, at }], answer, response));
    return true;
  }

  /** @param {string} address @param {{operation: Operation, at: number}[]} places of operations in the response
   * @param {import("./envelope.js").Answer} answer @param {import("./messages.js").BatchResponse | null} response */
  #goOn(address, places, answer, response) {
    /** @type {Operation[]} */
    const atOnce = [];
    /** @type {Operation[]} */
    const later = [];
    for (const { operation, at } of places) {
      if (operation.ended) continue; // given up meanwhile
      const next = operation.take(answer, response, at);
      if (next === "end") {
        operation.ended = true;
        this.#ended(operation);
      } else if (next === "at once") {
        operation.failedAt = "";
        atOnce.push(operation);
      } else {
        operation.failedAt = address;
        later.push(operation);
      }
    }
    if (later.length > 0 && answer.said) this.#way.ring.members.mistrust(address);
    if (atOnce.length > 0) this.send(atOnce);
    if (later.length > 0) this.#sendLater(later);
  }

  /** @param {Operation[]} operations tried together, so they wait together */
  #sendLater(operations) {
    const waitMs = jittered(operations[0].pauseMs, operations[0].retryAfterMs);
    if (performance.now() + waitMs + ATTEMPT_MS_MIN >= this.#run.untilMs) {
      for (const operation of operations) this.giveUp(operation, "deadline");
      return;
    }
    for (const operation of operations) operation.pauseMs = Math.min(operation.pauseMs * 2, PAUSE_MS_MAX);
    this.#run.after(waitMs, () => this.send(operations));
  }
}
