// SPDX-License-Identifier: MIT
// Short answers to what the user did, told politely to screen readers as well. Errors stay until dismissed.

import { html, signal } from "./html.js";

const STAY_MS = 8000;
const LIMIT = 4;

/** @type {{value: {id: number, kind: "ok"|"warning"|"error", text: string}[]}} */
const notices = signal([]);
let last_id = 0;

function dismiss(id) {
  notices.value = notices.value.filter((notice) => notice.id !== id);
}

/** @param {"ok"|"warning"|"error"} kind @param {string} text */
export function show_notice(kind, text) {
  const id = ++last_id;
  notices.value = [...notices.value, { id, kind, text }].slice(-LIMIT);
  if (kind === "ok") setTimeout(() => dismiss(id), STAY_MS);
}

/** Runs an action and says how it went. @param {() => Promise<{warning?: string}|void>} action @param {string} done */
export async function tell_outcome(action, done) {
  try {
    const answer = await action();
    show_notice(answer?.warning ? "warning" : "ok", answer?.warning ? `${done} Warning: ${answer.warning}.` : done);
    return true;
  } catch (error) {
    show_notice("error", error.title && error.title !== error.message ? `${error.title}: ${error.message}` : error.message);
    return false;
  }
}

export function Notices() {
  return html`<div class="notices" role="status" aria-live="polite" data-testid="notices">
    ${notices.value.map((notice) => html`<div key=${notice.id} class=${`notice notice-${notice.kind}`} data-testid=${`notice-${notice.kind}`}>
      <span>${notice.text}</span>
      <button type="button" class="plain" aria-label="Dismiss" onClick=${() => dismiss(notice.id)}>✕</button>
    </div>`)}
  </div>`;
}
