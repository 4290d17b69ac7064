// SPDX-License-Identifier: MIT
// A client of one Chord ring: what its users call.

import { Caller } from "./caller.js";
import { Envelopes } from "./envelope.js";
import { ChordError, invalid } from "./error.js";
import { Members, isAddress } from "./members.js";
import { lookupRequest, lookupResponse, serverInfo } from "./messages.js";
import { Operation, errorOf, keyBytes } from "./operation.js";
import { UNSENT } from "./recipe.js";
import { Ring } from "./ring.js";
import { ATTEMPT_MS_MIN, PAUSE_MS_FIRST, PAUSE_MS_MAX, Run, jittered } from "./run.js";
import { Runner } from "./runner.js";

/** @typedef {import("./envelope.js").Answer} Answer */
/** @typedef {import("./fate.js").Fate} Fate */
/** @typedef {import("./operation.js").Asked} Asked */
/** @typedef {import("./operation.js").Bytes} Bytes */
/** @typedef {import("./operation.js").Conditions} Conditions */
/** @typedef {import("./operation.js").Result} Result */

/**
 * @typedef {object} ClientOptions
 * @property {string[]} members of the ring, "host:port"; one that is there is enough
 * @property {Bytes} [key] of the ring, 16 to 64 bytes; none: the ring has no key
 * @property {string} [ringId] 32 hex digits, as serverInfo told them; none: the ring of the first that answers
 * @property {number} [timeoutMs] of an operation that names none; 8000
 * @property {number} [attemptMs] how long one member is waited for; 1000
 */
/**
 * @typedef {object} Limits
 * @property {number} [timeoutMs] until when the outcome must be known
 * @property {AbortSignal} [signal] ends it before: a ChordError with code CANCELLED and its fate
 */
/** `expiresAt`: unix time in milliseconds, 0n = never.
 * @typedef {{value: Uint8Array, version: string, expiresAt: bigint, stale: boolean}} Row */
/** `existed`: the key had a value before; `repeated`: perhaps done by an attempt before the last one.
 * @typedef {{version: string | undefined, existed: boolean, repeated: boolean}} Change */
/** @typedef {{id: string, address: string}} Peer */
/** @typedef {{keyId: string, owner: Peer, hops: {node: Peer, microseconds: bigint}[]}} Lookup */
/** @typedef {{version: string, protocolVersion: number, methods: string[], ringId: string, m: number, n: number,
 *   replicas: number, keyBytesMax: number, valueBytesMax: number, messageBytesMax: number}} ServerInfo */
/** What a node said to a raw call. @typedef {{code: string, fate: Fate, message: string, retryAfterMs: number,
 *   payload: Uint8Array}} CallAnswer */

const TIMEOUT_MS = 8000;
const ATTEMPT_MS = 1000;
const MS_MAX = 600_000;
const MEMBERS_MAX = 64;
const RING_KEY_BYTES_MIN = 16;
const RING_KEY_BYTES_MAX = 64;
const REQUEST_BYTES_MAX = 1024 * 1024 + 64 * 1024;
/** What may be under way in one client at the same time. */
export const OPERATIONS_MAX = 16384;
export const BYTES_MAX = 64 * 1024 * 1024;
const NOTHING = new Uint8Array(0);

export class Client {
  #timeoutMs;
  #attemptMs;
  #caller;
  #ring;
  #runner;
  /** @type {Set<Run>} */
  #runs = new Set();
  #operations = 0;
  #bytes = 0;
  #closed = false;

  /**
   * A client whose ring may not be known yet. It waits for the first answer of a member, and not for longer
   * than one attempt at each: where none answers now, operations ask again.
   * @param {ClientOptions} options
   * @throws {ChordError} INVALID_ARGUMENT, or UNAUTHENTICATED where the ring key is another one
   */
  static async open(options) {
    const client = new Client(options);
    const answer = await client.#ring.learn();
    if (answer?.outcome.again === "never") {
      await client.close();
      throw new ChordError(answer.outcome.code, "not done", answer.message);
    }
    return client;
  }

  /** Use Client.open. @param {ClientOptions} options */
  constructor({ members, key, ringId = "", timeoutMs = TIMEOUT_MS, attemptMs = ATTEMPT_MS }) {
    const now = () => performance.now();
    this.#timeoutMs = checkMs("timeoutMs", timeoutMs);
    this.#attemptMs = checkMs("attemptMs", attemptMs);
    const envelopes = new Envelopes(ringKey(key), ringIdBytes(ringId), now);
    this.#caller = new Caller(envelopes, this.#attemptMs);
    this.#ring = new Ring(this.#caller, envelopes, new Members(checkMembers(members), now), this.#attemptMs);
    this.#runner = new Runner(this.#ring, this.#caller, this.#attemptMs);
  }

