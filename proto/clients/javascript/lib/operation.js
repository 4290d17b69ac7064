// SPDX-License-Identifier: MIT
// One operation on a key: what the user asked for, checked; the message of each attempt; and what became of
// it. Sends nothing.

import { randomBytes } from "node:crypto";
import { ChordError, invalid } from "./error.js";
import { outcomeOf } from "./fate.js";
import { KINDS } from "./messages.js";
import { CUT_OFF, Recipe, UNANSWERED, UNREADABLE, UNSENT } from "./recipe.js";
import { PAUSE_MS_FIRST } from "./run.js";
import { NO_VERSION, newest, parseVersion, versionText } from "./version.js";

/** @typedef {import("./fate.js").Fate} Fate */
/** @typedef {import("./envelope.js").Answer} Answer */
/** @typedef {import("./messages.js").BatchResponse} BatchResponse */
/** @typedef {import("./recipe.js").Next} Next */
/** @typedef {string | Uint8Array} Bytes texts are sent as UTF-8 */
/** @typedef {{ifAbsent?: boolean, ifVersion?: string}} Conditions of a change: only if the key has no value, only if
 *   it has this version */
/** @typedef {{kind: "get", key: Bytes, stale?: boolean}
 *   | {kind: "put", key: Bytes, value: Bytes, expiresAt?: number | bigint | Date} & Conditions
 *   | {kind: "delete", key: Bytes} & Conditions} Asked */
/** What became of an operation. `version`: of the value, or of the one that stood in the way; `existed`: the key
 * had a value before the change; `repeated`: perhaps done by an attempt before the last one, so that NOT_FOUND of a
 * deletion may be its own work; `expiresAt`: unix time in milliseconds, 0n = never.
 * @typedef {{code: string, fate: Fate, message: string, retryAfterMs: number, value?: Uint8Array, version?: string,
 *   existed: boolean, expiresAt: bigint, stale: boolean, repeated: boolean}} Result */

export const KEY_BYTES_MAX = 1024;
export const VALUE_BYTES_MAX = 1024 * 1024;
const EXPIRY_MAX = 2n ** 63n - 1n; // of a node
const FULL = "RESOURCE_EXHAUSTED";

/** A copy: nothing that the caller does later changes it. @param {unknown} data @param {string} what */
function bytesOf(data, what) {
  if (typeof data === "string") return Buffer.from(data);
  if (data instanceof Uint8Array) return Buffer.from(data);
  throw invalid(`the ${what} is ${data === null ? "null" : typeof data}; give a string or a Uint8Array`);
}

/** @param {unknown} key */
export function keyBytes(key) {
  const bytes = bytesOf(key, "key");
  if (bytes.length >= 1 && bytes.length <= KEY_BYTES_MAX) return bytes;
  throw invalid(`the key has ${bytes.length} bytes; a key has 1 to ${KEY_BYTES_MAX}`);
}

/** @param {unknown} value */
function valueBytes(value) {
  const bytes = bytesOf(value, "value");
  if (bytes.length <= VALUE_BYTES_MAX) return bytes;
  throw invalid(`the value has ${bytes.length} bytes; a value has at most ${VALUE_BYTES_MAX}`);
}

/** @param {unknown} time */
function expiryOf(time) {
  const ms = time instanceof Date ? time.getTime() : time;
  if (ms === undefined) return 0n;
  if (typeof ms === "bigint" ? ms >= 0n && ms <= EXPIRY_MAX : Number.isSafeInteger(ms) && Number(ms) >= 0) {
    return BigInt(/** @type {number | bigint} */ (ms));
  }
  throw invalid(`expiresAt is ${String(time).slice(0, 50)}; give a Date, or milliseconds since 1970, 0 = never`);
}

/** @param {any} conditions */
function preconditionOf({ ifAbsent = false, ifVersion }) {
  if (ifAbsent && ifVersion !== undefined) throw invalid("ifAbsent and ifVersion exclude each other; give one");
  if (ifVersion !== undefined) return { version: parseVersion(ifVersion) };
  return ifAbsent ? { absent: true } : undefined;
}

export class Operation {
  /** @param {Asked} asked @throws {ChordError} what cannot be asked */
  constructor(asked) {
    if (!asked || !(asked.kind in KINDS)) throw invalid(`'${asked?.kind}' is no operation; use get, put or delete`);
    const put = asked.kind === "put" ? asked : null;
    this.key = keyBytes(asked.key);
    this.value = put ? valueBytes(put.value) : undefined;
    this.writes = asked.kind !== "get";
    this.stale = asked.kind === "get" && Boolean(asked.stale);
    /** What it may travel with. */
    this.kind = this.writes ? "change" : this.stale ? "stale read" : "read";
    this.precondition = this.writes ? preconditionOf(asked) : undefined;
    this.recipe = new Recipe(this.writes ? randomBytes(16) : null, NO_VERSION);
    /** The parts of its messages that never change. */
    this.fixed = { kind: KINDS[asked.kind], key: this.key, value: this.value, precondition: this.precondition,
      expiresAtMs: expiryOf(put?.expiresAt) };
    this.id = "";
    /** Who was asked last and did not do it; empty: nobody. */
    this.failedAt = "";
    this.pauseMs = PAUSE_MS_FIRST;
    this.begun = false;
    /** For its turn to change the key. */
    this.waits = false;
    this.ended = false;
    /** Why it was given up. @type {import("./run.js").Reason | null} */
    this.stopped = null;
    /** The attempt under way. @type {import("./caller.js").Flight | null} */
    this.flight = null;
    /** How the last attempt ended. */
    this.last = UNSENT;
    this.message = "it was not sent";
    this.retryAfterMs = 0;
    /** Members whose copies are missing, as a node said. @type {string[]} */
    this.missing = [];
    /** @type {import("./messages.js").OperationResult | null} */
    this.told = null;
    this.toldStale = false;
  }

