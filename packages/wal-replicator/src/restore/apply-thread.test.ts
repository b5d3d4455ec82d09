import { once } from "node:events";
import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import { FaultyStore, MemoryStore, type ObjectStore } from "@vaultwarden-stream/object-store";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FormatError, ReplicationError } from "../errors.ts";
import { formatChecksum, rollingChecksum } from "../ltx/page-checksum.ts";
import { toTxid } from "../ltx/txid.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import { encodeTestLtx, noisePage, type TestLtx } from "../replica/encode-test-ltx.ts";
import { ReplicaError } from "../replica/replica-error.ts";
import { formatLtxKey } from "../replica/replica-layout.ts";
import { startApplyThread } from "./apply-thread.ts";
import type { PartApplier } from "./part-applier.ts";
import { type RestoreOptions, type RestoreResult, restoreDatabase } from "./restore.ts";

const pageSize = 4096;

let directory: string;
let path: string;
/** Of threads that were started and that ended in this test. */
let startedCount: number;
let endedCount: number;
const countThread = (worker: Worker): void => {
  startedCount += 1;
  worker.once("exit", () => {
    endedCount += 1;
  });
};
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "apply-thread-"));
  path = join(directory, "restored.db");
  startedCount = 0;
  endedCount = 0;
  process.on("worker", countThread);
});
afterEach(async () => {
  process.off("worker", countThread);
  await rm(directory, { recursive: true, force: true });
});

function ltx(min: number, commit: number, pgnos: Iterable<number>, rest: Partial<TestLtx> = {}) {
  const pages = new Map([...pgnos].map((pgno) => [pgno, noisePage(pageSize, min * 10_000 + pgno)]));
  return { pageSize, min, commit, pages, ...rest };
}

function* upTo(last: number): Generator<number> {
  for (let pgno = 1; pgno <= last; pgno += 1) yield pgno;
}

function keyOf({ min }: TestLtx): string {
  return formatLtxKey({ level: 0, minTxid: toTxid(min), maxTxid: toTxid(min) }, "s3");
}

async function replica(files: readonly TestLtx[], rolling?: string): Promise<MemoryStore> {
  const store = new MemoryStore();
  for (const file of files) {
    const metadata = rolling === undefined ? {} : { metadata: { "rolling-checksum": rolling } };
    await store.put(keyOf(file), encodeTestLtx(file), { timestamp: new Date(0), ...metadata });
  }
  return store;
}

function restore(store: ObjectStore, rest: Partial<RestoreOptions> = {}): Promise<RestoreResult> {
  const root = { store, prefix: "", timelinesUnder: "" };
  const inThread = { threadBytesMin: 0 };
  return restoreDatabase({ root, path, skipIntegrityCheck: true, ...inThread, ...rest });
}

/** 12 MB: more than one part. Shrinks, grows, and overwrites. */
const files = [
  ltx(1, 3_000, upTo(3_000)),
  ltx(2, 2_000, [1, 5, 2_000]),
  ltx(3, 2_002, [1, 2_001, 2_002]),
];

describe("a restore whose files are applied by a thread", () => {
  it("gives what this thread gives, and leaves no thread behind", async () => {
    const store = await replica(files);
    const expected = await restore(store, { threadBytesMin: Number.POSITIVE_INFINITY });
    const bytes = await readFile(path);
    expect(startedCount).toBe(0);
    const progress: number[] = [];
    const result = await restore(store, {
      overwrite: true,
      onProgress: ({ bytesDone }) => progress.push(bytesDone),
    });
    expect(result).toEqual(expected);
    expect(result.pageChecksums.halves).toEqual(expected.pageChecksums.halves);
    expect((await readFile(path)).equals(bytes)).toBe(true);
    expect(progress.at(-1)).toBe(expected.bytesRead);
    expect([startedCount, endedCount]).toEqual([1, 1]);
  });

  it("proves the recorded rolling checksum, and refuses another", async () => {
    const [file] = files as [TestLtx];
    const pages = [...file.pages].map(([pgno, data]) => ({ pgno, data }));
    const recorded = formatChecksum(rollingChecksum(pageSize, pages));
    expect(await restore(await replica([file], recorded))).toMatchObject({
      rollingChecksum: recorded,
      isRollingChecksumProved: true,
    });
    const other = await replica([file], "8000000000000001");
    const error = await restore(other, { overwrite: true }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ReplicaError);
    expect(error).toMatchObject({ code: "VERIFICATION_FAILED", key: keyOf(file), txid: 1n });
  });

  it("names the file that is damaged, with the reason", async () => {
    const store = await replica(files);
    const file = files[1] as TestLtx;
    const bytes = encodeTestLtx(file);
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
    await store.put(keyOf(file), bytes);
    const error = await restore(store).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ReplicaError);
    expect(error).toMatchObject({ code: "VERIFICATION_FAILED", key: keyOf(file), txid: 2n });
    expect((error as Error).cause).toBeInstanceOf(FormatError);
    expect((error as Error).cause).toMatchObject({ code: "LTX_CHECKSUM_MISMATCH" });
    expect(endedCount).toBe(startedCount);
  });

  it("names the file that left a page out", async () => {
    const grown = ltx(4, 2_004, [2_004]);
    const error = await restore(await replica([...files, grown])).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ReplicaError);
    expect(error).toMatchObject({ code: "CHAIN_BROKEN", key: keyOf(grown), txid: 4n });
  });

  it("ends the thread when it is aborted, or when the store fails", async () => {
    const inner = await replica(files);
    const aborting = new AbortController();
    const stalling = new FaultyStore(inner, ({ key }) =>
      key === keyOf(files[0] as TestLtx) ? { kind: "stall" } : undefined,
    );
    const aborted = restore(stalling, {
      signal: aborting.signal,
      onProgress: () => aborting.abort(new Error("enough")),
    });
    await expect(aborted).rejects.toThrow("enough");
    expect([startedCount, endedCount]).toEqual([1, 1]);
    const failing = new FaultyStore(inner, ({ key }) =>
      key === keyOf(files[0] as TestLtx) ? { kind: "error-before", code: "FORBIDDEN" } : undefined,
    );
    await expect(restore(failing)).rejects.toMatchObject({ code: "FORBIDDEN" });
    expect([startedCount, endedCount]).toEqual([2, 2]);
  });

  it("needs none for little", async () => {
    const size = encodeTestLtx(files[0] as TestLtx).length;
    const store = await replica([files[0] as TestLtx]);
    await restore(store, { threadBytesMin: size + 1 });
    expect(startedCount).toBe(0);
    await restore(store, { threadBytesMin: size, overwrite: true });
    expect(startedCount).toBe(1);
  });
});

