// SPDX-License-Identifier: MIT
// What this client knows of its ring: where ids lie, who leads them, who else is there. Learned from
// GetServerInfo of any member, and from every answer.

import { refused } from "./envelope.js";
import { Hints } from "./hints.js";
import { M_MAX, idFromWire, keyId } from "./ids.js";
import { serverInfo, status } from "./messages.js";
import { UNSENT } from "./recipe.js";

/** @typedef {import("./envelope.js").Answer} Answer */

const RING_ID_BYTES = 16;
const M_MIN = 3;
const NOTHING = new Uint8Array(0);

export class Ring {
  #caller;
  #envelopes;
  #attemptMs;
  /** @type {Promise<Answer | null> | null} */
  #learning = null;
  hints = new Hints();
  /** Identifier bits; 0: not known yet. */
  m = 0;

  /**
   * @param {import("./caller.js").Caller} caller
   * @param {import("./envelope.js").Envelopes} envelopes
   * @param {import("./members.js").Members} members
   * @param {number} attemptMs
   */
  constructor(caller, envelopes, members, attemptMs) {
    this.#caller = caller;
    this.#envelopes = envelopes;
    this.#attemptMs = attemptMs;
    this.members = members;
  }

  /** Asks each member once, until one tells; null: it is known now. @returns {Promise<Answer | null>} */
  learn() {
    if (this.m > 0) return Promise.resolve(null);
    this.#learning ??= this.#askAll().finally(() => (this.#learning = null));
    return this.#learning;
  }

  async #askAll() {
    let address = "";
    let nobody = refused(UNSENT, "no member of the ring answers");
    for (let left = this.members.count; left > 0; left--) {
      address = this.members.next(address);
      const answer = await this.#ask(address, "chord.v1.MetaService/GetServerInfo");
      if (answer.outcome.code === "UNAUTHENTICATED") return answer;
      const why = answer.outcome.code === "OK" ? this.#takeInfo(address, answer.payload) : answer.message;
      if (why === null) {
        this.#askForOthers(address);
        return null;
      }
      nobody = refused(UNSENT, `no member of the ring answers; the last one asked: ${why}`);
    }
    return nobody;
  }

  /** @param {string} address @param {string} method */
  async #ask(address, method) {
    const flight = { sent: false, counted: false };
    const answer = await this.#caller.attempt(address, method, NOTHING, this.#attemptMs, flight);
    this.hearOf(address, answer);
    return answer;
  }

  /** Why it does not do; null: it does. @param {string} address @param {Uint8Array} payload */
  #takeInfo(address, payload) {
    let parameters;
    try {
      parameters = serverInfo.unpack(payload).parameters;
    } catch {
      return `the GetServerInfoResponse of ${address} cannot be read`;
    }
    if (!parameters || parameters.m < M_MIN || parameters.m > M_MAX || parameters.ringId.length !== RING_ID_BYTES) {
      return `${address} is in no ring yet`;
    }
    const known = Buffer.from(this.#envelopes.ringId);
    if (known.length > 0 && !known.equals(parameters.ringId)) {
      return `${address} belongs to another ring, ${Buffer.from(parameters.ringId).toString("hex")}`;
    }
    this.#envelopes.ringId = new Uint8Array(parameters.ringId);
    this.m = parameters.m;
    return null;
  }

  /** The neighbours and fingers of a node, for when that one is not there. @param {string} address */
  async #askForOthers(address) {
    const answer = await this.#ask(address, "chord.v1.AdminService/Status");
    if (answer.outcome.code !== "OK") return;
    try {
      const told = status.unpack(answer.payload);
      for (const peer of [...told.successors, told.predecessor, ...told.fingers.map((finger) => finger.node)]) {
        if (peer) this.members.learn(peer.address);
      }
    } catch {
      // What cannot be read tells of nobody; nothing depends on it.
    }
  }

  /** @param {Uint8Array} key */
  idOf(key) {
    return keyId(key, this.m);
  }

  /** Who is asked next: the leader, as far as it is known, but not twice in a row.
   * @param {string} id @param {string} last who was asked last and did not do it; empty: nobody */
  target(id, last) {
    const leader = this.hints.find(id)?.address;
    return leader && leader !== last && !this.members.isSilent(leader) ? leader : this.members.next(last);
  }

  /** The end of the range of an id, if that address is known to lead it. @param {string} id @param {string} address */
  rangeLedBy(id, address) {
    const hint = this.hints.find(id);
    return hint?.address === address ? hint.hi : null;
  }

  /** @param {string} address @param {Answer} answer */
  hearOf(address, answer) {
    if (answer.said) this.members.heard(address);
    else this.members.silence(address);
  }

  /** @param {import("./messages.js").OwnerHint | null} hint */
  hear(hint) {
    const lo = hint?.range && idFromWire(hint.range.lo, this.m);
    const hi = hint?.range && idFromWire(hint.range.hi, this.m);
    if (!hint || !lo || !hi || hint.address === "") return;
    this.members.learn(hint.address);
    this.hints.learn(lo, hi, hint.epoch, hint.counter, hint.address);
  }
}
