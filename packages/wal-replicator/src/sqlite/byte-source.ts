import { readSync } from "node:fs";

/** Bytes at positions: a file, or a buffer in tests. */
export interface ByteSource {
  /**
   * Fills the beginning of `target` with the bytes at `position`.
   *
   * @returns the bytes read: at most `target.length`, fewer at the end or at will, 0 only at or behind the end.
   */
  read(target: Uint8Array, position: number): number;
}

/** Reads until `target` is full or the source ends. @returns the bytes read. */
export function readFully(source: ByteSource, target: Uint8Array, position: number): number {
  let filled = 0;
  while (filled < target.length) {
    const count = source.read(target.subarray(filled), position + filled);
    if (count === 0) break;
    filled += count;
  }
  return filled;
}

/** As `readFully`, of an open file: read(2) may return less than asked in the middle of one. */
export function readDescriptor(descriptor: number, target: Uint8Array, position: number): number {
  const source: ByteSource = {
    read: (part, at) => readSync(descriptor, part, 0, part.length, at),
  };
  return readFully(source, target, position);
}
