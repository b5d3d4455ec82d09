import type { Salt } from "./salt.ts";
import { addToSums, type ByteOrder, type WalSums } from "./wal-checksum.ts";
import { walHeaderBytes } from "./wal-header.ts";

/**
 * A frame of a WAL (sqlite `wal.c`, "WAL FILE FORMAT"): a header of 24 bytes, all fields big-endian u32, then one page.
 *
 * | Byte | Field |
 * |---|---|
 * | 0 | pgno; 0 is invalid |
 * | 4 | commit: size of the database in pages after the transaction; 0 if not its last frame |
 * | 8, 12 | salt-1, salt-2: those of the WAL's header |
 * | 16, 20 | sums over bytes 0 to 7 and the page, continuing those of the frame before |
 */
export interface WalFrameHeader {
  readonly pgno: number;
  readonly commit: number;
  readonly salt: Salt;
  readonly sums: Readonly<WalSums>;
}

export const frameHeaderBytes = 24;

/** Bytes of the frame header that the sums cover. */
const summedHeaderBytes = 8;

/** Where the frame begins, in bytes from the start of the WAL. @param frameIndex - from 0. */
export function frameOffset(frameIndex: number, pageSize: number): number {
  return walHeaderBytes + frameIndex * walFrameBytes(pageSize);
}

/** Length of a frame: its header and one page. */
export function walFrameBytes(pageSize: number): number {
  return frameHeaderBytes + pageSize;
}

/**
 * Decodes the frame header at `offset` of the view. It judges nothing: whether the frame counts is up to the reader.
 *
 * @throws {RangeError} if the view ends before it.
 */
export function decodeFrameHeader(view: DataView, offset: number): WalFrameHeader {
  return {
    pgno: view.getUint32(offset),
    commit: view.getUint32(offset + 4),
    salt: { salt1: view.getUint32(offset + 8), salt2: view.getUint32(offset + 12) },
    sums: { s0: view.getUint32(offset + 16), s1: view.getUint32(offset + 20) },
  };
}

/**
 * Whether SQLite left the frame without salts and sums. Versions up to at least 3.40 commit such frames (`wal.c`, `walEncodeFrame`
 * under `iReCksum`): a transaction spilled, was rolled back to a savepoint, and went on, and the frames from there to the first
 * one that had been rewritten in place are never sealed. Seen with Debian's 3.40.1, not with 3.54. Readers go by the
 * wal-index and see them; a recovery would lose them.
 */
export function isUnsealed(frame: WalFrameHeader): boolean {
  const { salt, sums } = frame;
  return frame.pgno !== 0 && salt.salt1 === 0 && salt.salt2 === 0 && sums.s0 === 0 && sums.s1 === 0;
}

/** Adds the frame at `offset` of the view to the sums, in place: what its own stored sums must then be. */
export function addFrameToSums(
  sums: WalSums,
  view: DataView,
  offset: number,
  pageSize: number,
  order: ByteOrder,
): void {
  addToSums(sums, view, offset, offset + summedHeaderBytes, order);
  const page = offset + frameHeaderBytes;
  addToSums(sums, view, page, page + pageSize, order);
}
