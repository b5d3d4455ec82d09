import type { Txid } from "../ltx/txid.ts";

/**
 * When files that wait for the store are merged, and which (wal-capture.md 7): behind a store that is away, or slower than the writer, the
 * spool stays as small as the database. What is lost is the choice of a moment in between: the merged file is the newest of them.
 *
 * Only the newest files are merged, so that no TXID behind them has to change, and never the first that waits, which may have been
 * tried: a PUT that failed may have landed.
 *
 * Geometric: a file is merged again once what came after it has a quarter of its size. So each captured byte is rewritten a few times, and not
 * once for every later capture; and the files that wait sum up to no more than a third beyond the largest.
 */
export interface SpoolMergePolicy {
  /** So many small files may wait unmerged: a few minutes at one a second. */
  readonly filesMax: number;
  /** So many bytes of them, as they lie on the disk. */
  readonly bytesMax: number;
}

export const defaultSpoolMergePolicy: SpoolMergePolicy = {
  filesMax: 256,
  bytesMax: 32 * 1024 * 1024,
};

/** A file is taken along if it is at most so many times as large as everything behind it. */
export const sizeRatioMax = 4;
/** All inputs of a merge are open at the same time. After a long time of merges that failed, it takes several. */
const inputsMax = 512;
/** What the smallest file takes on most disks. */
const blockBytes = 4096;

export interface WaitingFile {
  readonly name: { readonly minTxid: Txid; readonly maxTxid: Txid };
  /** In bytes. */
  readonly size: number;
}

/**
 * @param waiting - all files that wait, oldest first.
 * @returns how many of the newest to merge into one; 0 if it is not time.
 */
export function planSpoolMerge(
  waiting: readonly WaitingFile[],
  policy: SpoolMergePolicy = defaultSpoolMergePolicy,
): number {
  let count = 0;
  let bytes = 0;
  for (let index = waiting.length - 1; index > 0 && count < inputsMax; index--) {
    const file = waiting[index] as WaitingFile;
    const size = bytesOnDisk(file.size);
    const isBase = file.name.minTxid !== file.name.maxTxid;
    if (isBase || (count > 0 && size > bytes * sizeRatioMax)) break;
    count += 1;
    bytes += size;
  }
  const isTime = count > policy.filesMax || bytes > policy.bytesMax;
  return isTime && count > 1 ? count : 0;
}

/** As it counts in the bounds: whole blocks. */
export function bytesOnDisk(size: number): number {
  return Math.ceil(size / blockBytes) * blockBytes;
}
