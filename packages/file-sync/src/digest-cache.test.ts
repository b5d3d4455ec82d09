import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  cacheOwner,
  decodeDigestCache,
  encodeDigestCache,
  loadDigestCache,
  saveDigestCache,
} from "./digest-cache.ts";
import { temporaryDirectory } from "./push-testing.ts";

const owner = cacheOwner("memory:", [{ name: "files", kind: "directory", path: "/files" }]);
const cache = {
  files: [
    {
      path: "files/new\nline",
      sha256: "cd".repeat(32),
      identity: { size: 5, mtimeNs: -1n, ctimeNs: 2n ** 62n, inode: 2n ** 63n },
    },
  ],
  rootIdentities: new Map([["files", { device: undefined, inode: 12n }]]),
};

describe("a digest cache", () => {
  test("is read as it was saved, and replaced as a whole", async () => {
    const directory = join(temporaryDirectory(), "state");
    await saveDigestCache(directory, owner, { ...cache, files: [] });
    await saveDigestCache(directory, owner, cache);
    expect(await loadDigestCache(directory, owner)).toEqual(cache);
  });

  test("of another store or of other roots is none", async () => {
    const directory = temporaryDirectory();
    await saveDigestCache(directory, owner, cache);
    for (const [location, path] of [
      ["memory:other", "/files"],
      ["memory:", "/elsewhere"],
    ] as const) {
      const other = cacheOwner(location, [{ name: "files", kind: "directory", path }]);
      expect(await loadDigestCache(directory, other)).toBeUndefined();
    }
  });

  test("that is absent or cannot be read is none, and no error", async () => {
    const directory = temporaryDirectory();
    expect(await loadDigestCache(directory, owner)).toBeUndefined();
    mkdirSync(join(directory, "digest-cache.jsonl"));
    expect(await loadDigestCache(directory, owner)).toBeUndefined();
    writeFileSync(join(directory, "file"), "");
    expect(await loadDigestCache(join(directory, "file"), owner)).toBeUndefined();
  });

  test("cut anywhere, or with any byte changed, is none", async () => {
    const directory = temporaryDirectory();
    const bytes = encodeDigestCache(owner, cache);
    const load = async (damaged: Uint8Array) => {
      writeFileSync(join(directory, "digest-cache.jsonl"), damaged);
      return await loadDigestCache(directory, owner);
    };
    for (let at = 0; at < bytes.length; at += 1) {
      expect(await load(bytes.subarray(0, at))).toBeUndefined();
      const flipped = new Uint8Array(bytes);
      flipped[at] = (flipped[at] ?? 0) ^ 1;
      expect(await load(flipped)).toBeUndefined();
    }
    expect(decodeDigestCache(bytes, owner)).toEqual(cache);
  });
});
