// SPDX-License-Identifier: MIT
// One event stream for all tabs of a browser. A browser opens six connections to a host at most, and
// a gateway has 16 streams: so the tabs of one page share one. The tab that holds it, the leader,
// hands on what it hears; when it is hidden or closed, a visible one takes over. Knows no rings.

const NAME = "chord-events";
const ANSWER_MS = 150; // how long a new tab waits for a leader to say that it is there
const BEAT_MS = 1000;
const LOST_MS = 2500; // a leader not heard of for so long is gone
const RETRY_MS = 15000; // after a refusal
const TOKEN_MS = 2000; // after one for want of a token, which the user may be typing

/**
 * @typedef {"connecting"|"live"|"reconnecting"|"refused"} StreamState
 * @param {string} address
 * @param {{kinds: string[], on_event: (kind: string, data: any) => void,
 *   on_state: (state: StreamState, status: number) => void}} options
 *   `status`: of the answer that refused the stream, 0 when there was none
 * @returns {{set_visible: (visible: boolean) => void}} nothing is heard until it is visible
 */
export function share_events(address, { kinds, on_event, on_state }) {
  const channel = typeof BroadcastChannel === "function" ? new BroadcastChannel(NAME) : null;
  const id = Math.random();
  let visible = false;
  let source = null; // open = this tab leads
  let state = "connecting";
  let leader_seen = 0;
  let retry_at = 0;
  let timer = 0;

  const tell = (message) => channel?.postMessage({ id, ...message });

  function show_state(next, status = 0) {
    if (state !== next) on_state(next, status);
    state = next;
  }

  function lead() {
    if (source || !visible || Date.now() < retry_at) return;
    const mine = new EventSource(address);
    source = mine;
    mine.onopen = () => { show_state("live"); tell({ state: "live" }); };
    mine.onerror = () => {
      if (mine.readyState === EventSource.CLOSED) refused();
      else { show_state("reconnecting"); tell({ state: "reconnecting" }); }
    };
    for (const kind of kinds) {
      mine.addEventListener(kind, (message) => {
        if (source !== mine) return;
        on_event(kind, message.data);
        tell({ kind, data: message.data });
      });
    }
  }

  function resign() {
    if (!source) return;
    source.close();
    source = null;
    tell({ gone: true });
  }

  /** An event source does not say why it was refused; a plain request does. */
  async function refused() {
    source?.close();
    source = null;
    retry_at = Date.now() + RETRY_MS;
    const abort = new AbortController();
    let status = 0;
    try {
      status = (await fetch(address, { signal: abort.signal, cache: "no-store" })).status;
    } catch { /* nobody answers; the page finds out by itself */ }
    abort.abort();
    if (status === 200) retry_at = 0;
    if (status === 401) retry_at = Date.now() + TOKEN_MS;
    show_state("refused", status);
  }

  function hear({ data: message }) {
    // Of two tabs that became leaders at the same time the one with the greater id stays.
    if (source && message.id > id && !message.gone) resign();
    if (source) { if (message.who) tell({ state }); return; }
    if (message.who) return;
    leader_seen = message.gone ? 0 : Date.now();
    if (message.gone) wait_then_lead(Math.random() * ANSWER_MS);
    else if (message.state) show_state(message.state);
    else if (message.kind && visible) { show_state("live"); on_event(message.kind, message.data); }
  }

  function wait_then_lead(wait_ms) {
    clearTimeout(timer);
    timer = setTimeout(() => { if (Date.now() > leader_seen + LOST_MS) lead(); }, wait_ms);
  }

  function begin() {
    leader_seen = 0;
    if (!channel) return lead();
    tell({ who: true });
    wait_then_lead(ANSWER_MS);
  }

  if (channel) channel.onmessage = hear;
  addEventListener("pagehide", resign);
  setInterval(() => {
    if (source) tell({ state });
    else if (visible && Date.now() > leader_seen + LOST_MS) begin();
  }, BEAT_MS);

  return {
    set_visible(now) {
      if (now === visible) return;
      visible = now;
      if (visible) return begin();
      clearTimeout(timer);
      resign();
      show_state("connecting");
    },
  };
}
