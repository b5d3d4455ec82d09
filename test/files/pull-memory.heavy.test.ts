import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ManifestEntry } from "@vaultwarden-stream/file-sync";
import { type ObjectStore, openObjectStore } from "@vaultwarden-stream/object-store";
import { runTypeScriptChild } from "@vaultwarden-stream/testkit";
import { expect, test } from "vitest";
import { openTestStore } from "../support/stores.ts";

// Goal: the size of a file has no part in the memory that a pull takes (predecessor.md, weakness 26).
// Method: a process of its own pulls a large blob and several at once beside it; its highest resident memory.

const mebibyte = 1024 * 1024;
const memoryBytesMax = 200_000_000;
const entry = new URL("pull-main.ts", import.meta.url).pathname;

async function putFile(store: ObjectStore, path: string, size: number, fill: number) {
  const chunk = new Uint8Array(mebibyte).fill(fill);
  const hash = createHash("sha256");
  for (let at = 0; at < size; at += mebibyte) hash.update(chunk);
  const sha256 = hash.digest("hex");
  const open = async function* () {
    for (let at = 0; at < size; at += mebibyte) yield chunk;
  };
  await store.put(`files/blobs/${sha256.slice(0, 2)}/${sha256}`, { size, open });
  return { kind: "file", path, mode: 0o600, mtimeMs: 0, size, sha256 } satisfies ManifestEntry;
}

test.for(["directory", "aws"] as const)(
  "weakness 26: a pull of files of up to 300 MB takes less than 200 MB of memory, from a store that is %s",
  async (name) => {
    await using place = await openTestStore(name);
    const directory = mkdtempSync(join(tmpdir(), "pull-memory-"));
    try {
      const store = openObjectStore(place.replica);
      const entries: ManifestEntry[] = [await putFile(store, "r/large", 300 * mebibyte, 1)];
      for (let file = 2; file <= 9; file += 1) {
        entries.push(await putFile(store, `r/${file}`, 24 * mebibyte, file));
      }
      const exit = await runTypeScriptChild(entry, {
        arguments: [place.replica, join(directory, "building"), JSON.stringify(entries)],
      });
      const said = JSON.parse(exit.stdout) as { readonly memoryBytes: number };
      expect(said).toMatchObject({ bad: [], fetchedBytes: (300 + 8 * 24) * mebibyte });
      console.log(`${name}: ${Math.round(said.memoryBytes / 1e6)} MB`);
      expect(said.memoryBytes).toBeLessThan(memoryBytesMax);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  },
);
