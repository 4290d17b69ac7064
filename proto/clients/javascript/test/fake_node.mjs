// SPDX-License-Identifier: MIT
// A node that answers as a test says, over a real socket: for what no real node does on demand.

import { once } from "node:events";
import net from "node:net";
import { FrameReader, HELLO_REP, HELLO_REQ, frame } from "../lib/framing.js";
import { requestMac, responseMac, sameMac } from "../lib/mac.js";
import { batchRequest, batchResponse, rpcRequest, rpcResponse, serverInfo } from "../lib/messages.js";

const NOTHING = new Uint8Array(0);
export const RING_ID = Buffer.alloc(16, 0xab);
const M = 32;

/** @typedef {import("../lib/messages.js").RpcRequest} RpcRequest */
/** @typedef {any} Operation */
/** What the answer to a batch has; null: none is sent; "close": the connection is closed.
 * @typedef {{results?: any[], code?: number, message?: string, hint?: any, missing?: string[], retryAfterMs?: number,
 *   payload?: Uint8Array, stale?: boolean, ringId?: Uint8Array} | null | "close"} Said */

/** The server's side reads frames as the client's does, after another hello. */
function reader() {
  const frames = new FrameReader();
  let hello = Buffer.alloc(0);
  return (/** @type {Buffer} */ chunk, /** @type {(id: number, body: Buffer) => void} */ take) => {
    if (!frames.greeted) {
      hello = Buffer.concat([hello, chunk]);
      if (hello.length < HELLO_REQ.length) return;
      if (!hello.subarray(0, 8).equals(HELLO_REQ)) throw new Error("the client said no hello");
      chunk = Buffer.concat([HELLO_REP, hello.subarray(8)]);
    }
    frames.push(chunk, take);
  };
}

export class FakeNode {
  /** Every envelope that came, in order. @type {RpcRequest[]} */
  requests = [];
  /** Every batch that came, as its operations. @type {Operation[][]} */
  batches = [];
  /** What became of them. @type {(operations: Operation[], number: number) => Said | Promise<Said>} */
  batch = (operations) => ({ results: operations.map(() => ({ code: 0, version: { epoch: 1n, counter: 1n } })) });
  /** Any other method but GetServerInfo. @type {(method: string) => Said} */
  other = () => ({ code: 12 });
  /** Whether it says hello, and whether it tells of its ring. */
  greets = true;
  tells = true;
  /** @type {Set<net.Socket>} */
  sockets = new Set();
  connections = 0;

  /** @param {Buffer | null} key */
  constructor(key = null) {
    this.key = key;
    this.start = Buffer.alloc(16, 7);
    this.server = net.createServer((socket) => this.#serve(socket));
  }

  async listen() {
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    this.address = `127.0.0.1:${/** @type {net.AddressInfo} */ (this.server.address()).port}`;
    return this;
  }

  /** @param {net.Socket} socket */
  #serve(socket) {
    this.connections++;
    this.sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.sockets.delete(socket));
    if (this.greets) socket.write(HELLO_REP);
    const read = reader();
    socket.on("data", (chunk) => read(chunk, (id, body) => void this.#take(socket, id, rpcRequest.unpack(body))));
  }

  /** @param {net.Socket} socket @param {number} id @param {RpcRequest} request */
  async #take(socket, id, request) {
    this.requests.push(request);
    const said = await this.#answer(request);
    if (said === "close") socket.destroy();
    else if (said) socket.write(frame(id, this.seal(request, said)));
  }

  /** @param {RpcRequest} request @returns {Promise<any>} */
  async #answer(request) {
    if (this.key && !sameMac(requestMac(this.key, request), request.mac)) return { code: 16, message: "mac" };
    if (this.key && !this.start.equals(request.receiver)) return { code: 19 };
    const method = request.method.replace("chord.v1.", "");
    if (method === "MetaService/GetServerInfo") {
      const parameters = { ringId: RING_ID, m: M, n: 3, replicas: 3 };
      return this.tells ? { payload: serverInfo.pack({ parameters }) } : null;
    }
    if (method !== "KvService/Batch") return this.other(method);
    const { operations } = batchRequest.unpack(request.payload);
    this.batches.push(operations);
    const said = await this.batch(operations, this.batches.length);
    if (said === null || said === "close" || !said.results) return said;
    return { ...said, payload: batchResponse.pack(/** @type {any} */ (said)) };
  }

  /** @param {RpcRequest} request @param {any} said */
  seal(request, said) {
    const response = { protocolVersion: 1, requestId: request.requestId, code: 0, message: "", retryAfterMs: 0,
      payload: NOTHING, mac: NOTHING, ringId: RING_ID, start: this.start, clockMs: 1n, ...said };
    if (this.key) response.mac = responseMac(this.key, response);
    return rpcResponse.pack(response);
  }

  /** A hint that it leads every key. @param {bigint} [counter] */
  leads(counter = 1n) {
    return { range: { lo: Buffer.alloc(4), hi: Buffer.alloc(4) }, address: this.address, epoch: 1n, counter };
  }

  async close() {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    if (this.server.listening) await once(this.server, "close");
  }
}
