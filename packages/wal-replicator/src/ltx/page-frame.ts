import { FormatError } from "../errors.ts";

/**
 * Page header, big-endian (ltx: ltx.go `PageHeader`):
 *
 * | Offset | Size | Field |
 * |---|---|---|
 * | 0 | 4 | pgno, from 1 |
 * | 4 | 2 | flags; bit 0: a size field and an LZ4 block follow, else an LZ4 frame without a size. Other bits: invalid |
 * | 6 | 4 | size of the block in bytes (only with bit 0) |
 *
 * What follows decompresses to exactly pageSize bytes. Six zero bytes end the pages. Headers and size fields are part of the
 * file's checksum, compressed bytes are not: the decompressed page is.
 */
export const pageHeaderBytes = 6;
export const sizeFieldBytes = 4;
export const blockFrameOverhead: number = pageHeaderBytes + sizeFieldBytes;

export interface PageHeader {
  /** 0 ends the pages. */
  readonly pgno: number;
  readonly hasSize: boolean;
}

/** Writes the header of a frame with a block of `size` bytes behind it: `blockFrameOverhead` bytes. */
export function writeBlockFrameHeader(
  target: Uint8Array,
  at: number,
  pgno: number,
  size: number,
): void {
  writeU32(target, at, pgno);
  target[at + 4] = 0;
  target[at + 5] = 1;
  writeU32(target, at + 6, size);
}

/**
 * Reads the six bytes at `at`, which must be there.
 *
 * @param offset - where they lie in the file, for the message.
 * @throws {FormatError} `LTX_BAD_PAGE` for unknown flags, and for flags without a page.
 */
export function readPageHeader(bytes: Uint8Array, at: number, offset: number): PageHeader {
  const pgno = readU32(bytes, at);
  const flags = ((bytes[at + 4] as number) << 8) | (bytes[at + 5] as number);
  if (flags > 1 || (pgno === 0 && flags !== 0)) {
    throw new FormatError("LTX_BAD_PAGE", `page ${pgno} has invalid flags ${flags}`, { offset });
  }
  return { pgno, hasSize: flags === 1 };
}

export function readU32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}

function writeU32(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
}
