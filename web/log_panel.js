// SPDX-License-Identifier: MIT
// The system log: lines of all nodes and the ring's events in one list, with filters and a follow mode
// that stops when the reader scrolls up.

import { html, useEffect, useRef, useSignal } from "./html.js";
import { log_lines } from "./store.js";
import { format_clock, format_count } from "./format.js";

const LEVELS = ["debug", "info", "warn", "error"];
const SHOWN_LIMIT = 300;
const NEAR_END_PX = 24;
const LEVEL_NAMES = { warning: "warn", fatal: "error", err: "error" };

const level_of = (line) => {
  const level = String(line.level ?? "info").toLowerCase();
  return LEVEL_NAMES[level] ?? (LEVELS.includes(level) ? level : "info");
};

/** @param {{address?: string|null, title?: string}} props  with an address only that node's lines */
export function LogPanel({ address = null, title = "System log" }) {
  const filter = useSignal("");
  const level = useSignal("info");
  const follow = useSignal(true);
  const box = useRef(null);
  const lines = useRef(null);
  /** The scroll position when it was last checked. */
  const stood = useRef({ top: 0, height: 0 });

  const least = LEVELS.indexOf(level.value);
  const needle = filter.value.trim().toLowerCase();
  const matching = log_lines.value.filter((line) => (!address || line.address === address)
    && LEVELS.indexOf(level_of(line)) >= least
    && (needle === "" || `${line.address} ${line.word} ${line.text}`.toLowerCase().includes(needle)));
  const shown = matching.slice(-SHOWN_LIMIT);
  // The end moves with each new line, and also when lines wrap anew in a narrower window or a late line goes
  // between others: what is watched is the height of all lines and of the box itself, not the list.
  useEffect(() => {
    const to_end = () => { if (follow.value) box.current.scrollTop = box.current.scrollHeight; };
    to_end();
    const sizes = new ResizeObserver(to_end);
    sizes.observe(box.current);
    sizes.observe(lines.current);
    return () => sizes.disconnect();
  }, [follow.value]);
  // Whoever is at the end follows. A move up while the content is unchanged comes from the reader, not from
  // new lines, a filter or a resize.
  const on_scroll = () => {
    const { scrollTop: top, scrollHeight: height, clientHeight: room } = box.current;
    const by_reader = height === stood.current.height && room === stood.current.room && top < stood.current.top - 2;
    if (height - top - room < NEAR_END_PX) follow.value = true;
    else if (by_reader) follow.value = false;
    stood.current = { top, height, room };
  };
  return html`<section class="card wide" aria-labelledby="log-title">
    <h2 id="log-title">${title}</h2>
    <div class="fields">
      <label>Filter <input type="search" autocomplete="off" data-testid="log-filter" value=${filter.value} onInput=${(event) => { filter.value = event.target.value; }} /></label>
      <label>Level <select data-testid="log-level" value=${level.value} onChange=${(event) => { level.value = event.target.value; }}>
        ${LEVELS.map((name) => html`<option key=${name} value=${name}>${name}${name !== "error" && " and above"}</option>`)}</select></label>
      <label class="check"><input type="checkbox" data-testid="log-follow" checked=${follow.value} onChange=${(event) => { follow.value = event.target.checked; }} /> Follow</label>
    </div>
    <div class="log" ref=${box} role="log" aria-live="off" aria-label=${title} tabindex="0" data-testid="log" onScroll=${on_scroll}>
      <div ref=${lines}>${shown.length === 0 ? html`<p class="muted">${log_lines.value.length ? "No line matches." : "No line yet."}</p>`
        : shown.map((line) => html`<p key=${line.order} class=${`line level-${level_of(line)}`}>
          <time>${format_clock(line.time_ms)}</time> <span class="level">${level_of(line)}</span> ${!address && html`<span class="who">${line.address}</span> `}<b>${line.word}</b> <span class="wrap">${line.text}</span></p>`)}</div>
    </div>
    ${matching.length > shown.length && html`<p class="muted">the latest ${format_count(shown.length)} of ${format_count(matching.length)} lines</p>`}
  </section>`;
}
