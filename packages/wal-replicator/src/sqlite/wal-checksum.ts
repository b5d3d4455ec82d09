/**
 * SQLite's WAL checksum (`wal.c`, `walChecksumBytes`): two u32 sums over pairs of 32-bit words, each depending on the other.
 * It finds torn and stale frames; it is no protection against intent.
 */
export interface WalSums {
  /** u32. */
  s0: number;
  /** u32. */
  s1: number;
}

/** How the summed words are read, told by the WAL's magic. The stored fields are big-endian in either case. */
export type ByteOrder = "little-endian" | "big-endian";

/**
 * Adds the bytes from `start` to `end` to the sums, in place and without allocating.
 *
 * @param view - over the bytes; no alignment is needed.
 * @param start - `end - start` is a multiple of 8.
 */
export function addToSums(
  sums: WalSums,
  view: DataView,
  start: number,
  end: number,
  order: ByteOrder,
): void {
  const isLittleEndian = order === "little-endian";
  let s0 = sums.s0 | 0;
  let s1 = sums.s1 | 0;
  // V8 compiles both orders of getInt32 to one load (and a byte swap), so neither typed arrays nor their alignment pay off.
  for (let offset = start; offset < end; offset += 8) {
    s0 = (s0 + view.getInt32(offset, isLittleEndian) + s1) | 0;
    s1 = (s1 + view.getInt32(offset + 4, isLittleEndian) + s0) | 0;
  }
  sums.s0 = s0 >>> 0;
  sums.s1 = s1 >>> 0;
}

export function sumsEqual(a: Readonly<WalSums>, b: Readonly<WalSums>): boolean {
  return a.s0 === b.s0 && a.s1 === b.s1;
}
