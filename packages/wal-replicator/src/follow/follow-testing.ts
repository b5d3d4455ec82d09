import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ObjectStore } from "@vaultwarden-stream/object-store";
import BetterSqlite3 from "better-sqlite3";
import { mergeLtx } from "../ltx/merge.ts";
import { checksumPage } from "../ltx/page-checksum.ts";
import { type Txid, toTxid } from "../ltx/txid.ts";
import { encodeTestLtx } from "../replica/encode-test-ltx.ts";
import { takeEpoch } from "../replica/epoch.ts";
import { recordFor } from "../replica/epoch-testing.ts";
import { listTimeline, type ReplicaRoot } from "../replica/replica.ts";
import { formatLtxKey, type LevelSyntax, timelinePrefix } from "../replica/replica-layout.ts";
import { PageChecksums } from "../ship/page-checksums.ts";

/** A replica set without a prefix. */
export function rootOfStore(store: ObjectStore): ReplicaRoot {
  return { store, prefix: "", timelinesUnder: "" };
}

/**
 * A real database, and a writer of its replica that is as simple as can be: each `ship` makes one level-0 file of the pages that differ. It stands
 * in for the engine where a test needs exactly this file, now.
 */
export class TestSource {
  root: ReplicaRoot;
  /** Another layout than the store's own. */
  syntax: LevelSyntax | undefined;
  readonly path: string;
  readonly database: BetterSqlite3.Database;
  readonly pageSize: number;
  timeline = "";
  txid = 0;
  #shipped: Uint8Array = new Uint8Array(0);
  #checksums: PageChecksums;

  constructor(
    store: ObjectStore,
    directory: string,
    { pageSize = 4096, name = "source.db" }: { pageSize?: number; name?: string } = {},
  ) {
    this.root = rootOfStore(store);
    this.path = join(directory, name);
    this.pageSize = pageSize;
    this.#checksums = new PageChecksums(pageSize);
    this.database = new BetterSqlite3(this.path);
    this.database.pragma(`page_size = ${pageSize}`);
    this.database.pragma("journal_mode = wal");
    this.database.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, x BLOB)");
  }

  /** Takes the next epoch, with a timeline of its own. */
  async begin(owner = "a", parentTxid?: number): Promise<string> {
    const parent =
      parentTxid === undefined ? null : { timeline: this.timeline, txid: toTxid(parentTxid) };
    const make = recordFor(owner, { parent });
    const { timeline } = await takeEpoch(this.root, { kind: "exclusive" }, make);
    this.timeline = timeline;
    return timeline;
  }

  /** Changes the database by some rows. */
  write(rows: number, bytes = 100): void {
    const insert = this.database.prepare("INSERT INTO t (x) VALUES (randomblob(?))");
    this.database.transaction(() => {
      for (let row = 0; row < rows; row += 1) insert.run(bytes);
    })();
  }

  /** Ships what changed. @returns the database file as of now, byte for byte what a restore has to give. */
  async ship(options: { readonly recorded?: string } = {}): Promise<Uint8Array> {
    this.database.pragma("wal_checkpoint(TRUNCATE)");
    const image = new Uint8Array(readFileSync(this.path));
    const { pageSize } = this;
    const commit = image.length / pageSize;
    const pages = new Map<number, Uint8Array>();
    this.#checksums.resize(commit);
    for (let pgno = 1; pgno <= commit; pgno += 1) {
      const span = [(pgno - 1) * pageSize, pgno * pageSize] as const;
      const page = image.subarray(...span);
      if (Buffer.compare(page, this.#shipped.subarray(...span)) === 0) continue;
      pages.set(pgno, page);
      const { low, high } = checksumPage(pgno, page);
      this.#checksums.set(pgno, low, high);
    }
    this.#shipped = image;
    this.txid += 1;
    const bytes = encodeTestLtx({ pageSize, min: this.txid, commit, pages });
    await this.#put(0, this.txid, this.txid, bytes, options.recorded ?? this.#checksums.rolling);
    return image;
  }

  async shipMany(count: number, rows = 3): Promise<Uint8Array> {
    let image: Uint8Array = new Uint8Array();
    for (let index = 0; index < count; index += 1) {
      this.write(rows);
      image = await this.ship();
    }
    return image;
  }

  /** Goes back to a state that was shipped: what a machine does that is restored from a disk image. */
  rewind(image: Uint8Array, txid: number): void {
    this.#shipped = image;
    this.txid = txid;
    const commit = image.length / this.pageSize;
    this.#checksums.resize(commit);
    for (let pgno = 1; pgno <= commit; pgno += 1) {
      const page = image.subarray((pgno - 1) * this.pageSize, pgno * this.pageSize);
      const { low, high } = checksumPage(pgno, page);
      this.#checksums.set(pgno, low, high);
    }
  }

  keyOf(level: number, min: number, max: number): string {
    const range = { level, minTxid: toTxid(min), maxTxid: toTxid(max) };
    const { store, timelinesUnder } = this.root;
    const own: LevelSyntax = store.properties.kind === "directory" ? "directory" : "s3";
    const prefix = timelinePrefix(timelinesUnder, this.timeline);
    return prefix + formatLtxKey(range, this.syntax ?? own);
  }

  /** Merges level-0 files into one of a level, and removes them. */
  async compact(level: number, min: number, max: number, removes = true): Promise<void> {
    const { store } = this.root;
    const catalog = await listTimeline(this.root, this.timeline);
    const files = catalog.level(0).filter((file) => isWithin(file, min, max));
    const inputs = await Promise.all(
      files.map(async (file) => ({ source: (await store.get(file.key)).body, range: file })),
    );
    const pieces: Uint8Array[] = [];
    for await (const piece of mergeLtx(inputs)) pieces.push(piece.slice());
    const last = files.at(-1)?.key as string;
    const recorded = (await store.head(last)).metadata?.["rolling-checksum"] as string;
    await this.#put(level, min, max, Buffer.concat(pieces), recorded);
    if (removes) for (const { key } of files) await store.delete(key);
  }

  async #put(
    level: number,
    min: number,
    max: number,
    bytes: Uint8Array,
    rollingChecksum: string,
  ): Promise<void> {
    const metadata = { "rolling-checksum": rollingChecksum };
    await this.root.store.put(this.keyOf(level, min, max), bytes, { metadata });
  }
}

function isWithin(
  { minTxid, maxTxid }: { readonly minTxid: Txid; readonly maxTxid: Txid },
  min: number,
  max: number,
): boolean {
  return minTxid >= BigInt(min) && maxTxid <= BigInt(max);
}
