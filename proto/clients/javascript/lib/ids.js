// SPDX-License-Identifier: MIT
// Where a key lies (proto/README.md). An id is the lower-case hex text of its ceil(M/8) bytes: ids of one
// ring have one length, so texts are ordered as the numbers are.

import { createHash } from "node:crypto";

export const M_MAX = 160;

/** The top M bits of SHA-1, as a number. @param {Uint8Array} key @param {number} m */
export function keyId(key, m) {
  const hash = createHash("sha1").update(key).digest();
  const count = Math.ceil(m / 8);
  const shift = 8 * count - m;
  if (shift > 0) {
    for (let at = count - 1; at >= 0; at--) {
      hash[at] = (hash[at] >> shift) | (at > 0 ? (hash[at - 1] << (8 - shift)) & 0xff : 0);
    }
  }
  return hash.toString("hex", 0, count);
}

/** As it comes in a message; null: no id of this ring. @param {Uint8Array} bytes @param {number} m */
export function idFromWire(bytes, m) {
  return bytes.length === Math.ceil(m / 8) ? Buffer.from(bytes).toString("hex") : null;
}

/** Whether an id is in (lo, hi], clockwise; lo = hi is the whole ring.
 * @param {string} id @param {string} lo @param {string} hi */
export function inRange(id, lo, hi) {
  return lo < hi ? lo < id && id <= hi : id > lo || id <= hi;
}
