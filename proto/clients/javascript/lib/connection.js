// SPDX-License-Identifier: MIT
// One TCP connection to one node: any number of requests may be open on it, answers come in any order.
// Knows frames, not what is in them. Every way in which a call ends without an answer is a NoAnswer.

import { randomBytes } from "node:crypto";
import net from "node:net";
import { FrameReader, HELLO_REQ, frame, nextId } from "./framing.js";

/** @typedef {{resolve: (body: Buffer) => void, reject: (reason: NoAnswer) => void, timer: NodeJS.Timeout,
 *   sentAt: number}} Call */

/** Why there is no answer. */
export class NoAnswer extends Error {
  /** @param {string} message @param {{sent: boolean, late?: boolean}} how */
  constructor(message, { sent, late = false }) {
    super(message);
    /** The node may have the request. */
    this.sent = sent;
    /** Its time was over, as opposed to a connection that ended. */
    this.late = late;
  }
}

/** @param {string} address */
export function splitAddress(address) {
  const colon = address.lastIndexOf(":");
  return { host: address.slice(0, colon).replace(/^\[(.*)\]$/, "$1"), port: Number(address.slice(colon + 1)) };
}

export class Connection {
  #address;
  #socket;
  #reader = new FrameReader();
  /** @type {Map<number, Call>} */
  #calls = new Map();
  #id = randomBytes(4).readUInt32BE();
  #corked = false;
  #heardAt = 0;
  #onEnd;
  /** @type {NoAnswer | null} */
  #ended = null;
  /** Resolves when both have said hello. @type {Promise<void>} */
  ready;
  /** Resolves when nothing of it is left. @type {Promise<void>} */
  closed;
  /** No new call is to be made on it; it closes when the last one has ended. */
  retired = false;

  /** @param {string} address @param {number} connectMs
   * @param {() => void} onEnd when it is closed, or to be given up */
  constructor(address, connectMs, onEnd) {
    this.#address = address;
    this.#onEnd = onEnd;
    const socket = net.connect({ ...splitAddress(address), noDelay: true });
    this.#socket = socket;
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
    this.ready = new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#end(`said no hello within ${connectMs} ms`), connectMs);
      const settle = () => {
        clearTimeout(timer);
        if (this.#ended) reject(this.#ended);
        else resolve();
      };
      socket.on("connect", () => socket.write(HELLO_REQ));
      socket.on("data", (chunk) => this.#take(chunk, settle));
      socket.on("error", (error) => this.#end(error.message));
      socket.on("close", () => {
        this.#end("closed the connection");
        settle();
      });
    });
    this.ready.catch(() => {}); // who waits for it is told
  }

  get open() {
    return this.#calls.size;
  }

  get greeted() {
    return this.#reader.greeted;
  }

  /** @param {Buffer} chunk @param {() => void} greeted */
  #take(chunk, greeted) {
    if (this.#ended) return;
    const first = !this.#reader.greeted;
    this.#heardAt = performance.now();
    try {
      this.#reader.push(chunk, (id, body) => this.#answered(id, body));
    } catch (error) {
      this.#end(/** @type {Error} */ (error).message);
    }
    if (first && this.#reader.greeted) greeted();
  }

  /** @param {number} id @param {Buffer} body */
  #answered(id, body) {
    const call = this.#calls.get(id); // none: it was given up
    if (call) this.#over(id, call).resolve(body);
  }

  /** @param {number} id @param {Call} call */
  #over(id, call) {
    clearTimeout(call.timer);
    this.#calls.delete(id);
    if (this.retired && this.#calls.size === 0) this.close();
    return call;
  }

  /** Once it is ready. @param {Uint8Array} body @param {number} timeoutMs @returns {Promise<Buffer>} */
  call(body, timeoutMs) {
    if (this.#ended) return Promise.reject(new NoAnswer(this.#ended.message, { sent: false }));
    return new Promise((resolve, reject) => {
      const id = this.#id = nextId(this.#id);
      const sentAt = performance.now();
      const timer = setTimeout(() => this.#late(id, timeoutMs), timeoutMs);
      this.#calls.set(id, { resolve, reject, timer, sentAt });
      this.#write(frame(id, body));
    });
  }

  /** What is written in one turn of the event loop leaves together. @param {Buffer} bytes */
  #write(bytes) {
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      setImmediate(() => {
        this.#corked = false;
        this.#socket.uncork();
      });
    }
    this.#socket.write(bytes);
  }

  /** @param {number} id @param {number} timeoutMs */
  #late(id, timeoutMs) {
    const call = /** @type {Call} */ (this.#calls.get(id));
    // Nothing came during the whole call: after a network cut TCP would wait much longer.
    if (this.#heardAt < call.sentAt) this.retire();
    this.#over(id, call).reject(new NoAnswer(`${this.#address} did not answer within ${timeoutMs} ms`,
      { sent: true, late: true }));
  }

  /** @param {string} why */
  #end(why) {
    if (this.#ended) return;
    this.#ended = new NoAnswer(`${this.#address}: ${why}`, { sent: false });
    this.#socket.destroy();
    for (const [id, call] of [...this.#calls]) {
      this.#over(id, call).reject(new NoAnswer(this.#ended.message, { sent: true }));
    }
    this.#onEnd();
  }

  /** The next call finds another connection. */
  retire() {
    if (this.retired) return;
    this.retired = true;
    this.#onEnd();
  }

  close() {
    this.#end("the client closed the connection");
  }
}
