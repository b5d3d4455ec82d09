import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MemoryStore } from "@vaultwarden-stream/object-store";
import { expect, it } from "vitest";
import { encodeTestLtx, restoreDatabase } from "wal-replicator/internals";

// The lock page lies behind 1 GiB of pages that a snapshot must hold: it takes a gigabyte of disk, though little of anything else.
it.each([
  ["before it", 16_384],
  ["with it", 16_385],
  ["behind it", 16_386],
])("a database that ends %s is restored with an all-zero lock page", async (_, commit) => {
  const pageSize = 65_536;
  const lock = 16_385;
  const page = new Uint8Array(pageSize).fill(1);
  const pages = new Map<number, Uint8Array>();
  for (let pgno = 1; pgno <= commit; pgno += 1) if (pgno !== lock) pages.set(pgno, page);
  const store = new MemoryStore();
  const key = "0000/0000000000000001-0000000000000001.ltx";
  await store.put(key, encodeTestLtx({ pageSize, min: 1, commit, pages }));
  const directory = await mkdtemp(join(tmpdir(), "restore-lock-page-"));
  try {
    const path = join(directory, "restored.db");
    const root = { store, prefix: "", timelinesUnder: "" };
    await restoreDatabase({ root, path, skipIntegrityCheck: true });
    await using file = await open(path);
    expect((await file.stat()).size).toBe(commit * pageSize);
    const end = new Uint8Array((commit - 16_383) * pageSize);
    await file.read(end, 0, end.length, 16_383 * pageSize);
    for (let pgno = 16_384; pgno <= commit; pgno += 1) {
      const first = (pgno - 16_384) * pageSize;
      const byte = pgno === lock ? 0 : 1;
      expect(end.subarray(first, first + pageSize).every((each) => each === byte)).toBe(true);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
