// SPDX-License-Identifier: MIT
// The version of a value: an opaque text "epoch.counter" to callers, two numbers of 64 bits inside.

import { invalid } from "./error.js";

/** @typedef {{epoch: bigint, counter: bigint}} Version */

export const NO_VERSION = Object.freeze({ epoch: 0n, counter: 0n });
const TEXT = /^(\d{1,20})\.(\d{1,20})$/;
const MAX = 2n ** 64n - 1n;

/** @param {string} text @returns {Version} */
export function parseVersion(text) {
  const parts = TEXT.exec(text);
  const version = parts && { epoch: BigInt(parts[1]), counter: BigInt(parts[2]) };
  if (!version || version.epoch > MAX || version.counter > MAX) {
    throw invalid(`'${String(text).slice(0, 50)}' is no version; use one that an answer gave, for example 3.17`);
  }
  return version;
}

/** undefined: there is none. @param {Version} version */
export function versionText({ epoch, counter }) {
  return epoch > 0n ? `${epoch}.${counter}` : undefined;
}

/** @param {Version} a @param {Version} b */
export function isNewer(a, b) {
  return a.epoch > b.epoch || (a.epoch === b.epoch && a.counter > b.counter);
}

/** @param {Version} a @param {Version} b */
export function newest(a, b) {
  return isNewer(a, b) ? a : b;
}
