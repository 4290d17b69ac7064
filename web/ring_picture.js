// SPDX-License-Identifier: MIT
// The ring as a picture: nodes at their ids, the range each owns, successor arrows, the fingers of the
// node that is selected, and the path of the last lookup. States differ in shape and word, not only colour.

import { computed, html, signal, useEffect } from "./html.js";
import { path, ring, selected } from "./store.js";
import { get_node } from "./api.js";
import { arc_path, chord_path, range_share, ring_fraction, ring_point, spread_labels } from "./ring_math.js";
import { format_count, format_id } from "./format.js";
import { node_state, state_class } from "./words.js";

const SIZE = 480;
const CENTRE = SIZE / 2;
const RADIUS = 158;
const LABEL_RADIUS = 190;
const COLOURS = 8;
const LABELS_LIMIT = 24;
/** From here on labels are short. */
const LONG_LABELS_LIMIT = 12;
/** Neighbours closer than this (in units of the picture) have no room for an arrow. */
const ARROW_ROOM = 30;

/** Fingers of the selected node: {address, fingers}. */
const chosen_fingers = signal(null);

/** Nodes with their place on the circle, clockwise. A node whose id cannot be read is left out. */
const placed = computed(() => {
  const view = ring.value;
  if (!view) return [];
  const colours = new Map(view.nodes.map((node) => node.address).sort().map((address, index) => [address, index % COLOURS]));
  const places = view.nodes.filter((node) => /^[0-9a-f]+$/.test(node.id ?? ""))
    .map((node) => ({ node, at: ring_fraction(node.id, view.m), colour: colours.get(node.address) }))
    .sort((a, b) => a.at - b.at);
  return places.map((place, index) => ({ ...place, room: room_of(places, index) }));
});

/** Half the distance to the nearest neighbour, in units of the picture: the room to draw and click in. */
function room_of(places, index) {
  const gap = (a, b) => (b.at - a.at + 1) % 1 || 1;
  const count = places.length;
  const nearest = Math.min(gap(places[(index + count - 1) % count], places[index]), gap(places[index], places[(index + 1) % count]));
  return Math.PI * RADIUS * nearest;
}

const place_of = (name) => placed.value.find(({ node }) => node.address === name || node.id === name);

function Owned({ place }) {
  const { node, colour } = place;
  if (!node.range) return null;
  const share = range_share(node.range.lo, node.range.hi, ring.value.m);
  return html`<path class=${`arc c${colour} ${selected.value === node.address ? "is-selected" : ""}`}
    d=${arc_path(ring_fraction(node.range.lo, ring.value.m), share, RADIUS, CENTRE)}>
    <title>${`(${node.range.lo}, ${node.range.hi}] belongs to ${node.id}: ${(share * 100).toFixed(1)} % of the ring`}</title></path>`;
}

/** A range whose majority is down; drawn on top of the living nodes' ranges. */
function Lost({ range }) {
  const share = range_share(range.lo, range.hi, ring.value.m);
  return html`<path class="arc-lost" data-testid="ring-lost" d=${arc_path(ring_fraction(range.lo, ring.value.m), share, RADIUS, CENTRE)}>
    <title>${`(${range.lo}, ${range.hi}] cannot be read or written: ${range.alive} of the ${range.members} nodes that hold it are alive; ${format_count(range.keys)} keys`}</title></path>`;
}

function Successor({ place }) {
  const target = place.node.state === "member" && place_of(place.node.successors[0]);
  if (!target || target === place) return null;
  const apart = Math.abs(place.at - target.at);
  if (2 * Math.PI * RADIUS * Math.min(apart, 1 - apart) < ARROW_ROOM) return null;
  return html`<path class="successor" d=${chord_path(place.at, target.at, RADIUS, CENTRE, 0.8)} marker-end="url(#arrow)" />`;
}

function Fingers() {
  const chosen = chosen_fingers.value;
  const from = chosen && selected.value === chosen.address && place_of(chosen.address);
  if (!from) return null;
  const targets = new Map(chosen.fingers.map((finger) => finger.node && [finger.node.address, place_of(finger.node.address)]).filter(Boolean));
  return html`<g data-testid="ring-fingers">${[...targets.values()].filter((to) => to && to !== from).map((to) =>
    html`<path key=${to.node.address} class="finger" d=${chord_path(from.at, to.at, RADIUS, CENTRE, 0.3)} marker-end="url(#arrow-finger)" />`)}</g>`;
}

