import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DirectoryStore, FaultyStore, type ObjectStore } from "@vaultwarden-stream/object-store";
import { afterEach, beforeEach, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { encodeTestLtx, noisePage } from "../replica/encode-test-ltx.ts";
import { formatLtxKey } from "../replica/replica-layout.ts";
import { restoreDatabase } from "./restore.ts";

/** A compaction runs while a restore fetches: in a real directory, files of the plan are merged into others and deleted. */
const pageSize = 512;

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "replan-"));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

type File = readonly [level: number, min: number, max: number];

function keyOf([level, min, max]: File): string {
  return formatLtxKey({ level, minTxid: toTxid(min), maxTxid: toTxid(max) }, "directory");
}

/** At TXID n page n + 1 is written, with content n; page 1 is written by all. */
async function put(store: ObjectStore, file: File): Promise<void> {
  const [, min, max] = file;
  const pages = new Map([[1, noisePage(pageSize, max)]]);
  for (let txid = min; txid <= max; txid += 1) pages.set(txid + 1, noisePage(pageSize, txid));
  const bytes = encodeTestLtx({ pageSize, min, max, commit: max + 1, pages });
  await store.put(keyOf(file), bytes, { timestamp: new Date(max * 1_000) });
}

function imageAt(txid: number): Buffer {
  const pages = [noisePage(pageSize, txid)];
  for (let written = 1; written <= txid; written += 1) pages.push(noisePage(pageSize, written));
  return Buffer.concat(pages);
}

/** A store in which something happens right before one of these files is asked for, once. */
function interrupted(
  inner: DirectoryStore,
  ...interruptions: (readonly [File, () => Promise<void>])[]
): ObjectStore {
  const left = new Map(interruptions.map(([file, happen]) => [keyOf(file), happen]));
  return new FaultyStore(inner, ({ operation, key }) => {
    const happen = left.get(key);
    if (operation !== "get" || happen === undefined) return undefined;
    left.delete(key);
    return { kind: "delay", wait: happen };
  });
}

async function replace(store: DirectoryStore, by: File, ...gone: File[]): Promise<void> {
  await put(store, by);
  for (const file of gone) await store.delete(keyOf(file));
}

function restore(store: ObjectStore, txid?: number) {
  return restoreDatabase({
    root: { store, prefix: "", timelinesUnder: "" },
    path: join(directory, "restored.db"),
    skipIntegrityCheck: true,
    ...(txid === undefined ? {} : { txid: toTxid(txid) }),
  });
}

it("files that were merged into a higher level meanwhile are found there, three times in a row", async () => {
  const store = new DirectoryStore(join(directory, "store"));
  const raw: File[] = [1, 2, 3, 4].map((txid) => [0, txid, txid]);
  for (const file of raw) await put(store, file);
  const result = await restore(
    interrupted(
      store,
      [[0, 1, 1], () => replace(store, [1, 1, 4], ...raw)],
      [[1, 1, 4], () => replace(store, [2, 1, 4], [1, 1, 4])],
      [[2, 1, 4], () => replace(store, [3, 1, 4], [2, 1, 4])],
    ),
  );
  expect(result).toMatchObject({ txid: 4n, damagedKeys: [] });
  expect(result.files.map(({ key }) => key)).toEqual([keyOf([3, 1, 4])]);
  expect(await readFile(join(directory, "restored.db"))).toEqual(imageAt(4));
});

it("a file that goes a fourth time ends it, and leaves nothing behind", async () => {
  const store = new DirectoryStore(join(directory, "store"));
  await put(store, [0, 1, 1]);
  const steps = [0, 1, 2, 3].map(
    (level) => [[level, 1, 1], () => replace(store, [level + 1, 1, 1], [level, 1, 1])] as const,
  );
  await expect(restore(interrupted(store, ...steps))).rejects.toMatchObject({
    code: "CHAIN_BROKEN",
  });
  await expect(readFile(join(directory, "restored.db"))).rejects.toMatchObject({ code: "ENOENT" });
});

it("a state that was merged into a newer one meanwhile: the newest is restored, and what was asked for by its TXID refused", async () => {
  const store = new DirectoryStore(join(directory, "store"));
  const raw: File[] = [1, 2, 3].map((txid) => [0, txid, txid]);
  const goOn = async () => {
    await put(store, [0, 4, 4]);
    await replace(store, [1, 1, 4], ...raw, [0, 4, 4]);
    await put(store, [0, 5, 5]);
  };
  for (const file of raw) await put(store, file);
  expect(await restore(interrupted(store, [[0, 1, 1], goOn]))).toMatchObject({ txid: 5n });
  expect(await readFile(join(directory, "restored.db"))).toEqual(imageAt(5));

  const another = new DirectoryStore(join(directory, "another"));
  for (const file of raw) await put(another, file);
  const merge = () => replace(another, [1, 1, 4], ...raw);
  await rm(join(directory, "restored.db"));
  await expect(restore(interrupted(another, [[0, 1, 1], merge]), 3)).rejects.toMatchObject({
    code: "CHAIN_BROKEN",
  });
});

it("files that are gone with everything else are no empty replica", async () => {
  const store = new DirectoryStore(join(directory, "store"));
  await put(store, [0, 1, 1]);
  const emptied = interrupted(store, [[0, 1, 1], () => store.delete(keyOf([0, 1, 1]))]);
  await expect(restore(emptied)).rejects.toMatchObject({ code: "CHAIN_BROKEN" });
});
