import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type FaultPlan,
  FaultyStore,
  MemoryStore,
  type ObjectStore,
} from "@vaultwarden-stream/object-store";
import BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checksumPage, formatChecksum, rollingChecksum } from "../ltx/page-checksum.ts";
import { toTxid } from "../ltx/txid.ts";
import { encodeTestLtx, noisePage, type TestLtx } from "../replica/encode-test-ltx.ts";
import type { ReplicaRoot } from "../replica/replica.ts";
import { formatLtxKey } from "../replica/replica-layout.ts";
import { type RestoreOptions, type RestoreProgress, restoreDatabase } from "./restore.ts";

const pageSize = 512;

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "restore-"));
  path = join(directory, "restored.db");
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** A page's number and a seed: `[3, 7]` is page 3 with content 7. */
type Page = readonly [pgno: number, seed: number];

function pagesOf(entries: readonly Page[]): Map<number, Uint8Array> {
  return new Map(entries.map(([pgno, seed]) => [pgno, noisePage(pageSize, seed)]));
}

function ltx(
  min: number,
  commit: number,
  pages: readonly Page[],
  rest: Partial<TestLtx> = {},
): TestLtx {
  return { pageSize, min, commit, pages: pagesOf(pages), ...rest };
}

function keyOf(level: number, file: TestLtx): string {
  const range = { minTxid: toTxid(file.min), maxTxid: toTxid(file.max ?? file.min) };
  return formatLtxKey({ level, ...range }, "s3");
}

async function replica(
  ...files: readonly (readonly [level: number, file: TestLtx])[]
): Promise<MemoryStore> {
  const store = new MemoryStore();
  for (const [level, file] of files) {
    await store.put(keyOf(level, file), encodeTestLtx(file), {
      timestamp: new Date(file.min * 1_000),
    });
  }
  return store;
}

function rootOf(store: ObjectStore): ReplicaRoot {
  return { store, prefix: "", timelinesUnder: "" };
}

function restore(store: ObjectStore, rest: Partial<RestoreOptions> = {}) {
  return restoreDatabase({ root: rootOf(store), path, skipIntegrityCheck: true, ...rest });
}

/** Pages in order; undefined: all zero. */
function imageOf(...seeds: readonly number[]): Buffer {
  return Buffer.concat(seeds.map((seed) => noisePage(pageSize, seed)));
}

async function expectUntouched(): Promise<void> {
  expect(await readdir(directory)).toEqual([]);
}

describe("restoreDatabase", () => {
  const first = ltx(1, 3, [
    [1, 1],
    [2, 2],
    [3, 3],
  ]);
  const second = ltx(2, 4, [
    [2, 22],
    [4, 4],
  ]);
  const third = ltx(3, 4, [[4, 44]]);

  it("gives every page its newest image, and says what it has restored", async () => {
    const store = await replica([0, first], [0, second], [0, third]);
    const result = await restore(store);
    expect(await readFile(path)).toEqual(imageOf(1, 22, 3, 44));
    const pages = [1, 22, 3, 44].map((seed, index) => ({
      pgno: index + 1,
      data: noisePage(pageSize, seed),
    }));
    expect(result).toMatchObject({
      timeline: "",
      txid: 3n,
      timestamp: new Date(3_000),
      pageSize,
      pageCount: 4,
      rollingChecksum: formatChecksum(rollingChecksum(pageSize, pages)),
      isRollingChecksumProved: false,
      damagedKeys: [],
    });
    const { low, high } = checksumPage(2, noisePage(pageSize, 22));
    expect(result.pageChecksums.equals(2, low, high)).toBe(true);
    expect(await readdir(directory)).toEqual(["restored.db"]);
  });

  it("cuts what a shrinking commit cut off", async () => {
    const store = await replica([0, first], [0, ltx(2, 2, [[1, 11]])]);
    await restore(store);
    expect(await readFile(path)).toEqual(imageOf(11, 2));
  });

  it("takes pages that a later growth wrote, and not what lay there before the shrink", async () => {
    const store = await replica([0, first], [0, ltx(2, 2, [[1, 11]])], [0, ltx(3, 3, [[3, 33]])]);
    await restore(store);
    expect(await readFile(path)).toEqual(imageOf(11, 2, 33));
  });

  it("refuses a stale page that a growth without its pages would bring back, and names the file", async () => {
    const grown = ltx(3, 3, [[1, 12]]);
    const store = await replica([0, first], [0, ltx(2, 2, [[1, 11]])], [0, grown]);
    await expect(restore(store)).rejects.toMatchObject({
      code: "CHAIN_BROKEN",
      key: keyOf(0, grown),
      level: 0,
      txid: 3n,
    });
    await expectUntouched();
  });

  it("allocates nothing by a size that no file could fill", async () => {
    const huge = ltx(2, 0xffff_ffff, [[1, 11]]);
    const store = await replica([0, first], [0, huge]);
    await expect(restore(store)).rejects.toMatchObject({
      code: "VERIFICATION_FAILED",
      key: keyOf(0, huge),
    });
    await expectUntouched();
  });

  it("goes on from a full copy with another page size, and refuses one that is not full", async () => {
    const pages = new Map([
      [1, noisePage(1024, 9)],
      [2, noisePage(1024, 8)],
    ]);
    const full = { pageSize: 1024, min: 2, commit: 2, pages };
    await restore(await replica([0, first], [0, full]));
    expect(await readFile(path)).toEqual(Buffer.concat([...pages.values()]));
    const part = { ...full, pages: new Map([[2, noisePage(1024, 8)]]) };
    await expect(
      restore(await replica([0, first], [0, part]), { overwrite: true }),
    ).rejects.toMatchObject({
      code: "CHAIN_BROKEN",
      key: keyOf(0, part),
    });
  });

  it("reports progress up to the last byte and file", async () => {
    const store = await replica([0, first], [0, second]);
    const seen: RestoreProgress[] = [];
    const { bytesRead } = await restore(store, { onProgress: (progress) => seen.push(progress) });
    expect(seen.at(-1)).toEqual({
      bytesDone: bytesRead,
      bytesTotal: bytesRead,
      filesDone: 2,
      filesTotal: 2,
    });
  });
});

