import { bytesOnDisk } from "./plan-spool-merge.ts";

/**
 * Which stored files the spool keeps beside the newest one: compaction reads them from here instead of from the store. They save requests
 * and nothing else, so they are few, and every one of them may go at any time.
 */
export interface SpoolCopyPolicy {
  /** So many files: four minutes at one a second, eight times what a finished window of level 1 waits for. */
  readonly filesMax: number;
  /** So many bytes of them, as they lie on the disk. */
  readonly bytesMax: number;
  /** A larger file is not kept: one of them would push out many that save as much. In bytes. */
  readonly fileBytesMax: number;
}

export const defaultSpoolCopyPolicy: SpoolCopyPolicy = {
  filesMax: 256,
  bytesMax: 32 * 1024 * 1024,
  fileBytesMax: 4 * 1024 * 1024,
};

/** For a stream that compacts nothing. */
export const noSpoolCopies: SpoolCopyPolicy = { filesMax: 0, bytesMax: 0, fileBytesMax: 0 };

export interface StoredCopy {
  /** In bytes. */
  readonly size: number;
}

/**
 * @param copies - stored files without the newest one, oldest first.
 * @returns those to keep, oldest first: the newest that fit.
 */
export function planSpoolCopies<T extends StoredCopy>(
  copies: readonly T[],
  policy: SpoolCopyPolicy,
): T[] {
  const kept: T[] = [];
  let bytes = 0;
  for (const copy of copies.toReversed()) {
    const size = bytesOnDisk(copy.size);
    if (size > policy.fileBytesMax) continue;
    if (kept.length === policy.filesMax || bytes + size > policy.bytesMax) break;
    kept.push(copy);
    bytes += size;
  }
  return kept.reverse();
}
