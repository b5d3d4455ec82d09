import { mkdtempSync, rmSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ObjectStore } from "@vaultwarden-stream/object-store";
import { createPrng, type Prng } from "@vaultwarden-stream/testkit";
import { formatChecksum, rollingChecksum } from "../ltx/page-checksum.ts";
import { toTxid } from "../ltx/txid.ts";
import { Catalog, type ReplicaFile } from "../replica/catalog.ts";
import { encodeTestLtx, noisePage } from "../replica/encode-test-ltx.ts";
import type { EpochMode } from "../replica/epoch.ts";
import {
  type LocalLtxFile,
  listTimeline,
  type ReplicaRoot,
  writeTimelineFile,
} from "../replica/replica.ts";
import { restoreDatabase } from "../restore/restore.ts";

export const testTimeline: string = "00000001-0a0b0c0d";
export const testEpoch: { readonly timeline: string; readonly nonce: string } = {
  timeline: testTimeline,
  nonce: "0a0b0c0d".repeat(4),
};

const pageSize = 512;

/** A timeline whose database is pages in memory: it grows, shrinks, and each commit is stored as a level-0 file of the format. */
export class TestHistory {
  readonly root: ReplicaRoot;
  readonly catalog: Catalog = new Catalog();
  readonly directory: string = mkdtempSync(join(tmpdir(), "history-"));
  readonly mode: EpochMode = { kind: "exclusive" };
  /** The local files of what was stored, by TXID. */
  readonly local: Map<bigint, LocalLtxFile> = new Map();
  /** The database after each TXID. */
  readonly images: Map<bigint, Buffer> = new Map();
  readonly #prng: Prng;
  #pages: Uint8Array[] = [];
  #txid = 0;

  constructor(store: ObjectStore, seed = 1) {
    this.root = { store, prefix: "", timelinesUnder: "" };
    this.#prng = createPrng(seed);
  }

  /** @param isFull - every page, as after a comparison that was not possible. */
  async commit(timeMs: number, isFull: boolean = this.#txid === 0): Promise<ReplicaFile> {
    this.#txid += 1;
    const changed = new Set<number>();
    const count = this.#pages.length;
    const target = this.#prng.chance(0.2) ? this.#prng.integer(3, 12) : Math.max(3, count);
    for (let pgno = count + 1; pgno <= target; pgno += 1) changed.add(pgno);
    for (let index = 0; index < 2; index += 1) changed.add(this.#prng.integer(1, target));
    if (isFull) for (let pgno = 1; pgno <= target; pgno += 1) changed.add(pgno);
    this.#pages.length = target;
    for (const pgno of changed) {
      this.#pages[pgno - 1] = noisePage(pageSize, this.#txid * 100 + pgno);
    }
    const txid = BigInt(this.#txid);
    const path = join(this.directory, `${txid}.ltx`);
    const file = await this.#write(path, this.#txid, changed, timeMs);
    const stored = await writeTimelineFile(this.root, testEpoch, this.mode, file);
    this.catalog.add(stored);
    this.local.set(txid, file);
    this.images.set(txid, Buffer.concat(this.#pages));
    return stored;
  }

  /** A full copy of the newest state, as the engine makes it. */
  async writeSnapshot(path: string, timeMs: number): Promise<LocalLtxFile> {
    const all = this.#pages.map((_, index) => index + 1);
    return await this.#write(path, 1, all, timeMs);
  }

  /** Restores each end that the store has a file of, and compares it with what the database was. @returns how many. */
  async expectRestores(): Promise<number> {
    const { files } = await listTimeline(this.root, testTimeline);
    const ends = new Set(files.map(({ maxTxid }) => maxTxid));
    const path = join(this.directory, "restored.db");
    for (const txid of ends) {
      const { root } = this;
      const options = { root, timeline: testTimeline, path, txid, overwrite: true };
      const result = await restoreDatabase({ ...options, skipIntegrityCheck: true });
      const restored = await readFile(path);
      const image = this.images.get(txid) as Buffer;
      if (!restored.equals(image)) throw new Error(`another database at TXID ${txid}`);
      if (!result.isRollingChecksumProved) throw new Error(`no rolling checksum at TXID ${txid}`);
    }
    return ends.size;
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #write(
    path: string,
    min: number,
    pgnos: Iterable<number>,
    timestampMs: number,
  ): Promise<LocalLtxFile> {
    const pages = new Map([...pgnos].map((pgno) => [pgno, this.#pages[pgno - 1] as Uint8Array]));
    const [max, commit] = [this.#txid, this.#pages.length];
    const bytes = encodeTestLtx({ pageSize, min, max, commit, timestampMs, pages });
    await writeFile(path, bytes);
    const database = this.#pages.map((data, index) => ({ pgno: index + 1, data }));
    const checksum = formatChecksum(rollingChecksum(pageSize, database));
    const range = { minTxid: toTxid(min), maxTxid: toTxid(max) };
    return { path, size: bytes.length, name: { ...range, rollingChecksum: checksum } };
  }
}
