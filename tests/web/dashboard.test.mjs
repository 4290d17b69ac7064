// SPDX-License-Identifier: MIT
// The dashboards in a real browser, by clicking: load, import, look up, leave, kill, start, join.
//
//     npm run test:mock                                  against the mock gateway
//     BASE_URL=http://127.0.0.1:3000 npm test            against a running ring (its nodes are members again at the end;
//                                                        the sample's rows and web-test-* stay)

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { by, launch_browser, open_watched, wait_data } from "./browser.mjs";

const SAMPLE = fileURLToPath(new URL("../../web/sample.csv", import.meta.url));
const ROWS = readFileSync(SAMPLE, "utf8").trim().split("\n").slice(1)
  .map((line) => ({ key: line.slice(0, line.indexOf(",")), value: line.slice(line.indexOf(",") + 1) }));
const HEAL_LIMIT_MS = Number(process.env.HEAL_LIMIT_MS ?? 10000);
const RUN_LIMIT_MS = 8 * 60 * 1000;
const ODD_KEY = 'a/b?c#d %20 & "ü" <b>bold</b>';
const ODD_VALUE = "<img src=x onerror=alert(1)>\nline two, ünïcode ✔";

let mock = null;
let base = process.env.BASE_URL?.replace(/\/$/, "");
let browser, context, faults, page;
/** The ring before the first click. */
let first;
let left_node, killed_node;

const api = async (path, options) => fetch(`${base}/api/v1${path}`, options);
const get_ring = async () => (await api("/ring")).json();
const members_of = (ring) => ring.nodes.filter((node) => node.state === "member");

/** The mock needs a block of ports in a row: MOCK_PORT, or the first free block of a few tries. */
async function start_mock_somewhere() {
  const { start_mock } = await import("./mock_gateway.mjs");
  if (process.env.MOCK_PORT) return start_mock({ port: Number(process.env.MOCK_PORT) });
  for (let tries = 20; ; tries--) {
    try {
      return await start_mock({ port: 20000 + 10 * Math.floor(Math.random() * 1000) });
    } catch (error) {
      if (error.code !== "EADDRINUSE" || tries === 0) throw error;
    }
  }
}

// Whatever hangs, the run ends; the timer alone keeps nothing alive.
setTimeout(() => {
  console.error(`the page tests did not end within ${RUN_LIMIT_MS / 1000} s`);
  process.exit(1);
}, RUN_LIMIT_MS).unref();

before(async () => {
  if (process.env.CHORD_MOCK) {
    mock = await start_mock_somewhere();
    base = mock.url;
  }
  assert.ok(base, "say which ring dashboard to test: BASE_URL=http://127.0.0.1:3000, or CHORD_MOCK=1");
  browser = await launch_browser();
  ({ context, faults } = await open_watched(browser, base));
  page = await context.newPage();
});

after(async () => {
  await browser?.close();
  await mock?.close();
});

async function upload(file, key_column = "") {
  await by(page, "import-file").setInputFiles(file);
  await by(page, "chosen-file").waitFor();
  await by(page, "key-column").fill(key_column);
  await by(page, "import-start").click();
  await by(page, "import-progress").waitFor();
}

async function look_up(key) {
  await by(page, "lookup-key").fill(key);
  await by(page, "lookup-start").click();
  await page.locator(`[data-testid="lookup-result"][data-key=${JSON.stringify(key)}]`).waitFor();
}

async function all_values_are_there() {
  for (const { key, value } of ROWS) {
    const response = await api(`/kv/${encodeURIComponent(key)}`);
    assert.equal(response.status, 200, `GET ${key} answers ${response.status}`);
    assert.equal(await response.text(), value, `the value of ${key}`);
  }
}

/** How often the head says what the ring survives. */
const survival_said = async (shown) => (await shown.locator(".status-bar").innerText()).split("survives").length - 1;

const wait_active = (count) => page.waitForFunction(
  (wanted) => document.querySelector('[data-testid="active-nodes"]')?.textContent === String(wanted), count);

test("the page shows every node of the ring, live", async () => {
  await page.goto(base);
  await wait_data(page, "link", "link", "live");
  first = await get_ring();
  assert.ok(members_of(first).length >= 1, "the ring has members");
  for (const node of first.nodes) {
    await by(page, `row-${node.address}`).waitFor();
    await by(page, `ring-node-${node.address}`).waitFor();
  }
  await wait_data(page, "ring-state", "state", "healthy");
  assert.equal(await survival_said(page), 1);
  assert.equal(await by(page, "active-nodes").textContent(), String(members_of(first).length));
  assert.match(await by(page, "evenness").textContent(), /^\d\.\d to \d\.\d of the mean$/);
  assert.match(await page.title(), /healthy/);
  await page.evaluate(() => { window.not_reloaded = true; });
});

