// SPDX-License-Identifier: MIT
// States as people see them: a word, a sign and a style name. Colour is never the only carrier.

/** @type {Record<string, {word: string, sign: string}>} */
const NODE_STATES = {
  joining: { word: "joining", sign: "△" },
  member: { word: "member", sign: "●" },
  leaving: { word: "leaving", sign: "◆" },
  left: { word: "left", sign: "□" },
  down: { word: "down", sign: "✕" },
  foreign: { word: "in another ring", sign: "◇" },
};

const RING_STATES = {
  healthy: { word: "Healthy", sign: "✔" },
  healing: { word: "Healing", sign: "↻" },
  forming: { word: "Forming", sign: "…" },
  degraded: { word: "Degraded", sign: "⚠" },
  silent: { word: "No answer", sign: "✕" },
  waiting: { word: "Waiting", sign: "…" },
};

export const node_state = (state) => NODE_STATES[state] ?? { word: String(state ?? "unknown"), sign: "?" };
export const ring_state = (state) => RING_STATES[state] ?? { word: String(state ?? "unknown"), sign: "?" };

/** A class name only from the known states: what comes from outside does not become one. */
export const state_class = (state) => (state in NODE_STATES || state in RING_STATES ? `is-${state}` : "is-unknown");
