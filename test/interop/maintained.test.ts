import {
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DirectoryStore } from "@vaultwarden-stream/object-store";
import { createPrng, describePeer, seedFromEnvironment } from "@vaultwarden-stream/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatTxid, restore, type Txid } from "wal-replicator";
import {
  Catalog,
  defaultMaintenancePolicy,
  encodeTestLtx,
  type LocalLtxFile,
  listTimeline,
  Maintainer,
  type ReplicaFile,
  type ReplicaRoot,
  toTxid,
} from "wal-replicator/internals";
import { ComparedPlans } from "./compared-plans.ts";
import { hashFile, StockLitestream, type StockTarget } from "./stock-litestream.ts";
import { StreamedDatabase } from "./streamed-database.ts";

// Goal: stock restores what our maintenance leaves, at every end and every time, before and after retention has taken what is covered; and
// both choose the same files. Method: the files of a live database are maintained in windows of a fraction of a second, half of them first.

const policy = { ...defaultMaintenancePolicy, levelIntervalsMs: [100, 400, 1_200] };
const nowMs = (): number => Date.now() + 3_600_000;
const writeMs = 1_500;
const listingCount = 25;

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "interop-maintained-"));
});
afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

/** A stored timeline, and what each of its TXIDs was before anything was merged. */
class MaintainedTimeline {
  readonly root: ReplicaRoot;
  readonly directory: string;
  readonly hashes = new Map<Txid, string>();
  readonly #replica: string;
  readonly #timeline: string;
  readonly #scratch: string;

  constructor(replica: string, timeline: string, scratch: string) {
    this.root = { store: new DirectoryStore(replica), prefix: "", timelinesUnder: "" };
    this.directory = join(replica, timeline);
    this.#replica = replica;
    this.#timeline = timeline;
    this.#scratch = scratch;
  }