  /** Requests that operations have sent so far; those that only learn of the ring are not counted. */
  get calls() {
    return this.#caller.calls;
  }

  /** The value of a key; null: it has none. @param {Bytes} key @param {Limits & {stale?: boolean}} [options] stale:
   * any member's value at once, even an old one @returns {Promise<Row | null>} */
  async get(key, { stale, ...limits } = {}) {
    const result = await this.#one({ kind: "get", key, stale }, limits);
    if (result.code === "NOT_FOUND") return null;
    const { value, version, expiresAt } = result;
    return { value: value ?? NOTHING, version: version ?? "", expiresAt, stale: result.stale };
  }

  /** @param {Bytes} key @param {Bytes} value
   * @param {Limits & Conditions & {expiresAt?: number | bigint | Date}} [options] expiresAt: unix time in milliseconds
   * @returns {Promise<Change>} */
  async put(key, value, { timeoutMs, signal, ...more } = {}) {
    return changeOf(await this.#one({ kind: "put", key, value, ...more }, { timeoutMs, signal }));
  }

  /** @param {Bytes} key @param {Limits & Conditions} [options] @returns {Promise<Change>} `existed` false: there was
   * nothing to delete */
  async delete(key, { timeoutMs, signal, ...more } = {}) {
    return changeOf(await this.#one({ kind: "delete", key, ...more }, { timeoutMs, signal }));
  }

  /**
   * Several operations at once, not one transaction: each has its own result, in the same order, with its code and
   * fate; none of these is thrown. Changes of one key take effect in their order.
   * @param {Asked[]} operations @param {Limits} [limits] @returns {Promise<Result[]>}
   */
  async batch(operations, limits = {}) {
    const all = operations.map((asked) => orRefused(() => new Operation(asked)));
    const checked = all.filter((one) => one instanceof Operation);
    /** @type {Result | null} */
    let failed = null;
    try {
      if (checked.length > 0) await this.#run(checked, limits);
    } catch (error) {
      failed = refusalOf(error);
    }
    return all.map((one) => (one instanceof Operation ? failed ?? one.result() : one));
  }

  /** Who owns a key, and the way over the ring to it; reads no value. @param {Bytes} key @param {Limits} [limits]
   * @returns {Promise<Lookup>} */
  async lookup(key, limits = {}) {
    const payload = lookupRequest.pack({ key: keyBytes(key) });
    const { keyId, owner, hops } = await this.#askAnyone("chord.v1.KvService/Lookup", payload, limits,
      lookupResponse.unpack);
    if (!owner) throw new ChordError("INTERNAL", "not done", "the answer names no owner");
    return { keyId: hex(keyId), owner: peerOf(owner),
      hops: hops.map(({ node, microseconds }) => ({ node: peerOf(node), microseconds })) };
  }

  /** What some member says of itself and its ring. @param {Limits} [limits] @returns {Promise<ServerInfo>} */
  async serverInfo(limits = {}) {
    const { parameters, ...info } = await this.#askAnyone("chord.v1.MetaService/GetServerInfo", NOTHING, limits,
      serverInfo.unpack);
    const { ringId = NOTHING, m = 0, n = 0, replicas = 0 } = parameters ?? {};
    return { ...info, ringId: hex(ringId), m, n, replicas };
  }

  /**
   * Any method of the contract, once, at one member: what it said, whatever its code. `fate` is what the envelope's
   * code says; what became of a key is in the payload.
   * @param {string} method "chord.v1.KvService/Get"
   * @param {Uint8Array} payload the packed request
   * @param {Limits & {address?: string}} [options] address: of the member; none: any
   * @returns {Promise<CallAnswer>}
   * @throws {ChordError} it said nothing
   */
  async call(method, payload, { address, ...limits } = {}) {
    if (payload.length > REQUEST_BYTES_MAX) {
      throw invalid(`the request has ${payload.length} bytes; one has at most ${REQUEST_BYTES_MAX}`);
    }
    if (address !== undefined && !isAddress(address)) throw invalid(notAnAddress(address));
    const run = this.#begin({ timeoutMs: this.#attemptMs, ...limits }, 1, payload.length);
    try {
      await this.#known(run);
      const to = address ?? this.#ring.members.next("");
      const flight = { sent: false, counted: true };
      const answer = await this.#attempt(run, to, method, payload, run.leftMs, flight);
      if (!answer) throw stoppedError(run, flight.sent ? "maybe done" : "not done", UNSENT.code);
      this.#ring.hearOf(to, answer);
      const { outcome: { code, fate }, said, message, retryAfterMs } = answer;
      if (!said && code !== "WRONG_RING") throw new ChordError(code, fate, message, { retryAfterMs });
      return { code, fate, message, retryAfterMs, payload: new Uint8Array(answer.payload) };
    } finally {
      run.over();
    }
  }

