// SPDX-License-Identifier: MIT
// chord-dht: reads and writes of the keys of a Chord ring, from Node.

export { Client } from "./client.js";
export { ChordError } from "./error.js";
