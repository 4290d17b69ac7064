// SPDX-License-Identifier: MIT
// What a TypeScript program sees of the package: `npm run types` compiles it, nothing runs it.

import { ChordError, Client, type Change, type Fate, type Result, type Row } from "chord-dht";

export async function use(client: Client, signal: AbortSignal): Promise<Fate> {
  const row: Row | null = await client.get("k", { stale: true, timeoutMs: 5, signal });
  const version: string | undefined = row?.version;
  const expiresAt: bigint | undefined = row?.expiresAt;
  const change: Change = await client.put(new Uint8Array(1), "v", { ifVersion: version, expiresAt });
  const [result]: Result[] = await client.batch([{ kind: "put", key: "k", value: "v", expiresAt: new Date() },
    { kind: "delete", key: "k", ifVersion: change.version }]);
  // @ts-expect-error a value is no number
  await client.put("k", 7);
  // @ts-expect-error there is no such condition
  await client.delete("k", { ifNewer: "1.1" });
  return result.fate;
}

export function fateOf(error: unknown): Fate {
  return error instanceof ChordError ? error.fate : "maybe done";
}
