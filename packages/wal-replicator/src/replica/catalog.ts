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
 * What is known to be in one timeline, without listing it again: one writer per timeline means the writer knows what is there. Who stores a file
 * adds it, who deletes one removes it.
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

  /** Over ALL levels, never over level 0 alone, and over what was removed too: a TXID is not given twice. Undefined: there never was a file. */
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

  /** A file behind all others of its level, as the writer's next one is, costs no search. */
  add(file: ReplicaFile): void {
    const files = this.#levels.get(file.level) ?? [];
    this.#levels.set(file.level, files);
    const last = files.at(-1);
    if (last === undefined || compareRanges(last, file) < 0) files.push(file);
    else {
      const index = placeOf(files, file);
      if (compareRanges(files[index] as ReplicaFile, file) !== 0) files.splice(index, 0, file);
    }
    if (this.#highestTxid === undefined || file.maxTxid > this.#highestTxid) {
      this.#highestTxid = file.maxTxid;
    }
    const timestampMs = file.createdAt.getTime();
    this.#newestTimestampMs = Math.max(this.#newestTimestampMs ?? timestampMs, timestampMs);
  }

  /** The file of that level and range is not in the store any more. One that is not known is none. */
  remove(file: Pick<ReplicaFile, "level" | "minTxid" | "maxTxid">): void {
    const files = this.#levels.get(file.level) ?? [];
    const index = placeOf(files, file);
    const found = files[index];
    if (found !== undefined && compareRanges(found, file) === 0) files.splice(index, 1);
  }
}

/** The index of the first file that does not come before `file`. */
function placeOf(
  files: readonly ReplicaFile[],
  file: Pick<ReplicaFile, "minTxid" | "maxTxid">,
): number {
  let low = 0;
  let high = files.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareRanges(files[middle] as ReplicaFile, file) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The order of files within a level. */
export function compareRanges(
  a: Pick<ReplicaFile, "minTxid" | "maxTxid">,
  b: Pick<ReplicaFile, "minTxid" | "maxTxid">,
): number {
  if (a.minTxid !== b.minTxid) return a.minTxid < b.minTxid ? -1 : 1;
  return a.maxTxid === b.maxTxid ? 0 : a.maxTxid < b.maxTxid ? -1 : 1;
}
