import type { ManifestRef } from "@vaultwarden-stream/file-sync";
import {
  decodeManifest,
  digestOfBlobKey,
  parseManifestKey,
} from "@vaultwarden-stream/file-sync/internals";
import { LtxDecoder, parseLtxKey, type ReplicaFile, toTxid } from "wal-replicator/internals";
import { Files } from "./file-ledger.ts";
import { type PageChange, type PageIds, readPageId } from "./model-database.ts";
import type { StoredObject, StoreWatcher } from "./watched-store.ts";

/** An LTX file in the store, with what is in it. */
export interface LedgerFile extends ReplicaFile {
  readonly min: number;
  readonly max: number;
  readonly storedAtMs: number;
  /** What was put with it. */
  readonly timestampMs: number;
  readonly rollingChecksum: string | undefined;
  readonly change: PageChange;
}

/** By level; each ascending by (min, max). */
export type Levels = ReadonlyMap<number, readonly LedgerFile[]>;

export interface LedgerOptions {
  /** The key's part before the timelines. */
  readonly timelinesPrefix: string;
  readonly listsTimestamps: boolean;
  readonly nowMs: () => number;
  /** What a level-0 file holds. */
  readonly captured: (file: { readonly timeline: string; readonly max: number }) => PageChange;
  readonly onStored: (file: LedgerFile) => void;
  readonly onDeleted: (file: LedgerFile) => void;
  readonly onManifestDeleted: (ref: ManifestRef) => void;
}

/**
 * What really is in the store, known without asking it. The engine's catalogue is what it believes; this is what is compared with it.
 *
 * What the ledger itself finds is noted in `problems` and not thrown: thrown, it would be taken for an answer of the store.
 */
export class Ledger implements StoreWatcher {
  readonly problems: string[] = [];
  readonly files: Files = new Files();
  /** What maintenance has stored and deleted so far: whether there is something to look at. */
  changes = 0;
  /** LTX files deleted so far. */
  deletes = 0;
  bytes = 0;
  readonly #options: LedgerOptions;
  readonly #timelines = new Map<string, Map<number, LedgerFile[]>>();
  readonly #sizes = new Map<string, number>();
  /** Keys that somebody may be reading, and until when. */
  readonly #read = new Map<string, { readonly untilMs: number; readonly why: () => string }>();

  constructor(options: LedgerOptions) {
    this.#options = options;
  }

