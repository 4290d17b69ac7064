#!/usr/bin/env node
// SPDX-License-Identifier: MIT
// Puts the third-party modules that the pages use into OUTDIR, with the bare imports between them
// rewritten to relative paths: the pages run under `default-src 'self'`, which allows no inline
// import map. Runs at build time (gateway/CMakeLists.txt), never in a browser.
//
//     node vendor.mjs OUTDIR
//
// The modules come from a folder that has the very versions of package-lock.json: web/node_modules,
// or what an earlier build fetched. Only when there is none, npm fetches them beside OUTDIR; after
// that no build on this machine needs the network. Nothing is written into the source folder.

import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
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

const web = dirname(fileURLToPath(import.meta.url));
const build = dirname(resolve(outdir));
const own = join(build, "web-modules");

function read_json(path) {
  return JSON.parse(readFileSync(path, "utf8"));
}

/** Whether a node_modules folder holds all modules in the versions of the lock file. */
function is_complete(modules) {
  const wanted = Object.entries(read_json(join(web, "package-lock.json")).packages).filter(([name]) => name);
  return wanted.every(([name, { version }]) => {
    const about = join(dirname(modules), name, "package.json");
    return existsSync(about) && read_json(about).version === version;
  });
}

/** A folder with the modules: one that is there, else a new one by npm. */
function find_modules() {
  const siblings = readdirSync(dirname(build)).map((name) => join(dirname(build), name, "web-modules"));
  const there = [own, web, ...siblings].map((folder) => join(folder, "node_modules"))
    .find((modules) => existsSync(modules) && is_complete(modules));
  if (there) return there;
  mkdirSync(own, { recursive: true });
  for (const name of ["package.json", "package-lock.json"]) copyFileSync(join(web, name), join(own, name));
  const npm = spawnSync("npm", ["ci", "--prefer-offline", "--no-audit", "--no-fund", "--fetch-retries=1"],
    { cwd: own, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  if (npm.status !== 0) {
    throw new Error("npm could not fetch the page's modules, which the first build needs once from the network "
      + `(${Object.keys(read_json(join(web, "package.json")).dependencies).join(", ")}); connect this machine and `
      + `build again, or copy web-modules/ of another build into ${build}\n`
      + (npm.error ? String(npm.error.message) : `${npm.stdout}${npm.stderr}`));
  }
  return join(own, "node_modules");
}

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
  const modules = find_modules();
  mkdirSync(outdir, { recursive: true });
  for (const [name, [source, target]] of Object.entries(MODULES)) {
    const path = join(modules, source);
    if (!existsSync(path)) throw new Error(`${path} is missing`);
    const { license, version } = JSON.parse(readFileSync(join(modules,
      name === "preact/hooks" ? "preact" : name, "package.json"), "utf8"));
    const text = rewrite_imports(readFileSync(path, "utf8"), name);
    writeFileSync(join(outdir, target), `/* ${name} ${version}, ${license} */\n${text}`);
  }
} catch (error) {
  console.error(`vendor.mjs: ${error.message}`);
  process.exit(1);
}
