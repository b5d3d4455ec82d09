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
import { detectedOnly, exclusive, rootOf, TestStore } from "./epoch-testing.ts";
import {
  findTimeline,
  type LocalLtxFile,
  listTimeline,
  readRollingChecksumAt,
  readTip,
  writeTimelineFile,
} from "./replica.ts";

const timeline = "00000001-0a0b0c0d";
const epoch = { timeline, nonce: "0a0b0c0d".repeat(4) };

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "replica-"));
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

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
    const { key } = await writeTimelineFile(
      rootOf(store),
      epoch,
      exclusive,
      await localFile(bytes, 3),
    );
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
    const { key } = await writeTimelineFile(rootOf(store), epoch, exclusive, file, 9);
    expect(key).toBe(`vault/db/${timeline}/ltx/9/0000000000000001-0000000000000001.ltx`);
  });

  it("takes a snapshot of the same database for its own, whenever it was made, and no other file", async () => {
    const root = rootOf(new MemoryStore());
    const earlier = await localFile(encodeLtx(1, 1_000, 1), 1);
    const later = await localFile(encodeLtx(1, 2_000, 1), 1);
    const first = await writeTimelineFile(root, epoch, exclusive, earlier, 9);
    expect(await writeTimelineFile(root, epoch, exclusive, later, 9)).toEqual(first);
    const foreign = { code: "FOREIGN_WRITE" };
    for (const rollingChecksum of ["8000000000000008", undefined]) {
      const other = { ...later, name: { ...later.name, rollingChecksum } };
      await expect(writeTimelineFile(root, epoch, exclusive, other, 9)).rejects.toMatchObject(
        foreign,
      );
    }
    // Two snapshots of which nothing is recorded are of nobody knows what.
    const [third, fourth] = await Promise.all(
      [1_000, 2_000].map(async (timeMs) => {
        const file = await localFile(encodeLtx(3, timeMs, 1), 3);
        return { ...file, name: { ...file.name, rollingChecksum: undefined } };
      }),
    );
    await writeTimelineFile(root, epoch, exclusive, third as LocalLtxFile, 9);
    await expect(
      writeTimelineFile(root, epoch, exclusive, fourth as LocalLtxFile, 9),
    ).rejects.toMatchObject(foreign);
    await writeTimelineFile(root, epoch, exclusive, earlier, 1);
    await expect(writeTimelineFile(root, epoch, exclusive, later, 1)).rejects.toMatchObject(
      foreign,
    );
  });

  it("records no rolling checksum where none is known", async () => {
    const root = rootOf(new MemoryStore());
    const file = await localFile(encodeLtx(1, 1_000, 1), 1);
    const name = { ...file.name, rollingChecksum: undefined };
    const { key } = await writeTimelineFile(root, epoch, exclusive, { ...file, name }, 2);
    expect((await root.store.head(key)).metadata).toEqual({ "epoch-nonce": epoch.nonce });
  });

  it("takes its own file that is there already for stored", async () => {
    const root = rootOf(new MemoryStore());
    const file = await localFile(encodeLtx(1, 1_000, 1), 1);
    const first = await writeTimelineFile(root, epoch, exclusive, file);
    // A later life of the same installation, under another epoch.
    const nonce = "f".repeat(32);
    expect(await writeTimelineFile(root, { timeline, nonce }, exclusive, file)).toEqual(first);
  });

  it("is stored although the answer to the first attempt was lost", async () => {
    const inner = new MemoryStore();
    const faulty = new FaultyStore(inner, ({ operation, nth }) =>
      operation === "putIfAbsent" && nth === 1
        ? { kind: "error-after", code: "UNREACHABLE" }
        : undefined,
    );
    const file = await localFile(encodeLtx(1, 1_000, 1), 1);
    await expect(writeTimelineFile(rootOf(faulty), epoch, exclusive, file)).rejects.toMatchObject({
      code: "UNREACHABLE",
    });
    expect(await writeTimelineFile(rootOf(faulty), epoch, exclusive, file)).toMatchObject({
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
    const { key } = await writeTimelineFile(root, epoch, exclusive, await localFile(theirs, 1));
    await expect(
      writeTimelineFile(root, epoch, exclusive, await localFile(ours, 1)),
    ).rejects.toMatchObject({
      code: "FOREIGN_WRITE",
    });
    expect((await root.store.head(key)).size).toBe(theirs.length);
  });
});