describe("a restore of a damaged replica", () => {
  const first = ltx(1, 2, [
    [1, 1],
    [2, 2],
  ]);
  const second = ltx(2, 2, [[2, 22]]);
  const merged = ltx(
    1,
    2,
    [
      [1, 1],
      [2, 22],
    ],
    { max: 2 },
  );

  function faulty(store: MemoryStore, plan: FaultPlan): FaultyStore {
    return new FaultyStore(store, plan);
  }

  it("names the file that arrives garbled, whichever byte it is", async () => {
    const inner = await replica([0, first], [0, second]);
    const { size } = await inner.head(keyOf(0, second));
    for (let atByte = 0; atByte < size; atByte += 7) {
      const store = faulty(inner, ({ operation, key }) =>
        operation === "get" && key === keyOf(0, second)
          ? { kind: "garble-body", atByte }
          : undefined,
      );
      await expect(restore(store)).rejects.toMatchObject({
        code: "VERIFICATION_FAILED",
        key: keyOf(0, second),
        cause: { name: "FormatError" },
      });
    }
    await expectUntouched();
  });

  it("names a file that was stored cut, wherever it ends", async () => {
    const store = await replica([0, first], [0, second]);
    const whole = encodeTestLtx(second);
    for (let size = whole.length - 1; size >= 0; size -= 11) {
      await store.put(keyOf(0, second), whole.subarray(0, size));
      await expect(restore(store)).rejects.toMatchObject({
        code: "VERIFICATION_FAILED",
        key: keyOf(0, second),
      });
    }
    await expectUntouched();
  });

  it("takes another way to the same TXID around a damaged file, and says so", async () => {
    const inner = await replica([0, first], [0, second], [1, merged]);
    const store = faulty(inner, ({ operation, key }) =>
      operation === "get" && key === keyOf(1, merged)
        ? { kind: "garble-body", atByte: 150 }
        : undefined,
    );
    const result = await restore(store);
    expect(await readFile(path)).toEqual(imageOf(1, 22));
    expect(result.damagedKeys).toEqual([keyOf(1, merged)]);
    expect(result.files.map(({ level }) => level)).toEqual([0, 0]);
  });

  it("plans anew for the same TXID if a file was merged away meanwhile", async () => {
    const inner = await replica([0, first], [0, second]);
    let isGone = false;
    const store = faulty(inner, ({ operation, key }) => {
      if (operation !== "get" || key !== keyOf(0, second) || isGone) return undefined;
      isGone = true;
      return {
        kind: "delay",
        wait: async () => {
          await inner.put(keyOf(1, merged), encodeTestLtx(merged));
          const third = ltx(3, 2, [[1, 111]]);
          await inner.put(keyOf(0, third), encodeTestLtx(third));
          await inner.delete(keyOf(0, second));
        },
      };
    });
    const result = await restore(store);
    expect(result).toMatchObject({ txid: 2n, damagedKeys: [] });
    expect(await readFile(path)).toEqual(imageOf(1, 22));
  });

  it("gives up after three new plans if a listed file is never there", async () => {
    let gets = 0;
    const store = faulty(await replica([0, first], [0, second]), ({ operation, key }) => {
      if (operation !== "get" || key !== keyOf(0, first)) return undefined;
      gets += 1;
      return { kind: "error-before", code: "NOT_FOUND" };
    });
    await expect(restore(store)).rejects.toMatchObject({
      code: "CHAIN_BROKEN",
      key: keyOf(0, first),
    });
    expect(gets).toBe(4);
    await expectUntouched();
  });

  it.each(["UNREACHABLE", "FORBIDDEN"] as const)(
    "passes %s of the store as it is",
    async (code) => {
      const store = faulty(await replica([0, first], [0, second]), ({ operation }) =>
        operation === "get" ? { kind: "error-before", code } : undefined,
      );
      await expect(restore(store)).rejects.toMatchObject({ name: "ObjectStoreError", code });
      await expectUntouched();
    },
  );

  it("never takes a cut download for the file", async () => {
    const inner = await replica([0, first], [0, second]);
    const { size } = await inner.head(keyOf(0, second));
    for (let afterBytes = 0; afterBytes < size; afterBytes += 40) {
      const store = faulty(inner, ({ operation, key }) =>
        operation === "get" && key === keyOf(0, second)
          ? { kind: "cut-body", afterBytes }
          : undefined,
      );
      await expect(restore(store)).rejects.toMatchObject({ code: "UNREACHABLE" });
    }
    await expectUntouched();
  });

  it("compares the rolling checksum that was recorded with the newest file", async () => {
    const store = await replica([0, first]);
    const proof = [1, 22].map((seed, index) => ({
      pgno: index + 1,
      data: noisePage(pageSize, seed),
    }));
    const put = (checksum: string) =>
      store.put(keyOf(0, second), encodeTestLtx(second), {
        metadata: { "rolling-checksum": checksum },
      });
    await put(formatChecksum(rollingChecksum(pageSize, proof)));
    expect(await restore(store)).toMatchObject({ isRollingChecksumProved: true });
    await put("8000000000000001");
    await expect(restore(store, { overwrite: true })).rejects.toMatchObject({
      code: "VERIFICATION_FAILED",
      key: keyOf(0, second),
    });
    expect(await readFile(path)).toEqual(imageOf(1, 22));
  });

  it("refuses a database that SQLite finds broken, unless told to take it", async () => {
    const store = await replica([0, first]);
    await expect(restore(store, { skipIntegrityCheck: false })).rejects.toMatchObject({
      code: "VERIFICATION_FAILED",
      path,
    });
    await expectUntouched();
    await restore(store);
  });

  it("leaves no file of SQLite's beside a database in WAL mode that it has checked", async () => {
    const source = new BetterSqlite3(join(directory, "source.db"));
    source.pragma(`page_size = ${pageSize}`);
    source.pragma("journal_mode = WAL");
    source.exec("CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(3000))");
    source.close();
    const bytes = await readFile(join(directory, "source.db"));
    await rm(join(directory, "source.db"));
    const pages = new Map<number, Uint8Array>();
    for (let at = 0; at < bytes.length; at += pageSize) {
      pages.set(at / pageSize + 1, bytes.subarray(at, at + pageSize));
    }
    const store = await replica([0, { pageSize, min: 1, commit: pages.size, pages }]);
    await restore(store, { skipIntegrityCheck: false });
    expect(await readdir(directory)).toEqual(["restored.db"]);
    expect(await readFile(path)).toEqual(bytes);
  });
});

