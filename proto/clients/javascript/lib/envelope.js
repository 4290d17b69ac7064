// SPDX-License-Identifier: MIT
// One request and its answer as envelopes: ring id, MAC, receiver and its clock. Sends nothing.

import { randomBytes } from "node:crypto";
import { outcomeOf } from "./fate.js";
import { requestMac, responseMac, sameMac } from "./mac.js";
import { rpcRequest, rpcResponse } from "./messages.js";
import { FORGED, UNREADABLE } from "./recipe.js";

/** @typedef {import("./fate.js").Outcome} Outcome */
/** What came of a request; `said`: a node of this ring, as far as anyone can tell, said so.
 * @typedef {{outcome: Outcome, said: boolean, message: string, retryAfterMs: number, payload: Uint8Array}} Answer */
/** What a request's answer is held against. @typedef {{requestId: Buffer, method: string, ringId: Uint8Array}} Sent */

const PROTOCOL_VERSION = 1;
const RING_ID_BYTES = 16;
const START_BYTES = 16;
const WRONG_RING = 17;
const RECEIVERS_MAX = 1024;
const CLOCK_MS_MAX = 2n ** 63n; // beyond: nonsense, and no room for the time since
const NOTHING = new Uint8Array(0);
/** They ask who one is, so they are meant for any ring. */
const ANYONES = new Set(["AdminService/Status", "AdminService/Logs", "MetaService/GetServerInfo",
  "MetaService/GetFileDescriptorSet", "MetaService/Describe"].map((name) => `chord.v1.${name}`));

export class Envelopes {
  #key;
  #now;
  /** By address: the process that answered there last, its clock then, and ours.
   * @type {Map<string, {start: Uint8Array, clockMs: bigint, atMs: number}>} */
  #receivers = new Map();
  /** The ring that this client belongs to; empty: not known yet. @type {Uint8Array} */
  ringId;

  /**
   * @param {Uint8Array | null} key of the ring; null: it has none
   * @param {Uint8Array} ringId
   * @param {() => number} now in milliseconds; never goes back
   */
  constructor(key, ringId, now) {
    this.#key = key;
    this.#now = now;
    this.ringId = ringId;
  }

  /** @param {string} address @param {string} method @param {Uint8Array} payload @param {number} timeoutMs */
  seal(address, method, payload, timeoutMs) {
    const request = {
      protocolVersion: PROTOCOL_VERSION,
      method,
      requestId: randomBytes(16),
      timeoutMs,
      payload,
      ringId: ANYONES.has(method) ? NOTHING : this.ringId,
      receiver: /** @type {Uint8Array} */ (NOTHING),
      sentMs: 0n,
      mac: NOTHING,
    };
    if (this.#key) {
      const receiver = this.#receivers.get(address);
      request.receiver = receiver?.start ?? new Uint8Array(START_BYTES);
      request.sentMs = receiver ? receiver.clockMs + BigInt(Math.floor(this.#now() - receiver.atMs)) : 0n;
      request.mac = requestMac(this.#key, request);
    }
    return { sent: /** @type {Sent} */ (request), body: rpcRequest.pack(request) };
  }

  /** What the bytes of an answer say, once they are believed. @param {string} address @param {Sent} sent
   * @param {Uint8Array} body @returns {Answer} */
  open(address, sent, body) {
    let response;
    try {
      response = rpcResponse.unpack(body);
    } catch {
      return refused(UNREADABLE, `the answer of ${address} is no chord.v1.RpcResponse`);
    }
    if (this.#key && !sameMac(responseMac(this.#key, response), response.mac)) {
      return refused(FORGED, `the mac of the answer of ${address} is missing or wrong: it has another ring key`);
    }
    const mine = sent.requestId.equals(response.requestId);
    if (!mine && (response.code === 0 || response.requestId.length > 0)) {
      return refused(UNREADABLE, `the answer of ${address} has another request_id`);
    }
    this.#hear(address, response);
    if (response.code === 0 && sent.ringId.length > 0 && response.ringId.length === RING_ID_BYTES
        && !sent.ringId.every((byte, at) => byte === response.ringId[at])) {
      const other = Buffer.from(response.ringId).toString("hex");
      return refused(outcomeOf(WRONG_RING), `${address} belongs to another ring, ${other}`);
    }
    const { code, message, retryAfterMs, payload } = response;
    return { outcome: outcomeOf(code), said: code !== WRONG_RING, message, retryAfterMs, payload };
  }

  /** @param {string} address @param {import("./messages.js").RpcResponse} response */
  #hear(address, response) {
    if (!this.#key || response.start.length !== START_BYTES) return;
    this.#receivers.delete(address);
    const clockMs = response.clockMs > CLOCK_MS_MAX ? 0n : response.clockMs;
    this.#receivers.set(address, { start: new Uint8Array(response.start), clockMs, atMs: this.#now() });
    if (this.#receivers.size > RECEIVERS_MAX) {
      this.#receivers.delete(/** @type {string} */ (this.#receivers.keys().next().value));
    }
  }
}

/** No answer that counts. @param {Outcome} outcome @param {string} message @returns {Answer} */
export function refused(outcome, message) {
  return { outcome, said: false, message, retryAfterMs: 0, payload: NOTHING };
}
