// SPDX-License-Identifier: MIT
// What a page takes from its own address before it asks for anything: a token, or a one-time link's code.

import { take_login, take_token } from "./api.js";
import { show_notice } from "./notices.js";

/** A link that is pasted where the page is open already changes only what stands behind #. */
addEventListener("hashchange", take_access);

export async function take_access() {
  take_token();
  try {
    if (await take_login()) show_notice("ok", "This browser is an operator now, for 12 hours.");
  } catch (error) {
    show_notice("error", error.message);
  }
}
