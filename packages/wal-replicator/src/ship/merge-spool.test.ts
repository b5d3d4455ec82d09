import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createPrng, type Prng, seedFromEnvironment } from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { decodeFile } from "../ltx/testing.ts";
import { nextTxid, type Txid, toTxid } from "../ltx/txid.ts";
import { encodeTestLtx, noisePage } from "../replica/encode-test-ltx.ts";
import { mergeSpool } from "./merge-spool.ts";
import { PageChecksums } from "./page-checksums.ts";
import type { SpoolMergePolicy } from "./plan-spool-merge.ts";
import { Spool } from "./spool.ts";
import type { SpoolFileName } from "./spool-file-name.ts";
import type { SpoolPosition, SpoolState } from "./spool-state.ts";

const pageSize = 512;
const timeline = "0000000000000001-aaaa";
/** Merges from the second untried file on. */
const eager: SpoolMergePolicy = { filesMax: 1, bytesMax: 1 };
const never = new AbortController().signal;

let directory: string;
const opened: Spool[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "merge-spool-"));
});
afterEach(() => {
  for (const spool of opened.splice(0)) spool.close();
  rmSync(directory, { recursive: true, force: true });
});

type Listener = Parameters<typeof Spool.open>[1];

async function openSpool(path = join(directory, "spool"), at?: Listener): Promise<Spool> {
  const spool = await Spool.open(path, at);
  opened.push(spool);
  if (spool.state === undefined) {
    await spool.saveState({
      version: 1,
      timeline,
      position: undefined,
      storedTxid: undefined,
      restored: false,
      generations: [],
    });
  }
  return spool;
}

/** Captures random changes: what the chain would restore to is `pages`. */
class Writer {
  readonly pages = new Map<number, Uint8Array>();
  readonly #prng: Prng;
  #commit = 0;
  txid: Txid | undefined;
  #timeMs = 1_000;
  #seed = 0;

  readonly #commitMax: number;

  /** @param commitMax - up to 6, every file takes one block on the disk, and all of them are merged. */
  constructor(seed: number, commitMax = 6) {
    this.#prng = createPrng(seed);
    this.#commitMax = commitMax;
  }

  /** What `state.json` says of the newest capture. */
  position(spool: Spool): SpoolPosition {
    const name = spool.files.at(-1)?.name as SpoolFileName;
    const { pageCount, rollingChecksum } = name;
    return { txid: name.maxTxid, pageSize, pageCount, rollingChecksum };
  }