  async stored(object: StoredObject, bytes: () => Promise<Uint8Array>): Promise<void> {
    const { key, size } = object;
    this.bytes += size - (this.#sizes.get(key) ?? 0);
    this.#sizes.set(key, size);
    const file = this.#parse(object);
    if (file !== undefined) {
      if (file.level > 0) this.changes += 1;
      // Those of level 0 are the simulation's own.
      const change =
        file.level === 0 ? this.#options.captured(file) : this.#decode(file, await bytes());
      this.#add({ ...file, change });
      return;
    }
    if (parseManifestKey(key) !== undefined) this.files.stored(decodeManifest(key, await bytes()));
    const digest = digestOfBlobKey(key);
    if (digest !== undefined) this.files.blobStored(digest, object.storedAtMs);
  }

  deleted(key: string): void {
    const size = this.#sizes.get(key);
    if (size === undefined) return;
    this.changes += 1;
    this.bytes -= size;
    this.#sizes.delete(key);
    const manifest = this.files.deleted(key);
    if (manifest !== undefined) this.#options.onManifestDeleted(manifest);
    const digest = digestOfBlobKey(key);
    if (digest !== undefined) this.files.blobDeleted(digest);
    const reader = this.#read.get(key);
    if (reader !== undefined && reader.untilMs > this.#options.nowMs()) {
      this.problems.push(`${key} was deleted while it was read by a restore of ${reader.why()}`);
    }
    const parts = this.#parts(key);
    if (parts === undefined) return;
    const files = this.levels(parts.timeline).get(parts.level) as LedgerFile[];
    const index = files.findIndex((file) => file.key === key);
    const [file] = files.splice(index, 1);
    if (file === undefined) return;
    this.deletes += 1;
    this.#options.onDeleted(file);
  }

  /** Of one timeline, live. */
  levels(timeline: string): Levels {
    return this.#timelines.get(timeline) ?? new Map();
  }

  get timelines(): string[] {
    return [...this.#timelines.keys()];
  }

  has(key: string): boolean {
    return this.#sizes.has(key);
  }

  get objectCount(): number {
    return this.#sizes.size;
  }

  /** Somebody plans a restore of these, and reads them until then. */
  reads(files: readonly { readonly key: string }[], untilMs: number, why: () => string): void {
    for (const { key } of files) this.#read.set(key, { untilMs, why });
    if (this.#read.size > readsMax) {
      for (const [key, { untilMs: ends }] of this.#read) {
        if (ends <= this.#options.nowMs()) this.#read.delete(key);
      }
    }
  }

  /** What was promised to readers under another policy holds no more. */
  forgetReads(): void {
    this.#read.clear();
  }

  #parts(key: string) {
    const { timelinesPrefix } = this.#options;
    if (!key.startsWith(timelinesPrefix)) return undefined;
    const slash = key.indexOf("/", timelinesPrefix.length);
    const parts = parseLtxKey(key.slice(slash + 1));
    return parts && { ...parts, timeline: key.slice(timelinesPrefix.length, slash) };
  }

  #parse({ key, size, storedAtMs, options }: StoredObject): Omit<LedgerFile, "change"> | undefined {
    const parts = this.#parts(key);
    if (parts === undefined) return undefined;
    const { timeline, level, minTxid, maxTxid } = parts;
    const timestampMs = options.timestamp?.getTime() ?? storedAtMs;
    const { listsTimestamps } = this.#options;
    return {
      timeline,
      level,
      minTxid,
      maxTxid,
      key,
      size,
      // Who has listed it knows when it was stored, who has written it what it says: nobody takes it for older than this.
      createdAt: new Date(listsTimestamps ? timestampMs : Math.min(timestampMs, storedAtMs)),
      min: Number(minTxid),
      max: Number(maxTxid),
      storedAtMs,
      timestampMs,
      rollingChecksum: options.metadata?.["rolling-checksum"],
    };
  }

  #decode(file: Omit<LedgerFile, "change">, bytes: Uint8Array): PageChange {
    const range = { minTxid: toTxid(file.min), maxTxid: toTxid(file.max) };
    const decoder = new LtxDecoder({ range, size: bytes.length });
    const pgnos: number[] = [];
    const ids: number[] = [];
    decoder.push(bytes);
    for (let page = decoder.readPage(); page !== undefined; page = decoder.readPage()) {
      pgnos.push(page.pgno);
      ids.push(readPageId(page.data));
    }
    const { header } = decoder.finish();
    if (header.timestampMs !== file.timestampMs) {
      this.problems.push(
        `${file.key} says ${header.timestampMs} inside and ${file.timestampMs} outside`,
      );
    }
    return { pgnos: Uint32Array.from(pgnos), ids: Float64Array.from(ids), commit: header.commit };
  }

  #add(file: LedgerFile): void {
    const levels = this.#timelines.get(file.timeline) ?? new Map<number, LedgerFile[]>();
    this.#timelines.set(file.timeline, levels);
    const files = levels.get(file.level) ?? [];
    levels.set(file.level, files);
    let index = files.length;
    while (index > 0 && isAfter(files[index - 1] as LedgerFile, file)) index -= 1;
    const before = files[index - 1];
    // Written again, as where nothing is exclusive.
    if (before?.key === file.key) files[index - 1] = file;
    else files.splice(index, 0, file);
    this.#options.onStored(file);
  }
}

const readsMax = 20_000;

function isAfter(a: LedgerFile, b: LedgerFile): boolean {
  return a.min === b.min ? a.max > b.max : a.min > b.min;
}

/** The pages after the files, applied in this order. @throws {Error} if a page is missing, as a restore would. */
export function applyFiles(files: readonly Pick<LedgerFile, "change" | "key">[]): PageIds {
  const pages: number[] = [];
  for (const { change } of files) {
    const { pgnos, ids, commit } = change;
    if (pages.length > commit) pages.length = commit;
    for (let index = 0; index < pgnos.length; index += 1) {
      pages[(pgnos[index] as number) - 1] = ids[index] as number;
    }
    if (pages.length !== commit)
      throw new Error(`page ${commit} of ${files.at(-1)?.key} is missing`);
  }
  for (let index = 0; index < pages.length; index += 1) {
    if (pages[index] === undefined)
      throw new Error(`page ${index + 1} of ${files.at(-1)?.key} is missing`);
  }
  return pages;
}
