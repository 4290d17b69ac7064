// SPDX-License-Identifier: MIT
// One connection for each node that is called, made when it is first needed.

import { Connection, NoAnswer } from "./connection.js";

const CONNECTIONS_MAX = 256;

export class Connections {
  /** The least recently used first. @type {Map<string, Connection>} */
  #current = new Map();
  /** Retired ones among them, until they are closed. @type {Set<Connection>} */
  #all = new Set();
  #connectMs;
  #closed = false;

  /** @param {number} connectMs */
  constructor(connectMs) {
    this.#connectMs = connectMs;
  }

  /** @param {string} address */
  #find(address) {
    let connection = this.#current.get(address);
    this.#current.delete(address);
    connection ??= this.#connect(address);
    this.#current.set(address, connection);
    return connection;
  }

  /** @param {string} address */
  #connect(address) {
    if (this.#closed) throw new NoAnswer("the client is closed", { sent: false });
    for (const old of this.#all) if (old.retired && old.open === 0) old.close();
    if (this.#all.size >= CONNECTIONS_MAX) {
      const idle = [...this.#current.values()].find((one) => one.open === 0);
      if (!idle) {
        throw new NoAnswer(`no connection to ${address}: ${CONNECTIONS_MAX} to other nodes are busy`, { sent: false });
      }
      idle.close();
    }
    const connection = new Connection(address, this.#connectMs, () => this.#ended(address, connection));
    this.#all.add(connection);
    return connection;
  }

  /** @param {string} address @param {Connection} connection */
  #ended(address, connection) {
    if (this.#current.get(address) === connection) this.#current.delete(address);
    if (!connection.retired || connection.open === 0) this.#all.delete(connection);
  }

  /**
   * Sends one request; rejects with a NoAnswer only.
   * @param {string} address
   * @param {(leftMs: number) => Uint8Array} pack runs when the request can leave
   * @param {number} timeoutMs
   */
  async call(address, pack, timeoutMs) {
    const until = performance.now() + timeoutMs;
    const connection = this.#find(address);
    if (!connection.greeted && !(await within(connection.ready, timeoutMs))) {
      throw new NoAnswer(`no connection to ${address} within ${timeoutMs} ms`, { sent: false });
    }
    const leftMs = Math.max(1, Math.floor(until - performance.now()));
    return connection.call(pack(leftMs), leftMs);
  }

  /** Calls that are open end. */
  async close() {
    this.#closed = true;
    const all = [...this.#all];
    for (const connection of all) connection.close();
    await Promise.all(all.map((connection) => connection.closed));
  }
}

/** Whether a promise is fulfilled in time. @param {Promise<void>} promise @param {number} ms
 * @returns {Promise<boolean>} */
function within(promise, ms) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(false), ms);
    promise.then(() => resolve(true), reject).finally(() => clearTimeout(timer));
  });
}
