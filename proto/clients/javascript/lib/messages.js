// SPDX-License-Identifier: MIT
// The messages of the contract, between bytes and objects: protobufjs over the descriptor that build.mjs
// made. Numbers of 64 bits are bigints here and nowhere lose a bit; fields that are absent have their
// defaults.

import protobuf from "protobufjs/light.js";
import contract from "../generated/contract.js";

/** @typedef {import("./version.js").Version} Version */
/** @typedef {{protocolVersion: number, method: string, requestId: Uint8Array, timeoutMs: number,
 *   payload: Uint8Array, ringId: Uint8Array, receiver: Uint8Array, sentMs: bigint, mac: Uint8Array}} RpcRequest */
/** @typedef {{protocolVersion: number, requestId: Uint8Array, code: number, message: string,
 *   retryAfterMs: number, payload: Uint8Array, mac: Uint8Array, ringId: Uint8Array, start: Uint8Array,
 *   clockMs: bigint}} RpcResponse */
/** @typedef {{kind: number, key: Uint8Array, value?: Uint8Array, opId?: Uint8Array, attempt?: number,
 *   seen?: Version, precondition?: {version?: Version, absent?: boolean}, expiresAtMs?: bigint}} Operation */
/** @typedef {{code: number, version: Version, value: Uint8Array, existed: boolean,
 *   expiresAtMs: bigint}} OperationResult */
/** @typedef {{range: {lo: Uint8Array, hi: Uint8Array} | null, address: string, epoch: bigint,
 *   counter: bigint}} OwnerHint */
/** @typedef {{results: OperationResult[], hint: OwnerHint | null, hops: number, stale: boolean,
 *   missing: string[], hints: OwnerHint[]}} BatchResponse */
/** @typedef {{ringId: Uint8Array, m: number, n: number, replicas: number}} RingParameters */
/** @typedef {{version: string, protocolVersion: number, methods: string[], parameters: RingParameters | null,
 *   keyBytesMax: number, valueBytesMax: number, messageBytesMax: number}} ServerInfo */
/** @typedef {{id: Uint8Array, address: string}} Peer */
/** @typedef {{keyId: Uint8Array, owner: Peer | null,
 *   hops: {node: Peer | null, microseconds: bigint}[]}} LookupResponse */
/** @typedef {{predecessor: Peer | null, successors: Peer[], fingers: {node: Peer | null}[]}} Status */

export const KINDS = Object.freeze({ get: 1, put: 2, delete: 3 });
export const CONSISTENCY_STALE = 2;

const root = protobuf.Root.fromJSON(/** @type {protobuf.INamespace} */ (contract));

/** As protobufjs takes it. @param {bigint} value */
function toLong(value) {
  return { low: Number(value & 0xffffffffn) | 0, high: Number(value >> 32n) | 0, unsigned: true };
}

/** @param {any} value a Long @returns {bigint} */
function fromLong(value) {
  if (typeof value === "number") return BigInt(value);
  return (BigInt(value.high >>> 0) << 32n) | BigInt(value.low >>> 0);
}

const NOTHING = new Uint8Array(0);
const LONG_TYPES = new Set(["uint64", "fixed64"]);

/** What the objects of a type need before they are packed, and after they are unpacked. @param {protobuf.Type} type */
function fieldsOf(type) {
  return type.fieldsArray.map((field) => ({ name: field.name, long: LONG_TYPES.has(field.type),
    bytes: field.type === "bytes", repeated: field.repeated,
    type: field.resolvedType instanceof protobuf.Type ? field.resolvedType : null }));
}

/** @type {Map<protobuf.Type, ReturnType<typeof fieldsOf>>} */
const known = new Map();
/** @param {protobuf.Type} type */
function fields(type) {
  let list = known.get(type);
  if (!list) known.set(type, list = fieldsOf(type));
  return list;
}

/** With Longs for bigints; what has its default is left out. @param {protobuf.Type} type @param {any} object */
function lower(type, object) {
  /** @type {Record<string, any>} */
  const message = {};
  for (const field of fields(type)) {
    const value = object[field.name];
    if (value === undefined || value === null) continue;
    if (field.repeated) {
      const inner = field.type;
      message[field.name] = inner ? value.map((/** @type {any} */ one) => lower(inner, one)) : value;
    } else if (field.type) message[field.name] = lower(field.type, value);
    else if (field.long) value !== 0n && (message[field.name] = toLong(value));
    else if (value !== 0 && value !== "" && value !== false && value.length !== 0) message[field.name] = value;
  }
  return message;
}

/** With bigints for Longs. @param {protobuf.Type} type @param {any} message */
function raise(type, message) {
  /** @type {Record<string, any>} */
  const object = {};
  for (const field of fields(type)) {
    const value = message[field.name];
    const inner = field.type;
    if (field.repeated) {
      object[field.name] = inner ? value.map((/** @type {any} */ one) => raise(inner, one)) : value;
    } else if (inner) object[field.name] = value ? raise(inner, value) : null;
    else if (field.long) object[field.name] = fromLong(value);
    else object[field.name] = field.bytes && value.length === 0 ? NOTHING : value; // a default is an Array
  }
  return object;
}

/**
 * @template T
 * @param {string} name
 * @returns {{pack: (object: Partial<T>) => Uint8Array, unpack: (bytes: Uint8Array) => T}}
 */
function message(name) {
  const type = root.lookupType(`chord.v1.${name}`);
  return {
    pack: (object) => type.encode(lower(type, object)).finish(),
    unpack: (bytes) => /** @type {T} */ (raise(type, type.decode(bytes))),
  };
}

/** @type {ReturnType<typeof message<RpcRequest>>} */
export const rpcRequest = message("RpcRequest");
/** @type {ReturnType<typeof message<RpcResponse>>} */
export const rpcResponse = message("RpcResponse");
/** @type {ReturnType<typeof message<{operations: Operation[], consistency: number}>>} */
export const batchRequest = message("BatchRequest");
/** @type {ReturnType<typeof message<BatchResponse>>} */
export const batchResponse = message("BatchResponse");
/** @type {ReturnType<typeof message<{key: Uint8Array}>>} */
export const lookupRequest = message("LookupRequest");
/** @type {ReturnType<typeof message<LookupResponse>>} */
export const lookupResponse = message("LookupResponse");
/** @type {ReturnType<typeof message<ServerInfo>>} */
export const serverInfo = message("GetServerInfoResponse");
/** @type {ReturnType<typeof message<Status>>} */
export const status = message("StatusResponse");