test("a CSV goes in with progress, every row stored", async () => {
  await upload(SAMPLE);
  await wait_data(page, "import-state", "state", "done", 60000);
  assert.equal(await by(page, "rows-stored").textContent(), String(ROWS.length));
  assert.equal(await by(page, "rows-failed").textContent(), "0");
  assert.equal(await by(page, "import-bar").evaluate((bar) => bar.value), 1);
  await all_values_are_there();
  await page.waitForFunction((count) => Number(document.querySelector('[data-testid="keys-total"]').textContent.replaceAll(",", "")) >= count, ROWS.length);
});

test("a bad row is named with its line, the others are stored; the key column can be chosen", async () => {
  const bad = "n,name\r\n1,web-test-one\r\n2,\r\n3,web-test-three\r\n";
  await upload({ name: "bad.csv", mimeType: "text/csv", buffer: Buffer.from(bad) }, "name");
  await by(page, "row-errors").waitFor();
  await wait_data(page, "import-state", "state", "partial");
  assert.match(await by(page, "row-errors").textContent(), /line 3/);
  await page.waitForFunction(() => document.querySelector('[data-testid="rows-stored"]')?.textContent === "2");
  assert.equal(await (await api("/kv/web-test-three")).text(), "3");
});

test("an import with no such column ends with a reason", async () => {
  await upload(SAMPLE, "no such column");
  await wait_data(page, "import-state", "state", "failed");
  assert.match(await by(page, "import-error").textContent(), /no such column/);
});

test("a lookup shows the path over the ring and the value", async () => {
  await look_up("Iron");
  assert.equal(await by(page, "lookup-value").textContent(), "Fe,26,55.845,8,4");
  const lookup = await (await api("/lookups/Iron")).json();
  assert.equal(await by(page, "lookup-key-id").textContent(), lookup.key_id);
  assert.match(await by(page, "lookup-owner").textContent(), new RegExp(lookup.owner.address.replaceAll(".", "\\.")));
  assert.ok(await by(page, "lookup-hop").count() >= 1, "at least one hop is listed");
  assert.match(await by(page, "lookup-hops").textContent(), /\d (µs|ms)/);
  await by(page, "lookup-drawing").waitFor({ state: "attached" });
});

test("an unknown key is told kindly", async () => {
  await look_up("no such key at all");
  assert.match(await by(page, "lookup-missing").textContent(), /Nothing is stored under no such key at all/);
});

test("a single key is stored, shown as text only, and deleted", async () => {
  await by(page, "put-key").fill(ODD_KEY);
  await by(page, "put-value").fill(ODD_VALUE);
  await by(page, "put-start").click();
  await by(page, "notice-ok").waitFor();
  await look_up(ODD_KEY);
  assert.equal(await by(page, "lookup-value").textContent(), ODD_VALUE);
  assert.equal(await page.locator('[data-testid="lookup-value"] img').count(), 0, "a value never becomes markup");
  await by(page, "delete-start").click();
  await by(page, "delete-confirm").click();
  await page.waitForFunction(() => document.querySelector('[data-testid="put-key"]').value === "");
  assert.equal((await api(`/kv/${encodeURIComponent(ODD_KEY)}`)).status, 404);
});

test("a node is selected by keyboard and shows successors and fingers", async () => {
  const [node] = members_of(first);
  await by(page, `ring-node-${node.address}`).focus();
  await page.keyboard.press("Enter");
  const card = by(page, "selected-node");
  await card.locator('[data-testid="fingers"]').waitFor();
  for (const id of node.successors)
    assert.match(await card.locator('[data-testid="successors"]').textContent(), new RegExp(id.slice(0, 8)));
  await by(page, "ring-fingers").waitFor({ state: "attached" });
});

test("the log can be filtered", async () => {
  await page.waitForFunction(() => document.querySelectorAll('[data-testid="log"] .line').length > 0);
  await by(page, "log-filter").fill("nothing contains this text");
  await page.waitForFunction(() => document.querySelectorAll('[data-testid="log"] .line').length === 0);
  await by(page, "log-filter").fill("");
});

