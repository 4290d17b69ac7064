// SPDX-License-Identifier: MIT
// Starts headless Chromium for the page tests and watches what no page may do: console errors,
// uncaught errors, CSP violations, requests to any host but the dashboard's, assets that fail.

import { chromium } from "playwright-core";

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"];

/** What Chromium writes by itself when an API answer is an error status; the pages handle those. */
const API_ERROR = /\/api\/v1\/(kv|nodes|operations|imports|ring|events|lookups)\b/;

export function launch_browser() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
}

/**
 * A context whose pages are watched; `faults` fills with sentences.
 * @param {import("playwright-core").Browser} browser @param {string} base_url
 */
export async function open_watched(browser, base_url, options = {}) {
  const faults = [];
  const { hostname } = new URL(base_url);
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true, ...options });
  context.setDefaultTimeout(Number(process.env.WAIT_MS ?? 20000));
  await context.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => console.error(`CSP violation: ${event.violatedDirective} ${event.blockedURI}`));
  });
  context.on("request", (request) => {
    const url = new URL(request.url());
    if (/^(http|ws)s?:$/.test(url.protocol) && url.hostname !== hostname) faults.push(`request to another host: ${request.url()}`);
  });
  context.on("response", (response) => {
    if (response.status() >= 400 && !response.url().includes("/api/v1/")) faults.push(`${response.status()} for ${response.url()}`);
  });
  context.on("console", (message) => {
    if (message.type() !== "error") return;
    if (message.text().startsWith("Failed to load resource") && API_ERROR.test(message.location().url)) return;
    faults.push(`console error: ${message.text()} (${message.location().url})`);
  });
  context.on("weberror", (error) => faults.push(`uncaught: ${error.error().message}`));
  return { context, faults };
}

/** Locator by data-testid. */
export const by = (page, id) => page.locator(`[data-testid="${id}"]`);

/** Waits until an element carries a data attribute with a value. */
export const wait_data = (page, id, name, value, timeout) =>
  page.locator(`[data-testid="${id}"][data-${name}="${value}"]`).first().waitFor(timeout ? { timeout } : {});
