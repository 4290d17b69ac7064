// SPDX-License-Identifier: MIT
// The ring dashboard (index.html): puts the panels on the page and starts listening.

import { html, mount } from "./html.js";
import { take_access } from "./login.js";
import { fetch_logs, ring, stale, start_store } from "./store.js";
import { StatusBar, Tiles, title_follows_ring } from "./status_bar.js";
import { RingPicture } from "./ring_picture.js";
import { NodesTable } from "./nodes_table.js";
import { SelectedNode } from "./node_facts.js";
import { ImportPanel, resume_import } from "./import_panel.js";
import { KeyPanel, LookupPanel } from "./lookup_panel.js";
import { LogPanel } from "./log_panel.js";
import { Dialogs } from "./dialogs.js";
import { Notices } from "./notices.js";

function RingPage() {
  return html`<a class="skip" href="#main">Skip to the ring</a>
    <header class="top"><h1><img src="./icon.svg" alt="" width="28" height="28" /> Chord ring</h1><${StatusBar} /></header>
    <main id="main" tabindex="-1" class=${stale.value ? "is-stale" : ""}>
      <${Tiles} />
      <section class="card ring-card" aria-labelledby="ring-title"><h2 id="ring-title">Ring</h2>
        <div class="ring-columns"><${RingPicture} /><div class="ring-side"><${LookupPanel} /><${SelectedNode} /></div></div></section>
      <${ImportPanel} /><${KeyPanel} />
      <${NodesTable} /><${LogPanel} />
    </main>
    <${Notices} /><${Dialogs} />`;
}

await take_access();
mount(html`<${RingPage} />`);
title_follows_ring(() => "Chord ring");
resume_import();
await start_store();
await fetch_logs((ring.value?.nodes ?? []).filter((node) => node.state !== "down").map((node) => node.address));