  get bytes() {
    return this.key.length + (this.value?.length ?? 0);
  }

  /**
   * For the next attempt.
   * @param {import("./version.js").Version} heard the newest version of its range
   */
  pack(heard) {
    if (!this.begun && this.writes) this.recipe.seen = newest(this.#conditionSeen(heard), heard);
    this.begun = true;
    if (this.recipe.opId === null) return this.fixed;
    return { ...this.fixed, opId: this.recipe.opId, attempt: this.recipe.attempt, seen: this.recipe.seen };
  }

  /**
   * The version of a condition was heard, too. But one of an epoch that nobody else has told of may be made up: the
   * node would wait for that epoch.
   * @param {import("./version.js").Version} heard
   */
  #conditionSeen(heard) {
    const wanted = this.precondition?.version;
    return wanted && wanted.epoch <= heard.epoch ? wanted : NO_VERSION;
  }

  /**
   * What became of an attempt.
   * @param {Answer} answer
   * @param {BatchResponse | null} response the answer's, if it has one
   * @param {number} at its place there
   * @returns {Next}
   */
  take(answer, response, at) {
    const told = response?.results[at] ?? null;
    this.flight = null;
    this.retryAfterMs = answer.retryAfterMs;
    this.told = told;
    this.toldStale = response?.stale ?? false;
    this.missing = response?.missing.length ? response.missing : this.missing;
    this.last = told ? outcomeOf(told.code) : answer.outcome.code === "OK" ? UNREADABLE : answer.outcome;
    this.message = answer.message || (told ? "" : "its answer has no result");
    const next = this.recipe.take(this.last, told ? versionOf(told) : NO_VERSION);
    if (next === "later" && !this.writes && this.last.code === FULL && response && response.results.length > 1) {
      return "at once"; // the others' values left no room for this one's
    }
    return next;
  }

  /** @param {import("./run.js").Reason} reason */
  giveUp(reason) {
    this.ended = true;
    this.stopped = reason;
    if (this.waits) this.message = "earlier changes of the same key by this client had not ended";
    if (this.flight?.sent) {
      this.last = reason === "closed" ? CUT_OFF : UNANSWERED;
      this.message = "it was given up before its answer came";
      this.recipe.take(this.last, NO_VERSION);
    }
    this.flight = null;
  }

  /** Once it has ended. @returns {Result} */
  result() {
    // Rather what a member said of missing copies than that the last one asked was silent.
    const last = this.stopped && this.missing.length > 0 ? outcomeOf(14) : this.last;
    const { code, fate } = this.recipe.report(last);
    const done = fate === "done";
    const told = this.told;
    return {
      code: !done && this.stopped === "abort" ? "CANCELLED" : code,
      fate,
      message: done ? "" : this.#why(fate),
      retryAfterMs: this.retryAfterMs,
      value: done && code === "OK" && !this.writes && told ? new Uint8Array(told.value) : undefined,
      version: told ? versionText(versionOf(told)) : undefined,
      existed: told?.existed ?? false,
      expiresAt: told?.expiresAtMs ?? 0n,
      stale: this.toldStale,
      repeated: this.recipe.maybe && done,
    };
  }

  /** @param {Fate} fate */
  #why(fate) {
    const over = { abort: "it was aborted", closed: "the client was closed", deadline: "its time was over" };
    const parts = [
      fate === "maybe done" ? "the change may have been carried out, or still may be" : "",
      this.stopped ? over[this.stopped] : "",
      this.missing.length > 0 ? `these copies of the key do not answer: ${this.missing.join(", ")}` : "",
      this.message || SENTENCES[this.last.code] || "",
    ];
    return parts.filter(Boolean).join("; ") || "the node gave no reason";
  }
}

/** Where a node says it by the code alone. @type {Record<string, string>} */
const SENTENCES = {
  FAILED_PRECONDITION: "the key is not as the condition says",
  UNAVAILABLE: "the key's range has no leader at the moment, or others keep writing the key",
  DATA_LOSS: "a disk has changed the row, and it is not repaired yet",
  UNKNOWN: "whether it was is not known any more: others have written the key",
};

/** @param {import("./messages.js").OperationResult} result */
function versionOf(result) {
  return result.version ?? NO_VERSION;
}

/** @param {Result} result @param {unknown} [cause] */
export function errorOf(result, cause) {
  const { code, fate, message, retryAfterMs, version } = result;
  return new ChordError(code, fate, message, { retryAfterMs, version, cause });
}