test("all data can be downloaded as CSV", async () => {
  const waiting = page.waitForEvent("download");
  await by(page, "export").click();
  const text = readFileSync(await (await waiting).path(), "utf8");
  assert.match(text, /^\uFEFF?key,value\r?\n/);
  assert.match(text, /\nIron,"Fe,26,55\.845,8,4"\r?\n/);
  await by(page, "export-form").selectOption("lossless");
  assert.match(await by(page, "export").getAttribute("href"), /format=lossless$/);
  await by(page, "export-form").selectOption("csv");
});

test("a node leaves by clicking, and no value is missing", async () => {
  left_node = members_of(first)[1];
  await by(page, `leave-${left_node.address}`).click();
  await by(page, "leave-dialog").waitFor();
  await page.keyboard.press("Escape");
  await by(page, "leave-dialog").waitFor({ state: "detached" });
  await by(page, `leave-${left_node.address}`).click();
  await by(page, "leave-confirm").click();
  await page.locator(`tr [data-testid="state-${left_node.address}"][data-state="left"]`).waitFor({ timeout: 60000 });
  await wait_active(members_of(first).length - 1);
  await wait_data(page, "ring-state", "state", "healthy", 30000);
  await all_values_are_there();
});

test("another is killed with KYS by typing its id; the ring heals on the page without a reload", async (t) => {
  const members = members_of(await get_ring());
  if (members.length < 3) return t.skip(`${members.length} members survive no loss`);
  killed_node = members.find((node) => node.slot !== null) ?? members[0];
  await by(page, `kill-${killed_node.address}`).first().click();
  assert.ok(await by(page, "kill-confirm").isDisabled(), "the button waits for the id");
  await by(page, "kill-input").fill("wrong");
  assert.ok(await by(page, "kill-confirm").isDisabled(), "a wrong id does not do");
  await by(page, "kill-input").fill(killed_node.id);
  const started_ms = Date.now();
  await by(page, "kill-confirm").click();
  await page.locator(`tr [data-testid="state-${killed_node.address}"][data-state="down"]`).waitFor();
  t.diagnostic(`shown down after ${Date.now() - started_ms} ms`);
  await wait_data(page, "ring-state", "state", "healthy", HEAL_LIMIT_MS);
  t.diagnostic(`shown healed after ${Date.now() - started_ms} ms`);
  await wait_active(members.length - 1);
  assert.equal(await page.evaluate(() => window.not_reloaded), true, "the page was not reloaded");
  await all_values_are_there();
  await look_up("Gold");
  assert.equal(await by(page, "lookup-value").textContent(), "Au,79,196.97,11,6");
  return undefined;
});

test("the log follows by itself, so that a kill is in sight; only the reader stops it", async (t) => {
  if (!killed_node) return t.skip("no node was killed");
  const at_end = (shown) => shown.waitForFunction(() => {
    const box = document.querySelector('[data-testid="log"]');
    return box.scrollHeight - box.scrollTop - box.clientHeight < 24;
  });
  const follows = (shown) => by(shown, "log-follow").isChecked();
  await by(page, "log").locator(".line", { hasText: "node.down" }).filter({ hasText: killed_node.address }).first().waitFor({ state: "attached" });
  await at_end(page);
  assert.equal(await follows(page), true, "nobody scrolled, and it follows");
  // A page that is opened later shows it too, and follows from its first line on.
  for (let load = 0; load < 5; load++) {
    const later = await context.newPage();
    await later.goto(base);
    await later.waitForFunction(() => document.querySelectorAll('[data-testid="log"] .line').length > 0);
    await at_end(later);
    assert.equal(await follows(later), true, `load ${load} follows`);
    await later.close();
  }
  for (let line = 0; mock && line < 60; line++) {
    mock.ring.log(mock.ring.members()[0], "noise", `a line that a narrow window has to break into several: ${line}`);
  }
  if (mock) await by(page, "log").locator(".line", { hasText: "several: 59" }).waitFor({ state: "attached" });
  // Lines that wrap anew move the end without a new line.
  const size = page.viewportSize();
  for (const width of [480, size.width]) {
    await page.setViewportSize({ ...size, width });
    await at_end(page);
  }
  assert.equal(await follows(page), true, "a window of another width is no reader");
  const overflows = await by(page, "log").evaluate((box) => box.scrollHeight > box.clientHeight + 100);
  if (!overflows) return t.diagnostic("too few lines to scroll");
  await by(page, "log").hover();
  await page.mouse.wheel(0, -200);
  await page.waitForFunction(() => !document.querySelector('[data-testid="log-follow"]').checked);
  await by(page, "log-follow").check();
  await at_end(page);
  return undefined;
});