  async capture(spool: Spool): Promise<void> {
    const before = this.#commit;
    this.#commit = this.#prng.chance(0.2)
      ? this.#prng.integer(1, this.#commitMax)
      : Math.max(before, 5);
    const changed = new Map<number, Uint8Array>();
    for (let pgno = 1; pgno <= this.#commit; pgno += 1) {
      if (pgno <= before && !this.#prng.chance(0.15)) continue;
      this.#seed += 1;
      changed.set(pgno, noisePage(pageSize, this.#seed));
    }
    for (const pgno of [...this.pages.keys()]) if (pgno > this.#commit) this.pages.delete(pgno);
    for (const [pgno, page] of changed) this.pages.set(pgno, page);
    this.txid = nextTxid(this.txid);
    this.#timeMs += 1_000;
    const writer = await spool.create();
    await writer.write(
      encodeTestLtx({
        pageSize,
        min: Number(this.txid),
        commit: this.#commit,
        timestampMs: this.#timeMs,
        pages: changed,
      }),
    );
    await writer.commit(
      {
        minTxid: this.txid,
        maxTxid: this.txid,
        pageSize,
        pageCount: this.#commit,
        rollingChecksum: `8${this.#seed.toString(16).padStart(15, "0")}`,
        walPosition: {
          salt: { salt1: 1, salt2: 2 },
          frameCount: this.#seed,
          sums: { s0: 3, s1: 4 },
        },
        state: "waiting",
      },
      this.#timeMs,
    );
  }

  async merge(spool: Spool): ReturnType<typeof mergeSpool> {
    const merge = await mergeSpool(spool, never, eager);
    if (merge !== undefined) this.txid = merge.into;
    await spool.settled();
    return merge;
  }
}

/** What the files restore to, and that they form a chain. */
function restored(files: Spool["files"]): Map<number, Uint8Array> {
  const pages = new Map<number, Uint8Array>();
  let txid: Txid | undefined;
  for (const file of files) {
    const decoded = decodeFile(readFileSync(file.path));
    const { header } = decoded.verdict;
    txid = nextTxid(txid);
    expect([header.minTxid, header.maxTxid]).toEqual([txid, txid]);
    expect([file.name.minTxid, file.name.maxTxid]).toEqual([txid, txid]);
    expect(header.commit).toBe(file.name.pageCount);
    for (const pgno of [...pages.keys()]) if (pgno > header.commit) pages.delete(pgno);
    for (const [pgno, page] of decoded.pages) pages.set(pgno, page);
  }
  return pages;
}

describe("mergeSpool", () => {
  it("makes of many files one with the newest state, whatever grew and shrank, and the next capture follows it", async () => {
    const seed = seedFromEnvironment();
    for (let run = 0; run < 8; run += 1) {
      const spool = await openSpool(join(directory, String(run)));
      const writer = new Writer((seed + run) >>> 0, 40);
      const prng = createPrng((seed + run) >>> 0);
      for (let step = 0; step < 20; step += 1) {
        await writer.capture(spool);
        if (prng.chance(0.2)) await writer.merge(spool);
      }
      expect(restored(spool.files), `seed ${seed}, run ${run}`).toEqual(writer.pages);
      await writer.capture(spool);
      expect(restored(spool.files)).toEqual(writer.pages);
    }
  });

  it("keeps the first file that waits as it is, and says what became of the others", async () => {
    const spool = await openSpool();
    const writer = new Writer(1);
    for (let capture = 0; capture < 4; capture += 1) await writer.capture(spool);
    const [first, second, , last] = spool.waiting;
    const bytes = readFileSync(first?.path as string);
    expect(await writer.merge(spool)).toMatchObject({ files: 3, from: 2n, to: 4n, into: 2n });
    const [tried, merged] = spool.waiting;
    expect(spool.waiting).toHaveLength(2);
    expect(tried).toEqual(first);
    expect(readFileSync(first?.path as string).equals(bytes)).toBe(true);
    // Times of the newest state; waiting since the oldest.
    expect(merged?.name).toEqual({ ...last?.name, minTxid: 2n, maxTxid: 2n });
    const { header } = decodeFile(readFileSync(merged?.path as string)).verdict;
    expect(header).toMatchObject({ timestampMs: last?.capturedAtMs, walOffset: 32 });
    expect(merged?.capturedAtMs).toBe(second?.capturedAtMs);
  });

  it("leaves everything as it was when it is aborted, or a file is damaged", async () => {
    const spool = await openSpool();
    const writer = new Writer(2);
    for (let capture = 0; capture < 4; capture += 1) await writer.capture(spool);
    const before = listFiles(spool.directory);
    const abort = new AbortController();
    const merge = vi.spyOn(spool, "merge").mockImplementationOnce((files, write) => {
      abort.abort(new Error("enough"));
      return spool.merge(files, write);
    });
    expect(await mergeSpool(spool, abort.signal, eager)).toBeUndefined();
    expect(merge).toHaveBeenCalled();
    expect(listFiles(spool.directory)).toEqual(before);

    const { path } = spool.waiting[2] as { path: string };
    writeFileSync(path, readFileSync(path).subarray(0, -20));
    await expect(mergeSpool(spool, never, eager)).rejects.toMatchObject({ code: "LTX_TRUNCATED" });
    expect(listFiles(spool.directory)).toEqual(before);
    await spool.settled();
  });

  it("is settled before the next capture, which takes a TXID that was merged away", async () => {
    const spool = await openSpool();
    const writer = new Writer(5);
    for (let capture = 0; capture < 4; capture += 1) await writer.capture(spool);
    writer.txid = (await mergeSpool(spool, never, eager))?.into;
    await writer.capture(spool);
    await writer.capture(spool);
    spool.close();
    const again = await openSpool();
    expect(again.files.map(({ name }) => name.maxTxid)).toEqual([1n, 2n, 3n, 4n]);
    expect(restored(again.files)).toEqual(writer.pages);
  });

  it("takes back the position in state.json, and a page table of the same TXID counts only if its content does", async () => {
    const spool = await openSpool();
    const writer = new Writer(3);
    for (let capture = 0; capture < 4; capture += 1) await writer.capture(spool);
    const table = new PageChecksums(pageSize, 1);
    table.resize(1);
    table.set(1, 5, 0x80000000);
    const position = writer.position(spool);
    await spool.saveState({ ...(spool.state as SpoolState), position });
    await spool.savePageChecksums(toTxid(4), table);
    await writer.merge(spool);
    expect(spool.state?.position).toEqual({ ...position, txid: toTxid(2) });
    await writer.capture(spool);
    await writer.capture(spool);
    expect(writer.txid).toBe(4n);
    spool.close();
    const again = await openSpool();
    expect(again.state?.position?.txid).toBe(2n);
    expect(await again.loadPageChecksums(toTxid(4))).toBeUndefined();
  });
});

describe("a process that is killed in a merge", () => {
  /** The spool as it lies on the disk when a point is reached. */
  async function killedAt(point: string): Promise<{ left: string; writer: Writer }> {
    const left = join(directory, "left");
    const spool = await openSpool(undefined, (reached) => {
      if (reached === point) cpSync(join(directory, "spool"), left, { recursive: true });
    });
    const writer = new Writer(4);
    for (let capture = 0; capture < 5; capture += 1) await writer.capture(spool);
    const txid = writer.txid as Txid;
    await spool.saveState({ ...(spool.state as SpoolState), position: writer.position(spool) });
    await writer.merge(spool);
    writer.txid = txid;
    return { left, writer };
  }

  it("before it is published: the old files are there, and nothing of the merge", async () => {
    const { left, writer } = await killedAt("merge-written");
    expect(listFiles(left).filter((name) => name.endsWith(".tmp"))).toEqual(["merge.tmp"]);
    const spool = await openSpool(left);
    expect(spool.files).toHaveLength(5);
    expect(listFiles(left).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    expect(restored(spool.files)).toEqual(writer.pages);
  });

  it("after it, whichever of the old files are removed: the merged one alone counts", async () => {
    const { left, writer } = await killedAt("merge-published");
    const replaced = listFiles(left).filter((name) => /^0{15}[2-5]-0{15}[2-5]\./.test(name));
    expect(replaced).toHaveLength(4);
    for (let subset = 0; subset < 2 ** replaced.length; subset += 1) {
      const copy = join(directory, String(subset));
      cpSync(left, copy, { recursive: true });
      for (const [index, name] of replaced.entries())
        if ((subset & (1 << index)) !== 0) rmSync(join(copy, timeline, name));
      const spool = await openSpool(copy);
      expect(spool.files.map(({ name }) => name.maxTxid)).toEqual([1n, 2n]);
      expect(spool.files.every(({ path }) => existsSync(path))).toBe(true);
      expect(listFiles(copy).filter((name) => name.startsWith("00000"))).toEqual(
        spool.files.map(({ path }) => basename(path)),
      );
      expect(spool.state?.position?.txid).toBe(2n);
      expect(restored(spool.files)).toEqual(writer.pages);
      // The TXIDs are given again, and are not taken for what was merged.
      writer.txid = toTxid(2);
      const follower = new Map(writer.pages);
      await writer.capture(spool);
      await writer.capture(spool);
      spool.close();
      const again = await openSpool(copy);
      expect(again.files.map(({ name }) => name.maxTxid)).toEqual([1n, 2n, 3n, 4n]);
      expect(restored(again.files)).toEqual(writer.pages);
      writer.pages.clear();
      for (const [pgno, page] of follower) writer.pages.set(pgno, page);
    }
  });
});

function listFiles(spool: string): string[] {
  return readdirSync(join(spool, timeline)).sort();
}
