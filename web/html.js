// SPDX-License-Identifier: MIT
// The one place where the pages touch third-party modules: everything else imports from here.

import { h, render } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export { useEffect, useRef } from "./vendor/preact-hooks.js";
export { signal, computed, effect, batch, useSignal, useComputed } from "./vendor/signals.js";
/** Tagged template to virtual DOM. What is put in is always text, never markup. */
export const html = htm.bind(h);

/** Replaces the placeholder text by the page once it has loaded. */
export function mount(page) {
  const root = document.getElementById("app");
  root.replaceChildren();
  render(page, root);
}