describe("writeTimelineFile where nothing is proved", () => {
  it.each(["honours", "ignores", "inverts", "refuses"] as const)(
    "asks for no condition, and writes what lies there from an earlier attempt again: a store that %s them",
    async (conditions) => {
      const store = new TestStore(conditions);
      const bytes = encodeLtx(3, 1_000, 1);
      const file = await localFile(bytes, 3);
      for (let attempt = 1; attempt <= 2; attempt += 1) {
        const { key } = await writeTimelineFile(rootOf(store), epoch, detectedOnly, file);
        expect(await store.head(key)).toMatchObject({
          size: bytes.length,
          metadata: { "rolling-checksum": "8000000000000009", "epoch-nonce": epoch.nonce },
        });
      }
      expect(store.counts).toMatchObject({ put: 2, putIfAbsent: 0 });
    },
  );
});

describe("what a timeline records of its content", () => {
  async function streamed(...txids: number[]) {
    const store = new TestStore();
    for (const txid of txids) {
      const file = await localFile(encodeLtx(txid, 1_000, 1), txid);
      const name = { ...file.name, rollingChecksum: `800000000000000${txid}` };
      await writeTimelineFile(rootOf(store), epoch, exclusive, { ...file, name });
    }
    return { store, root: rootOf(store), catalog: await listTimeline(rootOf(store), timeline) };
  }

  it("is read by one HEAD, of the newest file or of the one that ends at a TXID", async () => {
    const { store, root, catalog } = await streamed(1, 2, 3);
    expect(await readTip(root, catalog)).toEqual({
      txid: 3n,
      rollingChecksum: "8000000000000003",
    });
    expect(store.counts).toMatchObject({ head: 1, get: 0 });
    expect(await readRollingChecksumAt(root, catalog, toTxid(2))).toBe("8000000000000002");
    expect(await readRollingChecksumAt(root, catalog, toTxid(4))).toBeUndefined();
    expect(store.counts).toMatchObject({ head: 2, get: 0 });
  });

  it("is not known of files that stock Litestream wrote, nor of a timeline without files", async () => {
    const { store, root } = await streamed();
    expect(await readTip(root, await listTimeline(root, timeline))).toBeUndefined();
    const key = `vault/db/${timeline}/0003/0000000000000001-0000000000000009.ltx`;
    await store.put(key, encodeLtx(1, 1_000, 1));
    expect(await readTip(root, await listTimeline(root, timeline))).toEqual({
      txid: 9n,
      rollingChecksum: undefined,
    });
  });

  it("is refused if it is no checksum, and a file that cannot be asked for is no file without one", async () => {
    const { store, root, catalog } = await streamed(1);
    const { key } = catalog.files[0] as { key: string };
    await store.put(key, encodeLtx(1, 1_000, 1), { metadata: { "rolling-checksum": "yes" } });
    await expect(readTip(root, catalog)).rejects.toMatchObject({ code: "REPLICA_MALFORMED", key });
    const forbidden = new FaultyStore(store, () => ({ kind: "error-before", code: "FORBIDDEN" }));
    await expect(readTip(rootOf(forbidden), catalog)).rejects.toMatchObject({ code: "FORBIDDEN" });
  });
});

describe("findTimeline", () => {
  it("finds what the daemon wrote below a root that nobody described, and looks nowhere else below one that is", async () => {
    const store = new MemoryStore();
    const file = await localFile(encodeLtx(1, 1_000, 1), 1);
    const { key } = await writeTimelineFile(rootOf(store), epoch, exclusive, file);
    const bare = { store, prefix: "vault/", timelinesUnder: "" };
    expect((await listTimeline(bare, timeline)).files).toEqual([]);
    expect((await findTimeline(bare, timeline)).files).toMatchObject([{ key }]);
    const elsewhere = { ...bare, timelinesUnder: "other/" };
    expect((await findTimeline(elsewhere, timeline)).files).toEqual([]);
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
