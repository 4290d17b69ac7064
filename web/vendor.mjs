#!/usr/bin/env node
// Copies the third-party modules that the pages use from node_modules (put there by `npm ci`) into
// OUTDIR, with the bare imports between them rewritten to relative paths: the pages run under
// `default-src 'self'`, which allows no inline import map. Runs at build time, never in a browser.
//
//     node vendor.mjs OUTDIR

import { mkdirSync, readFileSync, writeFileSync, existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Bare specifier -> [file in node_modules, file in OUTDIR]. */
const MODULES = {
  "preact": ["preact/dist/preact.mjs", "preact.js"],
  "preact/hooks": ["preact/hooks/dist/hooks.mjs", "preact-hooks.js"],
  "htm": ["htm/dist/htm.mjs", "htm.js"],
  "@preact/signals-core": ["@preact/signals-core/dist/signals-core.mjs", "signals-core.js"],
  "@preact/signals": ["@preact/signals/dist/signals.mjs", "signals.js"],
};

const outdir = process.argv[2];
if (!outdir) {
  console.error("vendor.mjs: name the folder to write to: node vendor.mjs OUTDIR");
  process.exit(2);
}

const modules = join(dirname(fileURLToPath(import.meta.url)), "node_modules");

/** Rewrites `from"x"` and `import"x"` of a known module; an unknown bare import stops the build. */
function rewrite_imports(text, name) {
  return text
    .replace(/\b(from|import)\s*(["'])([^"'\n]+)\2/g, (whole, word, quote, target) => {
      if (target.startsWith("./")) return whole;
      if (!MODULES[target]) throw new Error(`${name} imports ${target}, which vendor.mjs does not list`);
      return `${word}${quote}./${MODULES[target][1]}${quote}`;
    })
    .replace(/\n?\/\/# sourceMappingURL=\S+\s*$/, "\n");
}

try {
  mkdirSync(outdir, { recursive: true });
  for (const [name, [source, target]] of Object.entries(MODULES)) {
    const path = join(modules, source);
    if (!existsSync(path)) throw new Error(`${path} is missing; run npm ci in the folder web`);
    const { license, version } = JSON.parse(readFileSync(join(modules,
      name === "preact/hooks" ? "preact" : name, "package.json"), "utf8"));
    const text = rewrite_imports(readFileSync(path, "utf8"), name);
    writeFileSync(join(outdir, target), `/* ${name} ${version}, ${license} */\n${text}`);
  }
} catch (error) {
  console.error(`vendor.mjs: ${error.message}`);
  process.exit(1);
}