describe("the target of a restore", () => {
  const first = ltx(1, 1, [[1, 1]]);

  it("is refused if it exists, before anything is fetched", async () => {
    await writeFile(path, "mine");
    const store = new FaultyStore(await replica([0, first]), () => ({
      kind: "error-before",
      code: "UNREACHABLE",
    }));
    await expect(restore(store)).rejects.toMatchObject({ code: "TARGET_EXISTS", path });
    expect(await readFile(path, "utf8")).toBe("mine");
  });

  it("is refused if it appears while the restore runs", async () => {
    const store = new FaultyStore(await replica([0, first]), ({ operation }) =>
      operation === "get" ? { kind: "delay", wait: () => writeFile(path, "mine") } : undefined,
    );
    await expect(restore(store)).rejects.toMatchObject({ code: "TARGET_EXISTS" });
    expect(await readdir(directory)).toEqual(["restored.db"]);
    expect(await readFile(path, "utf8")).toBe("mine");
  });

  it("is replaced on demand, and what would be replayed into the new database goes with it", async () => {
    for (const suffix of ["", "-wal", "-shm", "-journal"]) await writeFile(path + suffix, "old");
    await writeFile(`${path}-other`, "mine");
    await restore(await replica([0, first]), { overwrite: true });
    expect((await readdir(directory)).sort()).toEqual(["restored.db", "restored.db-other"]);
    expect(await readFile(path)).toEqual(imageOf(1));
  });

  it("is replaced only after the caller has prepared for it, and stays if that fails", async () => {
    await writeFile(path, "old");
    await writeFile(`${path}-wal`, "old");
    const failure = new Error("not prepared");
    const beforePublish = async (): Promise<void> => {
      expect(await readFile(path, "utf8")).toBe("old");
      throw failure;
    };
    const store = await replica([0, first]);
    await expect(restore(store, { overwrite: true, beforePublish })).rejects.toBe(failure);
    expect((await readdir(directory)).sort()).toEqual(["restored.db", "restored.db-wal"]);
    await restore(store, { overwrite: true, beforePublish: async () => {} });
    expect(await readFile(path)).toEqual(imageOf(1));
  });

  it("is never a link or a directory, not even on demand", async () => {
    await symlink(join(directory, "elsewhere"), path);
    await expect(restore(await replica([0, first]), { overwrite: true })).rejects.toMatchObject({
      code: "TARGET_EXISTS",
    });
  });

  it("gets its directory if that is missing", async () => {
    const deep = join(directory, "a", "b", "restored.db");
    await restore(await replica([0, first]), { path: deep });
    expect(await readFile(deep)).toEqual(imageOf(1));
  });

  it("is freed of what a killed restore left, and of nothing else", async () => {
    const left = `${path}.restore-0123456789abcdef.tmp`;
    for (const file of [left, `${left}-wal`, `${left}-shm`, `${path}.restore-notes.tmp`]) {
      await writeFile(file, "");
    }
    await restore(await replica([0, first]));
    expect((await readdir(directory)).sort()).toEqual([
      "restored.db",
      "restored.db.restore-notes.tmp",
    ]);
  });

  it("says whose fault it is if the unfinished file is taken away", async () => {
    const store = new FaultyStore(await replica([0, first]), ({ operation }) => {
      if (operation !== "get") return undefined;
      const removeAll = async (): Promise<void> => {
        for (const file of await readdir(directory)) await rm(join(directory, file));
      };
      return { kind: "delay", wait: removeAll };
    });
    await expect(restore(store)).rejects.toMatchObject({ code: "TARGET_UNWRITABLE", path });
    await expectUntouched();
  });

  it("stays as it is when the restore is aborted, which passes its own reason", async () => {
    const reason = new Error("enough");
    const aborting = new AbortController();
    const store = new FaultyStore(await replica([0, first]), ({ operation }) => {
      if (operation !== "get") return undefined;
      queueMicrotask(() => aborting.abort(reason));
      return { kind: "stall" };
    });
    await expect(restore(store, { signal: aborting.signal })).rejects.toBe(reason);
    await expectUntouched();
  });
});