  /** What is under way ends with its fate; no connection and no timer is left. */
  async close() {
    this.#closed = true;
    this.#runner.close();
    for (const run of [...this.#runs]) run.stop("closed");
    await this.#caller.close();
  }

  // ---- inside ----

  /** @param {Asked} asked @param {Limits} limits */
  async #one(asked, limits) {
    const operation = new Operation(asked);
    const cause = await this.#run([operation], limits);
    const result = operation.result();
    if (result.fate !== "done") throw errorOf(result, cause);
    return result;
  }

  /** @param {Operation[]} operations @param {Limits} limits @returns {Promise<unknown>} the AbortSignal's reason */
  async #run(operations, limits) {
    const bytes = operations.reduce((sum, operation) => sum + operation.bytes, 0);
    const run = this.#begin(limits, operations.length, bytes);
    try {
      if (this.#ring.m === 0) await this.#known(run);
      await this.#runner.run(operations, run);
      return run.cause;
    } finally {
      run.over();
    }
  }

  /** @param {Limits} limits @param {number} operations @param {number} bytes */
  #begin({ timeoutMs = this.#timeoutMs, signal }, operations, bytes) {
    checkMs("timeoutMs", timeoutMs);
    if (this.#closed) throw new ChordError("UNAVAILABLE", "not done", "the client is closed");
    if (this.#operations + operations > OPERATIONS_MAX || this.#bytes + bytes > BYTES_MAX) {
      throw new ChordError("RESOURCE_EXHAUSTED", "not done", `${this.#operations} operations with ${this.#bytes} bytes `
        + `are under way, and ${operations} with ${bytes} are asked for; at most ${OPERATIONS_MAX} with ${BYTES_MAX} `
        + "may be: wait until some have ended");
    }
    this.#operations += operations;
    this.#bytes += bytes;
    const run = new Run(timeoutMs, signal, () => {
      this.#runs.delete(run);
      this.#operations -= operations;
      this.#bytes -= bytes;
    });
    this.#runs.add(run);
    return run;
  }

  /** Until some member has told of the ring. @param {Run} run */
  async #known(run) {
    for (let pauseMs = PAUSE_MS_FIRST; ; pauseMs = Math.min(pauseMs * 2, PAUSE_MS_MAX)) {
      const answer = run.reason ? null : await run.race(this.#ring.learn().then((failed) => ({ failed })));
      if (answer?.failed === null) return;
      const failed = answer?.failed;
      if (failed?.outcome.again === "never") throw new ChordError(failed.outcome.code, "not done", failed.message);
      if (!failed || !(await this.#pauses(run, jittered(pauseMs, 0)))) {
        throw stoppedError(run, "not done", UNSENT.code, failed?.message);
      }
    }
  }

  /** False: there is no time for it. @param {Run} run @param {number} ms */
  async #pauses(run, ms) {
    return performance.now() + ms + ATTEMPT_MS_MIN < run.untilMs && (await run.pause(ms));
  }

  /** null: stopped before. @param {Run} run @param {string} address @param {string} method @param {Uint8Array} payload
   * @param {number} timeoutMs @param {import("./caller.js").Flight} flight @returns {Promise<Answer | null>} */
  async #attempt(run, address, method, payload, timeoutMs, flight) {
    return run.reason ? null : run.race(this.#caller.attempt(address, method, payload, timeoutMs, flight));
  }

  /** A read that any member can answer. @template T @param {string} method @param {Uint8Array} payload
   * @param {Limits} limits @param {(bytes: Uint8Array) => T} unpack @returns {Promise<T>} */
  async #askAnyone(method, payload, limits, unpack) {
    const run = this.#begin(limits, 1, payload.length);
    let address = "";
    try {
      await this.#known(run);
      for (let pauseMs = PAUSE_MS_FIRST; ; pauseMs = Math.min(pauseMs * 2, PAUSE_MS_MAX)) {
        address = this.#ring.members.next(address);
        const flight = { sent: false, counted: true };
        const timeoutMs = Math.min(this.#attemptMs, run.leftMs);
        const answer = await this.#attempt(run, address, method, payload, timeoutMs, flight);
        if (!answer) throw stoppedError(run, "not done", flight.sent ? "DEADLINE_EXCEEDED" : UNSENT.code);
        this.#ring.hearOf(address, answer);
        const { outcome: { code, again }, message, retryAfterMs } = answer;
        if (code === "OK") return unpackOr(address, answer, unpack);
        if (answer.said) this.#ring.members.mistrust(address);
        if (again === "never" || !(await this.#pauses(run, jittered(pauseMs, retryAfterMs)))) {
          throw run.reason ? stoppedError(run, "not done", code, message)
            : new ChordError(code, "not done", message || "the node gave no reason", { retryAfterMs });
        }
      }
    } finally {
      run.over();
    }
  }
}

/** An operation of a batch that was not sent. @param {unknown} error @returns {Result} */
function refusalOf(error) {
  if (!(error instanceof ChordError)) throw error;
  const { code, fate, sentence, retryAfterMs } = error;
  return { code, fate, message: sentence, retryAfterMs, existed: false, expiresAt: 0n, stale: false, repeated: false };
}

/** @param {() => Operation} make */
function orRefused(make) {
  try {
    return make();
  } catch (error) {
    return refusalOf(error);
  }
}

/** @template T @param {string} address @param {Answer} answer @param {(bytes: Uint8Array) => T} unpack */
function unpackOr(address, answer, unpack) {
  try {
    return unpack(answer.payload);
  } catch (cause) {
    throw new ChordError("INTERNAL", "not done", `the answer of ${address} cannot be read`, { cause });
  }
}

/** @param {Run} run @param {Fate} fate @param {string} late the code where its time was over
 * @param {string} [message] */
function stoppedError(run, fate, late, message) {
  const { reason, cause } = run;
  if (reason === "abort") return new ChordError("CANCELLED", fate, "it was aborted", { cause });
  if (reason === "closed") return new ChordError("UNAVAILABLE", fate, "the client was closed");
  return new ChordError(late, fate, `its time was over; ${message || "the last one asked gave no answer"}`);
}

/** @param {Result} result @returns {Change} */
function changeOf({ version, existed, repeated }) {
  return { version, existed, repeated };
}

/** @param {Uint8Array} bytes */
function hex(bytes) {
  return Buffer.from(bytes).toString("hex");
}

/** @param {import("./messages.js").Peer | null} peer @returns {Peer} */
function peerOf(peer) {
  return { id: hex(peer?.id ?? NOTHING), address: peer?.address ?? "" };
}

/** @param {string} name @param {number} ms */
function checkMs(name, ms) {
  if (Number.isInteger(ms) && ms >= 1 && ms <= MS_MAX) return ms;
  throw invalid(`${name} is ${ms}; give milliseconds, 1 to ${MS_MAX}`);
}

/** @param {unknown} address */
function notAnAddress(address) {
  return `'${String(address).slice(0, 80)}' is no address; give host:port, for example 127.0.0.1:4001`;
}

/** @param {unknown} members @returns {string[]} */
function checkMembers(members) {
  if (!Array.isArray(members) || members.length < 1 || members.length > MEMBERS_MAX) {
    throw invalid(`members must be an array of 1 to ${MEMBERS_MAX} addresses, for example ["127.0.0.1:4001"]`);
  }
  for (const address of members) if (!isAddress(address)) throw invalid(notAnAddress(address));
  return members;
}

/** @param {Bytes | undefined} key */
function ringKey(key) {
  if (key === undefined) return null;
  const bytes = Buffer.from(/** @type {any} */ (key));
  if (bytes.length >= RING_KEY_BYTES_MIN && bytes.length <= RING_KEY_BYTES_MAX) return bytes;
  throw invalid(`the ring key has ${bytes.length} bytes; one has ${RING_KEY_BYTES_MIN} to ${RING_KEY_BYTES_MAX}`);
}

/** @param {string} ringId */
function ringIdBytes(ringId) {
  if (ringId === "" || /^[0-9a-f]{32}$/.test(ringId)) return new Uint8Array(Buffer.from(ringId, "hex"));
  throw invalid(`'${String(ringId).slice(0, 50)}' is no ring id; give the 32 hex digits that serverInfo told`);
}