/** The places a lookup visits, in order, the owner last. */
function path_places(lookup) {
  const stops = lookup.hops.map((hop) => hop.node);
  if (stops.length === 0 || stops[stops.length - 1].address !== lookup.owner.address) stops.push(lookup.owner);
  return stops.map((stop) => place_of(stop.address)).filter(Boolean);
}

/** Which hop reached which node, written on the nodes themselves. */
function HopNumbers() {
  const drawn = path.value;
  if (!drawn || !ring.value) return null;
  const steps = new Map(path_places(drawn.lookup).slice(0, drawn.shown).map((place, index) => [place, index + 1]));
  return [...steps].map(([place, step]) => {
    const { x, y } = ring_point(place.at, RADIUS, CENTRE);
    return html`<text key=${step} class="hop-number" x=${x} y=${y}>${step}</text>`;
  });
}

function LookupPath() {
  const drawn = path.value;
  if (!drawn || !ring.value) return null;
  const { lookup, shown } = drawn;
  const places = path_places(lookup);
  const key = ring_point(ring_fraction(lookup.key_id, ring.value.m), RADIUS, CENTRE);
  const owner = place_of(lookup.owner.address);
  return html`<g data-testid="lookup-drawing">
    ${places.slice(0, shown).map((to, index) => index > 0 && to !== places[index - 1] && html`<path key=${`hop${index}`} class="hop" data-testid="lookup-edge"
      d=${chord_path(places[index - 1].at, to.at, RADIUS, CENTRE, 0.15)} marker-end="url(#arrow-hop)" />`)}
    ${shown >= places.length && owner && html`<circle class="owner-halo" cx=${ring_point(owner.at, RADIUS, CENTRE).x} cy=${ring_point(owner.at, RADIUS, CENTRE).y} r="15" />`}
    <path class="key-mark" d=${`M ${key.x} ${key.y - 7} L ${key.x + 7} ${key.y} L ${key.x} ${key.y + 7} L ${key.x - 7} ${key.y} Z`}>
      <title>${`key ${lookup.key} lies at ${lookup.key_id}`}</title></path>
  </g>`;
}

/** One shape for each state: disc, triangle, diamond, square; hollow when it is not in the ring. */
function Shape({ state, x, y, scale }) {
  const polygon = (points) => html`<polygon class="shape" points=${points.map(([dx, dy]) => `${x + dx * scale},${y + dy * scale}`).join(" ")} />`;
  const arm = 4 * scale;
  if (state === "joining") return polygon([[0, -12], [11, 8], [-11, 8]]);
  if (state === "leaving") return polygon([[0, -12], [12, 0], [0, 12], [-12, 0]]);
  if (state === "left") return polygon([[-8, -8], [8, -8], [8, 8], [-8, 8]]);
  if (state === "down") return html`<circle class="shape" cx=${x} cy=${y} r=${9 * scale} />
    <path class="cross" d=${`M ${x - arm} ${y - arm} L ${x + arm} ${y + arm} M ${x + arm} ${y - arm} L ${x - arm} ${y + arm}`} />`;
  return html`<circle class="shape" cx=${x} cy=${y} r=${10 * scale} />`;
}

function Label({ place, at }) {
  const { node } = place;
  const from = ring_point(place.at, RADIUS + 11, CENTRE);
  const to = ring_point(at, LABEL_RADIUS - 4, CENTRE);
  const { x, y } = ring_point(at, LABEL_RADIUS, CENTRE);
  const anchor = Math.abs(x - CENTRE) < 30 ? "middle" : x > CENTRE ? "start" : "end";
  const short = placed.value.length > LONG_LABELS_LIMIT;
  const note = node.state !== "member" ? node_state(node.state).word : short ? "" : `:${node.address.split(":").pop()}`;
  return html`<g class=${`label ${state_class(node.state)}`}><line class="leader" x1=${from.x} y1=${from.y} x2=${to.x} y2=${to.y} />
    <text x=${x} y=${y + (anchor === "middle" ? (y > CENTRE ? 12 : -6) : 4)} text-anchor=${anchor}>
      <tspan class="label-id">${short && node.id.length > 6 ? `${node.id.slice(0, 5)}…` : format_id(node.id)}</tspan>
      <tspan class="label-note" dx="4">${note}</tspan>
    </text></g>`;
}

