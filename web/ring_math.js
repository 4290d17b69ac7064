// SPDX-License-Identifier: MIT
// Where things lie on the circle of 2^M ids. Pure; ids are lower-case hex of up to 40 digits, so BigInt.

/** Share of the circle before an id, 0 <= x < 1. @param {string} id @param {number} m */
export function ring_fraction(id, m) {
  // 52 bits after the point are more than a picture can show.
  return Number((BigInt(`0x${id}`) << 52n) >> BigInt(m)) / 2 ** 52;
}

/** Share of the circle that (lo, hi] covers; lo == hi is the whole circle. */
export function range_share(lo, hi, m) {
  const share = ring_fraction(hi, m) - ring_fraction(lo, m);
  return share <= 0 ? share + 1 : share;
}

/**
 * How evenly members share the circle: their largest and smallest arcs, in parts of the mean. `even` is what
 * joins alone leave (as chordctl rebalance says). @param {string[]} ids @param {number} m
 */
export function evenness(ids, m) {
  const at = ids.map((id) => ring_fraction(id, m)).sort((a, b) => a - b);
  const arcs = at.map((x, i) => (i > 0 ? x - at[i - 1] : x - at[at.length - 1] + 1) * at.length);
  const largest = Math.max(...arcs), smallest = Math.min(...arcs);
  return { largest, smallest, even: largest <= 2.2 && largest <= 4 * smallest };
}

/** Point on a circle; fraction 0 is at the top and it runs clockwise. */
export function ring_point(fraction, radius, centre) {
  const angle = 2 * Math.PI * fraction;
  return { x: centre + radius * Math.sin(angle), y: centre - radius * Math.cos(angle) };
}

/** SVG path of the arc (lo, hi] at a radius. The whole circle is drawn as two halves. */
export function arc_path(from, share, radius, centre) {
  const at = (fraction) => {
    const { x, y } = ring_point(fraction, radius, centre);
    return `${x.toFixed(2)} ${y.toFixed(2)}`;
  };
  const piece = (start, part) => `A ${radius} ${radius} 0 ${part > 0.5 ? 1 : 0} 1 ${at(start + part)}`;
  if (share > 0.999) return `M ${at(from)} ${piece(from, 0.5)} ${piece(from + 0.5, 0.4999)}`;
  return `M ${at(from)} ${piece(from, share)}`;
}

/** SVG path from one point of the circle to another, bent towards the centre, ending short of the target's disc. */
export function chord_path(from, to, radius, centre, bend = 0.55, gap = 14) {
  const a = ring_point(from, radius, centre);
  const b = ring_point(to, radius, centre);
  // Neighbours get a flat arc, far nodes the full bend.
  const apart = Math.min(Math.abs(from - to), 1 - Math.abs(from - to));
  bend = 1 - (1 - bend) * (0.3 + 0.7 * Math.min(1, 4 * apart));
  const control = { x: centre + ((a.x + b.x) / 2 - centre) * bend, y: centre + ((a.y + b.y) / 2 - centre) * bend };
  const length = Math.hypot(b.x - control.x, b.y - control.y) || 1;
  const end = { x: b.x + ((control.x - b.x) / length) * gap, y: b.y + ((control.y - b.y) / length) * gap };
  return `M ${a.x.toFixed(2)} ${a.y.toFixed(2)} Q ${control.x.toFixed(2)} ${control.y.toFixed(2)} ${end.x.toFixed(2)} ${end.y.toFixed(2)}`;
}

/**
 * Moves labels apart so that none lies closer than `gap` (a share of the circle) to its neighbour.
 * @param {number[]} fractions in ascending order @returns {number[]} where to write each label
 */
export function spread_labels(fractions, gap) {
  const count = fractions.length;
  if (count < 2 || gap * count > 1) return fractions.slice();
  const at = fractions.slice();
  for (let round = 0; round < 60; round++) {
    let moved = false;
    for (let i = 0; i < count; i++) {
      const next = (i + 1) % count;
      const distance = at[next] - at[i] + (next === 0 ? 1 : 0);
      if (distance >= gap - 1e-6) continue;
      at[i] -= (gap - distance) / 2;
      at[next] += (gap - distance) / 2;
      moved = true;
    }
    if (!moved) break;
  }
  return at;
}