describe("startApplyThread", () => {
  const file = ltx(1, 40, upTo(40));
  const bytes = encodeTestLtx(file);
  const newestFirst: readonly ReplicaFile[] = [
    {
      timeline: "",
      level: 0,
      minTxid: toTxid(1),
      maxTxid: toTxid(1),
      key: keyOf(file),
      size: bytes.length,
      createdAt: new Date(0),
    },
  ];
  const part = (chunks: readonly Uint8Array[], isLastOfFile = true) => ({
    fileIndex: 0,
    chunks,
    isLastOfFile,
  });

  async function start(source?: string): Promise<PartApplier> {
    const entry = source === undefined ? undefined : join(directory, "thread.mjs");
    const beginning = 'import { parentPort } from "node:worker_threads";\n';
    if (entry !== undefined) await writeFile(entry, beginning + source);
    const thread = startApplyThread({ newestFirst, path, temporaryPath: path }, entry);
    return thread as PartApplier;
  }

  it("has nothing to offer where the thread's file is missing", () => {
    const entry = join(directory, "missing.mjs");
    expect(startApplyThread({ newestFirst, path, temporaryPath: path }, entry)).toBeUndefined();
  });

  it("takes the memory of whole buffers, and leaves that of others alone", async () => {
    await (await open(path, "w")).close();
    await using thread = await start();
    const own = new Uint8Array(bytes.subarray(0, 50_000));
    const pool = new Uint8Array(bytes.length);
    pool.set(bytes);
    await thread.apply(part([own], false));
    await thread.apply(part([pool.subarray(50_000, 60_000), pool.subarray(60_000)]));
    expect(own.length).toBe(0);
    expect(Buffer.compare(pool, bytes)).toBe(0);
    expect(await thread.complete(undefined)).toMatchObject({ pageSize, pageCount: 40 });
    expect((await readFile(path)).equals(Buffer.concat([...file.pages.values()]))).toBe(true);
  });

  it("says that the target cannot be written to", async () => {
    await using thread = await start();
    const error = await thread.complete(undefined).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ReplicaError);
    expect(error).toMatchObject({ code: "TARGET_UNWRITABLE", path, cause: { code: "ENOENT" } });
  });

  it("waits until there is room for the next part", async () => {
    // Answers the first part only when it has the second.
    await using thread = await start(`
      let count = 0;
      parentPort.on("message", () => { if (++count === 2) parentPort.postMessage({ type: "applied" }); });
    `);
    await thread.apply(part([], false));
    let isSecondTaken = false;
    const second = thread.apply(part([], false)).then(() => {
      isSecondTaken = true;
    });
    // As long as nothing can have come from another thread.
    await Promise.resolve().then(() => {});
    expect(isSecondTaken).toBe(false);
    await second;
  });

  it.each([
    ["exits", "process.exit(3);", /with code 3/],
    ["throws", 'throw new Error("broken");', /broken/],
  ])("a thread that %s is an error, now and later, and no hang", async (_, source, message) => {
    const thread = await start(`parentPort.on("message", () => { ${source} });`);
    await thread.apply(part([], false));
    const errors: unknown[] = [];
    for (const call of [() => thread.apply(part([])), () => thread.complete(undefined)]) {
      errors.push(await call().catch((thrown: unknown) => thrown));
    }
    for (const error of errors) {
      expect(error).toBeInstanceOf(ReplicationError);
      expect(error).toMatchObject({
        code: "HELPER_FAILED",
        message: expect.stringMatching(message),
      });
    }
    await thread[Symbol.asyncDispose]();
    expect(endedCount).toBe(1);
  });

  it("is gone when it is disposed of, whatever it does", async () => {
    const started = once(process, "worker");
    const thread = await start('parentPort.on("message", () => { for (;;); });');
    const [worker] = (await started) as [Worker];
    await thread.apply(part([], false));
    await thread[Symbol.asyncDispose]();
    expect(worker.threadId).toBe(-1);
    expect(endedCount).toBe(1);
  });
});