test("the killed node's own page says so and starts it again", async (t) => {
  if (!killed_node?.dashboard) return t.skip("no node of this host was killed");
  const node_page = await context.newPage();
  await node_page.goto(killed_node.dashboard);
  await by(node_page, "down-since").waitFor();
  await by(node_page, "node-down").waitFor();
  assert.match(await by(node_page, "ring-state").textContent(), /Ring:/, "the badge says whose state it is");
  assert.equal(await by(node_page, "node-memory").textContent(), "–", "what a dead node uses is not 0");
  await node_page.waitForFunction(() => document.querySelectorAll('[data-testid="log"] .line').length > 0);
  assert.equal(await by(node_page, "node-address").textContent(), killed_node.address);
  await by(node_page, `start-${killed_node.address}`).click();
  await node_page.locator('[data-testid^="notice-"]').first().waitFor();
  if (await by(node_page, "notice-error").count() > 0) {
    const reason = await by(node_page, "notice-error").textContent();
    await node_page.close();
    return t.skip(`no supervisor: ${reason}`);
  }
  await wait_data(node_page, `state-${killed_node.address}`, "state", "member", 60000);
  await by(node_page, "successors").locator("li b").first().waitFor();
  await by(node_page, "data-table").waitFor({ timeout: 60000 });
  assert.ok(Number(await by(node_page, "incarnation").textContent()) >= 2, "a returner has a new incarnation");
  assert.equal(new URL(await by(node_page, "back").getAttribute("href")).port, new URL(base).port);
  await node_page.close();
  return undefined;
});

test("the node that left joins again by clicking", async () => {
  await by(page, `join-${left_node.address}`).first().click();
  await page.locator(`tr [data-testid="state-${left_node.address}"][data-state="member"]`).waitFor({ timeout: 60000 });
  await wait_data(page, "ring-state", "state", "healthy", 60000);
  await all_values_are_there();
});