  list(): Promise<Catalog> {
    return listTimeline(this.root, this.#timeline);
  }

  async restored(target: { readonly txid?: Txid; readonly before?: Date }): Promise<string> {
    const path = join(this.#scratch, "ours.db");
    const { rollingChecksum } = await restore({
      replica: this.#replica,
      timeline: this.#timeline,
      target: path,
      overwrite: true,
      ...target,
    });
    expect(rollingChecksum).toMatch(/^[0-9a-f]{16}$/);
    return hashFile(path);
  }

  /** Merges half of the files and makes a snapshot, then the other half. */
  async maintain(): Promise<void> {
    const all = (await this.list()).level(0);
    for (const { maxTxid } of all) {
      this.hashes.set(maxTxid, await this.restored({ txid: maxTxid }));
    }
    const catalog = new Catalog(all.slice(0, all.length / 2));
    const maintainer = new Maintainer({
      root: this.root,
      catalog,
      policy,
      beforeWrite: async () => ({
        record: { timeline: this.#timeline, nonce: "0".repeat(32), parent: null },
        mode: { kind: "exclusive" },
      }),
      localCopy: () => undefined,
      makeSnapshot: (directory) => this.#makeSnapshot(catalog, directory),
      scratchDirectory: join(this.#scratch, "maintenance"),
      retain: async () => {},
      now: nowMs,
      at: () => {},
      emit: (event) => expect(event.type).not.toBe("maintenance-failing"),
      isFatal: () => true,
    });
    const { signal } = new AbortController();
    await Promise.all([maintainer.requestSnapshot(), maintainer.step(signal)]);
    for (const file of all) catalog.add(file);
    await maintainer.step(signal);
    expect((await this.list()).files.length).toBe(catalog.files.length);
  }

  /** Takes away what the next level covers, as retention does in the end. */
  async dropCovered(level: number): Promise<void> {
    const catalog = await this.list();
    const reached = catalog.level(level + 1).at(-1)?.maxTxid ?? 0n;
    for (const { key, minTxid, maxTxid } of catalog.level(level)) {
      if (minTxid > 1n && maxTxid <= reached) await this.root.store.delete(key);
    }
  }

  async #makeSnapshot(catalog: Catalog, directory: string): Promise<LocalLtxFile> {
    const { maxTxid, createdAt } = catalog.level(0).at(-1) as ReplicaFile;
    const target = join(this.#scratch, "snapshot.db");
    const { pageSize, pageCount, rollingChecksum } = await restore({
      replica: this.#replica,
      timeline: this.#timeline,
      target,
      txid: maxTxid,
    });
    const database = await readFile(target);
    const pages = new Map<number, Uint8Array>();
    for (let pgno = 1; pgno <= pageCount; pgno += 1) {
      pages.set(pgno, database.subarray((pgno - 1) * pageSize, pgno * pageSize));
    }
    const path = join(directory, "snapshot.tmp");
    const [commit, timestampMs, max] = [pageCount, createdAt.getTime(), Number(maxTxid)];
    const bytes = encodeTestLtx({ pageSize, min: 1, max, commit, timestampMs, pages });
    await writeFile(path, bytes);
    return { path, size: bytes.length, name: { minTxid: toTxid(1), maxTxid, rollingChecksum } };
  }
}

describePeer(describe, "litestream", "stock Litestream and our maintenance", (path) => {
  const stock = new StockLitestream(path);
  const first = seedFromEnvironment();

  async function maintained(seed: number, pageSize: number): Promise<MaintainedTimeline> {
    const directory = join(root, `${seed}`);
    await mkdir(directory);
    const replica = join(directory, "replica");
    const maintenance = false; // here it is done by hand
    await using streamed = new StreamedDatabase({
      directory,
      replica,
      seed,
      pageSize,
      maintenance,
    });
    await streamed.start();
    const { timeline } = await streamed.writeAndRemember(writeMs);
    await streamed.stopEngine();
    const result = new MaintainedTimeline(replica, timeline, directory);
    await result.maintain();
    const catalog = await result.list();
    for (const level of [1, 2, 3, 9]) expect(catalog.level(level).length).toBeGreaterThan(0);
    expect(catalog.level(1).length).toBeGreaterThan(catalog.level(2).length);
    return result;
  }

  /** Every end and every time that the replica has left. @returns how many. */
  async function expectSame(timeline: MaintainedTimeline): Promise<number> {
    const { files, highestTxid } = await timeline.list();
    const restoredBy = (target: StockTarget) =>
      stock.restore(timeline.directory, join(root, "stock.db"), target);
    const ends = [...new Set(files.map(({ maxTxid }) => maxTxid))];
    for (const txid of ends) {
      const hash = timeline.hashes.get(txid);
      expect(await restoredBy({ txid: formatTxid(txid) }), `TXID ${txid}`).toBe(hash);
      expect(await timeline.restored({ txid }), `TXID ${txid}`).toBe(hash);
    }
    expect(await restoredBy({})).toBe(timeline.hashes.get(highestTxid as Txid));
    const newestMs = Math.max(...files.map(({ createdAt }) => createdAt.getTime()));
    for (const timeMs of new Set(files.map(({ createdAt }) => createdAt.getTime()))) {
      // Stock knows nothing of times behind its newest file.
      if (timeMs === newestMs) continue;
      const before = new Date(timeMs + 1);
      const ours = await timeline.restored({ before });
      expect(await restoredBy({ timestamp: before }), before.toISOString()).toBe(ours);
    }
    return ends.length;
  }

  for (const [index, pageSize] of [512, 4096, 65_536].entries()) {
    const seed = (first + index) >>> 0;
    it(`restores all levels as we do, with pages of ${pageSize} bytes and seed ${seed}`, async () => {
      const timeline = await maintained(seed, pageSize);
      let count = await expectSame(timeline);
      expect(count).toBe(timeline.hashes.size);
      for (const level of [0, 1, 2]) {
        await timeline.dropCovered(level);
        const left = await expectSame(timeline);
        expect(left).toBeLessThan(count);
        count = left;
      }
    });
  }

  it("chooses the same files as we do from random listings of a maintained replica", async () => {
    const seed = (first + 10) >>> 0;
    const timeline = await maintained(seed, 1024);
    const { files } = await timeline.list();
    const directory = join(root, "plans");
    const whole = join(directory, "whole");
    const timesMs = new Map<string, number>();
    for (const level of await readdir(join(timeline.directory, "ltx"))) {
      for (const name of await readdir(join(timeline.directory, "ltx", level))) {
        if (!name.endsWith(".ltx") || name.startsWith(".")) continue;
        const key = join("ltx", level, name);
        await mkdir(join(whole, "ltx", level), { recursive: true });
        await cp(join(timeline.directory, key), join(whole, key));
        const { mtimeMs } = await stat(join(timeline.directory, key));
        const timeMs = Math.round(mtimeMs / 250) * 250;
        await utimes(join(whole, key), timeMs / 1_000, timeMs / 1_000);
        timesMs.set(key, timeMs);
      }
    }
    expect(timesMs.size).toBe(files.length);
    const prng = createPrng(seed);
    const plans = new ComparedPlans({ stock, directory, whole, timesMs });
    for (let index = 0; index < listingCount; index += 1) {
      const txids = Array.from({ length: 3 }, () => formatTxid(prng.pick(files).maxTxid));
      await plans.compareToTxids(prng, seed, txids);
      await plans.compareToTime(prng, seed);
    }
    expect(plans.counts.planned).toBeGreaterThan(10);
    expect(plans.counts.refused).toBeGreaterThan(10);
  });
});
