import type { BigIntStats } from "node:fs";

/**
 * What the file system says of a file without its bytes. Two files that agree in all of it have the same content, unless the
 * second was written within one tick of the file system's clock after the first was seen (`isRaceFree`).
 *
 * The change time cannot be set by a program, so it also tells of an mtime that was put back. The device is left out: it is
 * numbered anew at a mount.
 */
export interface FileIdentity {
  /** Bytes. */
  readonly size: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly inode: bigint;
}

export function identityOf(stats: BigIntStats): FileIdentity {
  return {
    size: Number(stats.size),
    mtimeNs: stats.mtimeNs,
    ctimeNs: stats.ctimeNs,
    inode: stats.ino,
  };
}

export function isSameIdentity(a: FileIdentity, b: FileIdentity): boolean {
  return (
    a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs && a.inode === b.inode
  );
}

/** Coarser than the clock of any file system: FAT has 2 s, Linux's own have a few milliseconds. */
export const tickMs = 2_000;

/**
 * Whether a write after the file was read would show in its identity.
 *
 * Git calls the opposite "racily clean": read, and written again in the same tick with the same size, a file looks as if it had not been.
 * Either of two clocks may prove that a tick had passed: the file's own change time against ours, or, where clocks disagree, our
 * having seen it the same for so long.
 *
 * @param readAt - when the reading began, by the wall clock, and `readMs` by the monotonic one.
 * @param seenMs - when it was first seen with this identity, by the monotonic clock.
 */
export function isRaceFree(
  { ctimeNs }: FileIdentity,
  {
    readAt,
    readMs,
    seenMs,
  }: { readonly readAt: Date; readonly readMs: number; readonly seenMs: number },
): boolean {
  return Number(ctimeNs / 1_000_000n) + tickMs <= readAt.getTime() || readMs - seenMs >= tickMs;
}