test("a phone of 360 px needs no sideways scrolling", async () => {
  const phone = await open_watched(browser, base, { viewport: { width: 360, height: 740 }, colorScheme: "dark" });
  for (const address of [base, first.nodes.find((node) => node.dashboard)?.dashboard].filter(Boolean)) {
    const small = await phone.context.newPage();
    await small.goto(address);
    await small.locator('[data-testid^="state-"]').first().waitFor();
    assert.ok(await small.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${address} is too wide`);
  }
  assert.deepEqual(phone.faults, []);
  await phone.context.close();
});

test("no console error, no CSP violation, no request to another host", () => {
  assert.deepEqual(faults, []);
});

test("without an event stream the page polls", { skip: !process.env.CHORD_MOCK }, async () => {
  mock.refuse_events = true;
  const { context: other } = await open_watched(browser, base);
  const polled = await other.newPage();
  await polled.goto(base);
  await wait_data(polled, "link", "link", "polling");
  assert.match(await by(polled, "too-many-windows").textContent(), /Too many windows/);
  await wait_data(polled, "ring-state", "state", "healthy");
  mock.ring.leave(mock.ring.members()[0]);
  await polled.locator('tr [data-state="left"]').waitFor();
  await other.close();
  mock.refuse_events = false;
});

test("the tabs of a browser share one event stream; a hidden one lets it go", { skip: !process.env.CHORD_MOCK }, async () => {
  const { context: other, faults: found } = await open_watched(browser, base);
  const before = mock.streams.size;
  const opened = () => mock.streams.size - before;
  const until = async (condition, what) => {
    for (const end = Date.now() + 15000; !condition(); await new Promise((go) => setTimeout(go, 20)))
      assert.ok(Date.now() < end, `waited in vain for ${what}`);
  };
  // Chromium without a screen shows every tab: the test says which one is hidden.
  const hide = (tab, hidden) => tab.evaluate((value) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => value });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  const tabs = [];
  for (let i = 0; i < 8; i++) {
    tabs.push(await other.newPage());
    await tabs[i].goto(base);
    await wait_data(tabs[i], "link", "link", "live");
  }
  assert.equal(opened(), 1);
  // What the leader hears, all show.
  const gone = mock.ring.members()[0];
  mock.ring.leave(gone);
  for (const tab of tabs) await by(tab, "log").getByText(gone.address).first().waitFor();
  // The leader is closed, then the next is hidden: another takes over each time.
  await tabs.shift().close();
  await until(() => opened() === 1, "another tab's stream");
  for (const tab of tabs.slice(0, 6)) await hide(tab, true);
  await until(() => opened() === 1, "the visible tab's stream");
  await wait_data(tabs[6], "link", "link", "live");
  await hide(tabs[6], true);
  await until(() => opened() === 0, "the end of the last hidden tab's stream");
  await hide(tabs[2], false);
  await until(() => opened() === 1, "a stream for the tab that is shown again");
  await wait_data(tabs[2], "link", "link", "live");
  assert.deepEqual(found, []);
  await other.close();
});

test("where reads need the token the page asks once, then all of it works", { skip: !process.env.CHORD_MOCK }, async () => {
  mock.token = "a token; of 16 bytes";
  const { context: other, faults: found } = await open_watched(browser, base);
  const asked = await other.newPage();
  await asked.goto(base);
  await by(asked, "token-input").fill(mock.token);
  await by(asked, "token-confirm").click();
  await wait_data(asked, "link", "link", "live"); // an event source sends no header, but the cookie
  mock.token = "";
  await wait_data(asked, "ring-state", "state", "healthy");
  assert.equal(await by(asked, "token-dialog").count(), 0);
  const [cookie] = await other.cookies();
  assert.equal(cookie.sameSite, "Strict");
  assert.deepEqual(found, []);
  await other.close();
});

test("a one-time link lets a browser in once", { skip: !process.env.CHORD_MOCK }, async () => {
  mock.token = "a token; of 16 bytes";
  mock.login_code = "a/code";
  const { context: other, faults: found } = await open_watched(browser, base);
  const shown = await other.newPage();
  await shown.goto(`${base}/#login=${encodeURIComponent(mock.login_code)}`);
  await by(shown, "notice-ok").waitFor();
  await wait_data(shown, "link", "link", "live");
  assert.equal(await by(shown, "token-dialog").count(), 0);
  assert.equal(new URL(shown.url()).hash, ""); // it is not kept in the browser's history
  assert.deepEqual(found, []);
  await other.close();

  const { context: stranger } = await open_watched(browser, base);
  const late = await stranger.newPage();
  await late.goto(`${base}/#login=a%2Fcode`);
  assert.match(await by(late, "notice-error").innerText(), /used before/);
  await by(late, "token-dialog").waitFor();
  await stranger.close();
  mock.token = "";
});

test("a token that may not do something says so and can be changed", { skip: !process.env.CHORD_MOCK }, async () => {
  Object.assign(mock, { token: "a token; of 16 bytes", reader_token: "a reader's token" });
  const { context: other } = await open_watched(browser, base); // the 403 is a line of its console
  const asked = await other.newPage();
  await asked.goto(`${base}/#token=${encodeURIComponent(mock.reader_token)}`);
  await wait_data(asked, "link", "link", "live");
  const node = members_of(mock.ring.snapshot())[0];
  await by(asked, `kill-${node.address}`).first().click();
  await by(asked, "kill-input").fill(node.id);
  await by(asked, "kill-confirm").click();
  assert.match(await by(asked, "token-reason").innerText(), /needs the role operator/);
  await by(asked, "token-dialog").getByRole("button", { name: "Cancel" }).click();
  assert.match(await by(asked, "notice-error").innerText(), /needs the role operator/);
  assert.equal(members_of(mock.ring.snapshot()).some((other_node) => other_node.id === node.id), true);
  await other.close();
  Object.assign(mock, { token: "", reader_token: "" });
});

test("ranges that have lost their majority are painted dead, and their keys counted", { skip: !process.env.CHORD_MOCK }, async () => {
  const { context: other, faults: found } = await open_watched(browser, base);
  const shown = await other.newPage();
  const sentence = "survives 0; 38 % of the keys have lost their majority; start 127.0.0.1:4002 or 127.0.0.1:4005";
  const lost = [{ lo: "00000000", hi: "40000000", keys: 30, members: 3, alive: 1 }, { lo: "c0000000", hi: "d0000000", keys: 8, members: 3, alive: 1 }];
  await other.route("**/api/v1/events*", (route) => route.fulfill({ status: 503, body: "{}" }));
  let answer = { ...mock.ring.snapshot(), m: 32, state: "degraded", state_reason: sentence, survives_failures: 0, keys: 100,
    keys_lost: 38, lost, members: 1, cpu: { percent: 12.5, cores: 2 } };
  await other.route("**/api/v1/ring", (route) => route.fulfill({ json: answer }));
  await shown.goto(base);
  await wait_data(shown, "ring-state", "state", "degraded");
  assert.equal(await by(shown, "ring-reason").textContent(), sentence);
  assert.equal(await survival_said(shown), 1);
  assert.equal(await by(shown, "ring-lost").count(), 2);
  assert.equal(await by(shown, "keys-total").textContent(), "100");
  assert.match(await by(shown, "keys-lost").textContent(), /38 of them cannot be read now/);
  assert.match(await shown.locator(".tiles").textContent(), /machine: 12\.5 % of 2 cores/);
  const ids = (numbers) => answer.nodes.map((node, i) => ({ ...node, state: "member", id: numbers[i].toString(16).padStart(8, "0") }));
  answer = { ...answer, nodes: ids(answer.nodes.map((_, i) => i + 1)) };
  await by(shown, "uneven").waitFor();
  assert.match(await by(shown, "uneven").textContent(), /chordctl rebalance/);
  answer = { ...answer, nodes: ids(answer.nodes.map((_, i) => Math.floor(i * 2 ** 32 / answer.nodes.length))) };
  await by(shown, "uneven").waitFor({ state: "detached" });
  assert.equal(await by(shown, "evenness").textContent(), "1.0 to 1.0 of the mean");
  answer = { ...answer, state: "healing", state_reason: "the predecessor of node 2a should be 17" };
  await wait_data(shown, "ring-state", "state", "healing");
  assert.equal(await survival_said(shown), 1);
  assert.deepEqual(found, []);
  await other.close();
});

test("odd answers: no node, fields that are null, nobody answers", { skip: !process.env.CHORD_MOCK }, async () => {
  const { context: other, faults: found } = await open_watched(browser, base);
  const odd = await other.newPage();
  let answer = { nodes: [] };
  await odd.route("**/api/v1/events*", (route) => route.fulfill({ status: 503, body: "{}" }));
  await odd.route("**/api/v1/ring", (route) => route.fulfill(answer.status ? answer : { json: answer }));
  await odd.goto(base);
  await by(odd, "no-nodes").waitFor();
  answer = { m: 160, n: 3, replicas: 3, state: "forming", state_reason: null, survives_failures: null, memory: null, keys: null,
    nodes: [{ id: "f".repeat(40), address: "10.0.0.1:4001", slot: null, dashboard: null, state: "member", since_ms: null, keys: null,
      keys_stored: null, bytes_stored: null, cpu_percent: null, pss_bytes: null, uptime_ms: null, incarnation: null, predecessor: null,
      successors: null, copies_short: null, recovered: 1, bad_rows: 2, range: null, disputed: true },
    { id: "8".repeat(40), address: "10.0.0.2:4001", slot: null, dashboard: "javascript:alert(1)", state: "odd", successors: [], range: { lo: "8".repeat(40), hi: "8".repeat(40) } }] };
  await by(odd, "row-10.0.0.2:4001").waitFor();
  assert.equal(await odd.locator('a[href^="javascript"]').count(), 0);
  assert.match(await by(odd, "recovered-10.0.0.1:4001").textContent(), /recovered by hand/);
  assert.match(await by(odd, "bad-rows-10.0.0.1:4001").textContent(), /2 damaged/);
  answer = { status: 503, contentType: "application/problem+json", body: JSON.stringify({ title: "no node answers", status: 503, detail: "none of 5 known nodes answers" }) };
  await by(odd, "stale").waitFor();
  assert.match(await by(odd, "ring-reason").textContent(), /none of 5 known nodes answers/);
  assert.match(await by(odd, "stale").textContent(), /as of \d\d:\d\d:\d\d/);
  assert.deepEqual(found, []);
  await other.close();
});

test("a node's own page tells of a broken rule", { skip: !process.env.CHORD_MOCK }, async () => {
  const broken = mock.ring.list.find((node) => node.state === "member");
  const node_page = await context.newPage();
  await node_page.goto(mock.ring.brief(broken).dashboard);
  await by(node_page, "node-address").waitFor();
  assert.equal(await by(node_page, "invariant").count(), 0);
  broken.invariant = "two views overlap";
  await node_page.reload();
  await by(node_page, "invariant").waitFor();
  assert.match(await by(node_page, "invariant").textContent(), /two views overlap/);
  broken.invariant = "";
  await node_page.close();
});

test("when the gateway goes, what is shown is marked as old", { skip: !process.env.CHORD_MOCK }, async () => {
  await mock.close();
  await by(page, "stale").waitFor();
  await wait_data(page, "ring-state", "state", "silent");
  assert.ok(await by(page, "row-" + left_node.address).isVisible(), "the last view stays");
});