function Node({ place, tab }) {
  const { node, colour, room } = place;
  const { x, y } = ring_point(place.at, RADIUS, CENTRE);
  const scale = Math.min(1, Math.max(0.35, room / 10));
  const pick = () => { selected.value = selected.value === node.address ? null : node.address; };
  const on_key = (event) => {
    if (event.key === "Enter" || event.key === " ") pick();
    else if (!move_focus(event.key, place)) return;
    event.preventDefault();
  };
  return html`<g class=${`node c${colour} ${state_class(node.state)} ${selected.value === node.address ? "is-selected" : ""}`}
    role="button" tabindex=${tab} aria-pressed=${selected.value === node.address} data-testid=${`ring-node-${node.address}`} data-state=${node.state}
    aria-label=${`node ${node.id}, ${node.address}, ${node_state(node.state).word}, ${format_count(node.keys)} keys`} onClick=${pick} onKeyDown=${on_key}>
    <circle class="hit" cx=${x} cy=${y} r=${Math.min(18, Math.max(10 * scale, room))} />
    <${Shape} state=${node.state} x=${x} y=${y} scale=${scale} />
    <title>${`${node.id} at ${node.address}: ${node_state(node.state).word}, ${format_count(node.keys)} keys`}</title>
  </g>`;
}

/** The ring is one tab stop; arrow keys walk round it. */
function move_focus(key, place) {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key];
  if (!step) return false;
  const all = placed.value;
  const next = all[(all.indexOf(place_of(place.node.address)) + step + all.length) % all.length];
  document.querySelector(`[data-testid="ring-node-${CSS.escape(next.node.address)}"]`)?.focus();
  return true;
}

function arrow(id) {
  return html`<marker id=${id} class=${id} viewBox="0 0 8 8" refX="6" refY="4" markerWidth="6" markerHeight="6" orient="auto-start-reverse"><path d="M 0 0 L 8 4 L 0 8 Z" /></marker>`;
}

export function RingPicture() {
  const view = ring.value;
  const places = placed.value;
  const address = selected.value;
  useEffect(() => {
    let current = true;
    if (!address) { chosen_fingers.value = null; return undefined; }
    get_node(address).then((detail) => { if (current) chosen_fingers.value = { address, fingers: detail.fingers ?? [] }; })
      .catch(() => { if (current) chosen_fingers.value = null; });
    return () => { current = false; };
  }, [address, place_of(address)?.node.state, places.length, view?.state]);

  const crowded = places.length > LABELS_LIMIT;
  const label_places = crowded ? places.filter(({ node }) => node.address === address) : places;
  const labels_at = spread_labels(label_places.map(({ at }) => at), 0.036);
  const tab_stop = Math.max(0, places.findIndex(({ node }) => node.address === address));
  return html`<svg class="ring-picture" viewBox=${`-60 0 ${SIZE + 120} ${SIZE}`} role="group" aria-label="The ring: nodes at their ids, clockwise from 0 at the top" data-testid="ring-picture">
    <defs>${["arrow", "arrow-finger", "arrow-hop"].map(arrow)}</defs>
    <circle class="ring-line" cx=${CENTRE} cy=${CENTRE} r=${RADIUS} />
    <path class="zero" d=${`M ${CENTRE} ${CENTRE - RADIUS - 8} V ${CENTRE - RADIUS + 8}`}><title>id 0</title></path>
    ${places.map((place) => html`<${Owned} key=${`arc ${place.node.address}`} place=${place} />`)}
    ${(view?.lost ?? []).map((range) => html`<${Lost} key=${`lost ${range.lo}`} range=${range} />`)}
    ${!crowded && places.map((place) => html`<${Successor} key=${`successor ${place.node.address}`} place=${place} />`)}
    <${Fingers} /><${LookupPath} />
    ${label_places.map((place, index) => html`<${Label} key=${`label ${place.node.address}`} place=${place} at=${labels_at[index]} />`)}
    ${places.map((place, index) => html`<${Node} key=${place.node.address} place=${place} tab=${index === tab_stop ? 0 : -1} />`)}
    <${HopNumbers} />
    ${view && !address && !path.value && html`<text class="centre" x=${CENTRE} y=${CENTRE}>${places.length ? `2^${view.m} ids` : "no nodes yet"}</text>`}
  </svg>`;
}
