import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  DirectoryStore,
  FaultyStore,
  MemoryStore,
  type ObjectStore,
} from "@vaultwarden-stream/object-store";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { encodeTestLtx, noisePage } from "./encode-test-ltx.ts";
import { type LocalLtxFile, listTimeline, type ReplicaRoot, writeTimelineFile } from "./replica.ts";

const timeline = "00000001-0a0b0c0d";
const epoch = { timeline, nonce: "0a0b0c0d".repeat(4) };

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "replica-"));
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

function rootOf(store: ObjectStore): ReplicaRoot {
  return { store, prefix: "vault/", timelinesUnder: "db/" };
}

/** A snapshot at level 0, as the first capture writes it. */
function encodeLtx(txid: number, timestampMs: number, seed: number, pageCount = 2): Uint8Array {
  const pages = new Map<number, Uint8Array>();
  for (let pgno = 1; pgno <= pageCount; pgno += 1) pages.set(pgno, noisePage(4096, seed + pgno));
  return encodeTestLtx({ pageSize: 4096, min: txid, commit: pageCount, timestampMs, pages });
}

let fileCount = 0;
async function localFile(bytes: Uint8Array, txid: number): Promise<LocalLtxFile> {
  fileCount += 1;
  const path = join(directory, `local-${fileCount}`);
  await writeFile(path, bytes);
  const range = { minTxid: toTxid(txid), maxTxid: toTxid(txid) };
  return { path, size: bytes.length, name: { ...range, rollingChecksum: "8000000000000009" } };
}

describe("writeTimelineFile", () => {
  it.each([
    ["a small file", 2],
    ["a file that is streamed", 400],
  ])("stores %s with its header's time and the database's checksum", async (_, pageCount) => {
    const store = new MemoryStore();
    const bytes = encodeLtx(3, 1_795_440_712_014, 1, pageCount);
    const { key } = await writeTimelineFile(rootOf(store), epoch, await localFile(bytes, 3));
    expect(key).toBe(`vault/db/${timeline}/0000/0000000000000003-0000000000000003.ltx`);
    expect(await store.head(key)).toMatchObject({
      size: bytes.length,
      timestamp: new Date(1_795_440_712_014),
      metadata: { "rolling-checksum": "8000000000000009", "epoch-nonce": epoch.nonce },
    });
  });

  it("uses the layout of Litestream's file back end in a directory, and puts snapshots at level 9", async () => {
    const store = new DirectoryStore(join(directory, "store"));
    const file = await localFile(encodeLtx(1, 1_000, 1), 1);
    const { key } = await writeTimelineFile(rootOf(store), epoch, file, undefined, 9);
    expect(key).toBe(`vault/db/${timeline}/ltx/9/0000000000000001-0000000000000001.ltx`);
  });

  it("takes its own file that is there already for stored", async () => {
    const root = rootOf(new MemoryStore());
    const file = await localFile(encodeLtx(1, 1_000, 1), 1);
    const first = await writeTimelineFile(root, epoch, file);
    // A later life of the same installation, under another epoch.
    const nonce = "f".repeat(32);
    expect(await writeTimelineFile(root, { timeline, nonce }, file)).toEqual(first);
  });

  it("is stored although the answer to the first attempt was lost", async () => {
    const inner = new MemoryStore();
    const faulty = new FaultyStore(inner, ({ operation, nth }) =>
      operation === "putIfAbsent" && nth === 1
        ? { kind: "error-after", code: "UNREACHABLE" }
        : undefined,
    );
    const file = await localFile(encodeLtx(1, 1_000, 1), 1);
    await expect(writeTimelineFile(rootOf(faulty), epoch, file)).rejects.toMatchObject({
      code: "UNREACHABLE",
    });
    expect(await writeTimelineFile(rootOf(faulty), epoch, file)).toMatchObject({
      key: expect.any(String),
    });
  });

  it.each([
    ["that is larger", encodeLtx(1, 1_000, 1, 3)],
    ["that is smaller", encodeLtx(1, 1_000, 1, 1)],
    ["of the same size", encodeLtx(1, 1_001, 1)],
  ])("refuses to touch another's file %s under the same TXID", async (_, theirs) => {
    const root = rootOf(new MemoryStore());
    const ours = encodeLtx(1, 1_000, 1);
    if (theirs.length === ours.length) expect(theirs).not.toEqual(ours);
    const { key } = await writeTimelineFile(root, epoch, await localFile(theirs, 1));
    await expect(writeTimelineFile(root, epoch, await localFile(ours, 1))).rejects.toMatchObject({
      code: "FOREIGN_WRITE",
    });
    expect((await root.store.head(key)).size).toBe(theirs.length);
  });
});

describe("listTimeline", () => {
  const range = "0000000000000001-0000000000000001.ltx";

  async function put(store: ObjectStore, ...keys: string[]): Promise<void> {
    for (const key of keys) await store.put(key, new Uint8Array(131), { timestamp: new Date(5) });
  }

  it("finds both layouts, and a range once, in the store's own", async () => {
    const store = new MemoryStore();
    const under = `vault/db/${timeline}`;
    await put(
      store,
      `${under}/ltx/0/${range}`,
      `${under}/0000/${range}`,
      `${under}/ltx/9/${range}`,
    );
    const { files } = await listTimeline(rootOf(store), timeline);
    expect(files.map(({ key }) => key)).toEqual([
      `${under}/0000/${range}`,
      `${under}/ltx/9/${range}`,
    ]);
    expect(files[0]).toMatchObject({ timeline, size: 131, createdAt: new Date(5) });
  });

  it("passes over other timelines and whatever else lies there", async () => {
    const store = new MemoryStore();
    await put(
      store,
      `vault/db/${timeline}/0000/x/${range}`,
      `vault/db/${timeline}/readme.txt`,
      `vault/db/00000002-0a0b0c0d/0000/${range}`,
      `vault/0000/${range}`,
    );
    const catalog = await listTimeline(rootOf(store), timeline);
    expect(catalog.files).toEqual([]);
    expect(catalog.highestTxid).toBeUndefined();
  });

  it("finds a stock replica directly below the prefix as the unnamed timeline", async () => {
    const store = new MemoryStore();
    await put(
      store,
      `vault/0000/${range}`,
      `vault/ltx/3/${range}`,
      `vault/db/${timeline}/0000/${range}`,
    );
    const { files } = await listTimeline(rootOf(store), "");
    expect(files.map(({ key }) => key)).toEqual([`vault/0000/${range}`, `vault/ltx/3/${range}`]);
  });
});
