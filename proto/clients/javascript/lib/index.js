// SPDX-License-Identifier: MIT
// chord-dht: reads and writes of the keys of a Chord ring, from Node.

/** @typedef {import("./client.js").ClientOptions} ClientOptions */
/** @typedef {import("./client.js").Row} Row */
/** @typedef {import("./client.js").Change} Change */
/** @typedef {import("./client.js").Lookup} Lookup */
/** @typedef {import("./client.js").ServerInfo} ServerInfo */
/** @typedef {import("./client.js").CallAnswer} CallAnswer */
/** @typedef {import("./operation.js").Asked} Asked */
/** @typedef {import("./operation.js").Result} Result */
/** @typedef {import("./fate.js").Fate} Fate */

export { Client } from "./client.js";
export { ChordError } from "./error.js";
