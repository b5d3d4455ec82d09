import type { Txid } from "../ltx/txid.ts";

/** One LTX file of a replica, as far as a listing tells. */
export interface ReplicaFile {
  readonly timeline: string;
  /** 0 … 9. */
  readonly level: number;
  readonly minTxid: Txid;
  readonly maxTxid: Txid;
  /** The whole key in the store. */
  readonly key: string;
  /** In bytes. */
  readonly size: number;
  /** The moment that the content is of, as far as the listing says; else when it was stored. Restores to a time go by it. */
  readonly createdAt: Date;
}

/**
 * What is known to be in one timeline, without listing it again: one writer per timeline means the writer knows what is there.
 *
 * Each level is sorted by (minTxid, maxTxid) and holds a range once; the first file known for a range stays.
 */
export class Catalog {
  readonly #levels = new Map<number, ReplicaFile[]>();
  #highestTxid: Txid | undefined;
  #newestTimestampMs: number | undefined;

  constructor(files: Iterable<ReplicaFile> = []) {
    for (const file of files) this.add(file);
  }

  /** Over ALL levels, never over level 0 alone, which retention may have emptied. Undefined: there are no files. */
  get highestTxid(): Txid | undefined {
    return this.#highestTxid;
  }

  /** The latest `createdAt`, in milliseconds since the Unix epoch. */
  get newestTimestampMs(): number | undefined {
    return this.#newestTimestampMs;
  }

  /** Files of one level, ascending. */
  level(level: number): readonly ReplicaFile[] {
    return this.#levels.get(level) ?? [];
  }

  /** All files: levels ascending, within a level by TXID. */
  get files(): ReplicaFile[] {
    return [...this.#levels.keys()].sort((a, b) => a - b).flatMap((level) => this.level(level));
  }

  add(file: ReplicaFile): void {
    const files = this.#levels.get(file.level) ?? [];
    this.#levels.set(file.level, files);
    let index = files.length;
    while (index > 0 && compareRanges(files[index - 1] as ReplicaFile, file) > 0) index -= 1;
    const before = files[index - 1];
    if (before === undefined || compareRanges(before, file) !== 0) files.splice(index, 0, file);
    if (this.#highestTxid === undefined || file.maxTxid > this.#highestTxid) {
      this.#highestTxid = file.maxTxid;
    }
    const timestampMs = file.createdAt.getTime();
    this.#newestTimestampMs = Math.max(this.#newestTimestampMs ?? timestampMs, timestampMs);
  }
}

/** The order of files within a level. */
export function compareRanges(
  a: Pick<ReplicaFile, "minTxid" | "maxTxid">,
  b: Pick<ReplicaFile, "minTxid" | "maxTxid">,
): number {
  if (a.minTxid !== b.minTxid) return a.minTxid < b.minTxid ? -1 : 1;
  return a.maxTxid === b.maxTxid ? 0 : a.maxTxid < b.maxTxid ? -1 : 1;
}
