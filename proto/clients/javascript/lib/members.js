// SPDX-License-Identifier: MIT
// Whom to ask: the members that were named, and those that answers name. One that fails goes to the end of
// the line, and hints that lead to one that was silent are not followed for a while. Sends nothing.

const LEARNED_MAX = 64;
const SILENT_MS = 1000; // doubled at each silence that follows
const SILENT_MS_MAX = 8000;
const ADDRESS = /^(\[[0-9a-fA-F:.]+\]|[^\s:[\]/]+):(\d{1,5})$/;
const ADDRESS_BYTES_MAX = 63;

/** "host:port" @param {unknown} address @returns {address is string} */
export function isAddress(address) {
  const parts = typeof address === "string" && address.length <= ADDRESS_BYTES_MAX ? ADDRESS.exec(address) : null;
  return parts !== null && Number(parts[2]) >= 1 && Number(parts[2]) <= 65535;
}

export class Members {
  #named;
  /** @type {string[]} */
  #line;
  /** @type {Map<string, {untilMs: number, forMs: number}>} */
  #silent = new Map();
  #now;

  /** @param {string[]} named at least one @param {() => number} now in milliseconds */
  constructor(named, now) {
    this.#named = new Set(named);
    this.#line = [...this.#named];
    this.#now = now;
  }

  get count() {
    return this.#line.length;
  }

  /** An answer named it. @param {string} address */
  learn(address) {
    if (!isAddress(address) || this.#line.includes(address)) return;
    if (this.#line.length >= this.#named.size + LEARNED_MAX) {
      const oldest = this.#line.findLastIndex((one) => !this.#named.has(one));
      this.#line.splice(oldest, 1);
    }
    this.#line.push(address);
  }

  /** @param {string} address */
  isSilent(address) {
    return (this.#silent.get(address)?.untilMs ?? 0) > this.#now();
  }

  /** The first in the line, another one than `last` where there is one. @param {string} last */
  next(last) {
    const others = this.#line.filter((address) => address !== last);
    return others.find((address) => !this.isSilent(address)) ?? others[0] ?? this.#line[0];
  }

  /** Others first, from now on. @param {string} address */
  mistrust(address) {
    const at = this.#line.indexOf(address);
    if (at >= 0) this.#line.push(...this.#line.splice(at, 1));
  }

  /** It gave no answer, or is of another ring. @param {string} address */
  silence(address) {
    this.mistrust(address);
    const forMs = Math.min((this.#silent.get(address)?.forMs ?? SILENT_MS / 2) * 2, SILENT_MS_MAX);
    this.#silent.delete(address);
    this.#silent.set(address, { untilMs: this.#now() + forMs, forMs });
    if (this.#silent.size > 2 * LEARNED_MAX) {
      this.#silent.delete(/** @type {string} */ (this.#silent.keys().next().value));
    }
  }

  /** It gave one. @param {string} address */
  heard(address) {
    this.#silent.delete(address);
  }
}
