import { databaseHeaderBytes, decodeDatabaseHeader } from "../sqlite/database-header.ts";

/**
 * The first 100 bytes of the copy, which differ from the replica's while it is followed (offsets: `sqlite/database-header.ts`):
 *
 * | Byte | While followed |
 * |---|---|
 * | 18, 19 | 1: readers use rollback-journal locks, whatever the source is |
 * | 24, 92 | a counter of our own, one more with each transaction: readers drop their caches when it moves |
 * | 28 | the size in pages, always right: with 92 equal to 24, readers believe it |
 *
 * Our counter begins half its range away from the source's, so that no reader that was idle for long takes one for the other: a copy that
 * rests has the source's header, byte for byte.
 */
export function toFollowedHeader(
  header: Uint8Array,
  pageCount: number,
  changeCounter: number,
): Uint8Array {
  const followed = copyHeader(header);
  const view = new DataView(followed.buffer);
  view.setUint8(18, 1);
  view.setUint8(19, 1);
  view.setUint32(24, changeCounter);
  view.setUint32(28, pageCount);
  view.setUint32(92, changeCounter);
  return followed;
}

/** The first counter for a copy whose source has this header. @throws {FormatError} `DATABASE_BAD_HEADER` */
export function firstChangeCounter(header: Uint8Array): number {
  return (decodeDatabaseHeader(header).changeCounter + 0x8000_0000) >>> 0;
}

export function nextChangeCounter(changeCounter: number): number {
  return (changeCounter + 1) >>> 0;
}

/** The header that page 1 begins with, in bytes of its own: `slice` of a Buffer would share them. */
export function copyHeader(page1: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(page1.subarray(0, databaseHeaderBytes));
}

/** A page 1 with another header. */
export function withHeader(page: Uint8Array, header: Uint8Array): Uint8Array {
  const patched = new Uint8Array(page);
  patched.set(header.subarray(0, databaseHeaderBytes));
  return patched;
}
