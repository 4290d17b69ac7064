#!/usr/bin/env node
// SPDX-License-Identifier: MIT
// Writes generated/contract.js: the messages of proto/chord/v1 as protobufjs's JSON descriptor, so that
// nothing reads .proto files at run time. Runs with `npm run build`, also as npm's prepare step; needs no
// protoc.

import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";

const here = dirname(fileURLToPath(import.meta.url));
const proto = join(here, "..", "..");
const NAMES = ["common", "envelope", "kv", "meta", "admin"];

const root = new protobuf.Root();
root.resolvePath = (_, target) => join(proto, target);
root.loadSync(NAMES.map((name) => `chord/v1/${name}.proto`));
root.resolveAll();
mkdirSync(join(here, "generated"), { recursive: true });
writeFileSync(join(here, "generated", "contract.js"),
  `// SPDX-License-Identifier: MIT\n// Made by build.mjs from proto/chord/v1.\n`
  + `export default ${JSON.stringify(root.toJSON(), null, 1)};\n`);