describe("a refusal to restore", () => {
  const first = ltx(1, 1, [[1, 1]]);
  const third = ltx(3, 1, [[1, 3]]);

  it.each([
    ["an empty store", [], {}, { code: "NOTHING_TO_RESTORE" }],
    ["a name that is none", [], { timeline: "../x" }, { code: "TIMELINE_UNKNOWN" }],
    ["an unknown timeline", [], { timeline: "00000001-00000000" }, { code: "TIMELINE_UNKNOWN" }],
    [
      "a TXID beyond the end",
      [first],
      { txid: toTxid(2) },
      { code: "TXID_NOT_REACHABLE", txid: 2n },
    ],
    [
      "a time before the beginning",
      [first],
      { before: new Date(1_000) },
      { code: "TIME_NOT_REACHABLE" },
    ],
    [
      "a hole",
      [first, third],
      {},
      { code: "CHAIN_BROKEN", level: 0, txid: 1n, key: keyOf(0, third) },
    ],
    ["files without a beginning", [third], {}, { code: "CHAIN_BROKEN", timeline: "" }],
  ] as const)("says what is wrong with %s", async (_, files, target, error) => {
    const store = await replica(...files.map((file) => [0, file] as const));
    await expect(restore(store, target)).rejects.toMatchObject({ name: "ReplicaError", ...error });
    await expectUntouched();
  });
});
