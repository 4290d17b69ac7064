// SPDX-License-Identifier: MIT
// The MAC of an envelope (proto/README.md, "The MAC"): over its fields, not over its packed bytes.

import { createHmac, timingSafeEqual } from "node:crypto";

/** @param {number} value */
function u32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

/** @param {bigint} value */
function u64(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

/** A number is 4 bytes, a bigint 8; a text or bytes with their length before.
 * @param {Uint8Array} key @param {(number | bigint | string | Uint8Array)[]} fields */
function mac(key, fields) {
  const digest = createHmac("sha256", key);
  for (const field of fields) {
    if (typeof field === "number") digest.update(u32(field));
    else if (typeof field === "bigint") digest.update(u64(field));
    else {
      const bytes = typeof field === "string" ? Buffer.from(field) : field;
      digest.update(u32(bytes.length)).update(bytes);
    }
  }
  return digest.digest();
}

/** @param {Uint8Array} key @param {import("./messages.js").RpcRequest} it */
export function requestMac(key, it) {
  return mac(key, ["chord.v1.RpcRequest", it.protocolVersion, it.method, it.requestId, it.timeoutMs, it.payload,
    it.ringId, it.receiver, it.sentMs]);
}

/** @param {Uint8Array} key @param {import("./messages.js").RpcResponse} it */
export function responseMac(key, it) {
  return mac(key, ["chord.v1.RpcResponse", it.protocolVersion, it.requestId, it.code, it.message, it.retryAfterMs,
    it.payload, it.ringId, it.start, it.clockMs]);
}

/** In constant time. @param {Uint8Array} a @param {Uint8Array} b */
export function sameMac(a, b) {
  return a.length === b.length && timingSafeEqual(a, b);
}
