import { invariant } from "../errors.ts";
import { type ByteSource, readFully } from "./byte-source.ts";
import { FrameLog } from "./frame-log.ts";
import { formatSalt, parseSalt, type Salt, saltsEqual } from "./salt.ts";
import { sumsEqual, type WalSums } from "./wal-checksum.ts";
import {
  addFrameToSums,
  decodeFrameHeader,
  frameHeaderBytes,
  frameOffset,
  isUnsealed,
  walFrameBytes,
} from "./wal-frame.ts";
import type { WalHeader } from "./wal-header.ts";

export type { LatestFrames } from "./frame-log.ts";

/**
 * Reads what was committed to a WAL.
 *
 * - A frame is valid if its salts are those of the header and the running sums hold up to it. It counts if a valid commit frame
 *   follows or it is one; everything else may still be rewritten in place.
 * - Below the limit, where the wal-index vouches, frames count that SQLite itself left without salts and sums (`isUnsealed`).
 * - Why reading stopped is data, not an error: behind the newest transaction lies nothing, half a frame, or an older generation.
 * - Bytes tell no committed frame from a ghost (a writer killed before the wal-index knew): `frameLimit` has to.
 * - Nothing here is atomic. A WAL restarted meanwhile shows as other salts in the header afterwards; the caller looks.
 */
export interface WalPosition {
  readonly salt: Salt;
  /** Frames before the position; the frame that comes next has this index. */
  readonly frameCount: number;
  /** The sums after the last of them. */
  readonly sums: Readonly<WalSums>;
}

export type WalStop =
  /** All frames below the limit are valid. */
  | "limit"
  /** The file ends behind a whole frame. */
  | "end"
  /** A frame of another generation: the remains of the one before, or the WAL was restarted while it was read. */
  | "salt-changed"
  /** A frame that does not continue the sums, or has pgno 0: torn, damaged, or being rewritten. */
  | "checksum-mismatch"
  /** The file ends in the middle of a frame. */
  | "partial-frame";

export interface WalScan {
  readonly stop: WalStop;
  /** Behind the last commit frame; where the scan began if it met none. */
  readonly end: WalPosition;
  /** Size of the database in pages as of `end`; 0 if no commit frame was met. */
  readonly commit: number;
  /** The committed frames that were read, and no others. */
  readonly frames: FrameLog;
}

/** Read at once; bounds the memory and the time between two yields (less than a millisecond, from the page cache). */
const blockBytes = 1 << 20;

/** The position before the first frame. */
export function startOfWal(header: WalHeader): WalPosition {
  return { salt: header.salt, frameCount: 0, sums: header.sums };
}

/** 40 hex digits, lower case: salts, frame count, s0, s1. */
export function formatWalPosition(position: WalPosition): string {
  const { frameCount, sums } = position;
  const rest = [frameCount, sums.s0, sums.s1].map((value) => value.toString(16).padStart(8, "0"));
  return formatSalt(position.salt) + rest.join("");
}

/** Reads exactly 40 lower-case hex digits. @returns undefined for anything else. */
export function parseWalPosition(text: string): WalPosition | undefined {
  if (!/^[0-9a-f]{40}$/.test(text)) return undefined;
  const u32At = (start: number): number => Number.parseInt(text.slice(start, start + 8), 16);
  return {
    salt: parseSalt(text.slice(0, 16)) as Salt,
    frameCount: u32At(16),
    sums: { s0: u32At(24), s1: u32At(32) },
  };
}

/**
 * Reads the frames from a position on, in blocks of about 1 MiB, and yields between two blocks.
 *
 * @param header - of this source, read before.
 * @param from - a position of this generation, behind a commit frame or at the start.
 * @param frameLimit - index of the first frame that is not read: how many frames the wal-index says are committed.
 */
export function* scanWal(
  source: ByteSource,
  header: WalHeader,
  from: WalPosition,
  frameLimit: number,
): Generator<void, WalScan> {
  invariant(saltsEqual(from.salt, header.salt), "the position is of another generation of the WAL");
  const { pageSize, order, salt } = header;
  const frameBytes = walFrameBytes(pageSize);
  const frames = new FrameLog();
  const block = new Uint8Array(
    frameBytes * Math.max(0, Math.min(framesPerBlock(pageSize), frameLimit - from.frameCount)),
  );
  const view = new DataView(block.buffer);
  const sums: WalSums = { ...from.sums };
  let isBehindUnsealed = from.frameCount > 0 && from.sums.s0 === 0 && from.sums.s1 === 0;
  let frameIndex = from.frameCount;
  let end = from;
  let commit = 0;

  const readBlock = (): WalStop | undefined => {
    if (frameIndex >= frameLimit) return "limit";
    const wanted = Math.min(block.length, (frameLimit - frameIndex) * frameBytes);
    const filled = readFully(source, block.subarray(0, wanted), frameOffset(frameIndex, pageSize));
    for (let offset = 0; offset + frameBytes <= filled; offset += frameBytes) {
      const frame = decodeFrameHeader(view, offset);
      const unsealed = isUnsealed(frame);
      if (!unsealed) {
        if (!saltsEqual(frame.salt, salt)) return "salt-changed";
        addFrameToSums(sums, view, offset, pageSize, order);
        // What continues an unsealed frame continues sums that only the writer knew.
        const isProved = sumsEqual(frame.sums, sums) || isBehindUnsealed;
        if (frame.pgno === 0 || !isProved) return "checksum-mismatch";
      }
      isBehindUnsealed = unsealed;
      sums.s0 = frame.sums.s0;
      sums.s1 = frame.sums.s1;
      frames.add(frame.pgno, frameIndex);
      frameIndex += 1;
      if (frame.commit !== 0) {
        frames.commit();
        end = { salt, frameCount: frameIndex, sums: frame.sums };
        commit = frame.commit;
      }
    }
    if (filled < wanted) return filled % frameBytes === 0 ? "end" : "partial-frame";
    return frameIndex >= frameLimit ? "limit" : undefined;
  };

  let stop = readBlock();
  while (stop === undefined) {
    yield;
    stop = readBlock();
  }
  return { stop, end, commit, frames };
}

/**
 * Whether the last frame before the position still is the one that it was taken behind: its salts, its stored sums, and its
 * bytes, which continue the frame before.
 *
 * @returns `short` if the file ends before the position, `no-frame` if it is the start of a WAL.
 */
export function verifyFrameAt(
  source: ByteSource,
  header: WalHeader,
  position: WalPosition,
): "match" | "short" | "mismatch" | "no-frame" {
  if (position.frameCount === 0) return "no-frame";
  const { pageSize, order } = header;
  const frameIndex = position.frameCount - 1;
  const bytes = new Uint8Array(walFrameBytes(pageSize));
  const view = new DataView(bytes.buffer);
  let before = header.sums;
  let isBehindUnsealed = false;
  if (frameIndex > 0) {
    const frameHeader = bytes.subarray(0, frameHeaderBytes);
    const offset = frameOffset(frameIndex - 1, pageSize);
    if (readFully(source, frameHeader, offset) < frameHeaderBytes) return "short";
    const frameBefore = decodeFrameHeader(view, 0);
    before = frameBefore.sums;
    isBehindUnsealed = isUnsealed(frameBefore);
  }
  if (readFully(source, bytes, frameOffset(frameIndex, pageSize)) < bytes.length) return "short";
  const frame = decodeFrameHeader(view, 0);
  if (!sumsEqual(frame.sums, position.sums)) return "mismatch";
  if (isUnsealed(frame)) return "match";
  if (!saltsEqual(frame.salt, position.salt)) return "mismatch";
  const sums: WalSums = { ...before };
  addFrameToSums(sums, view, 0, pageSize, order);
  return isBehindUnsealed || sumsEqual(sums, position.sums) ? "match" : "mismatch";
}

/**
 * Looks for the newest frame of each wanted page below `frameLimit`, as SQLite would when it reads the page. Only frame headers
 * are looked at: the frames were verified when they were captured.
 *
 * @param frameLimit - index of the first frame that does not count; all below it are committed.
 * @returns pgno → frameIndex, without the pages that have no frame.
 */
export function findLatestFrames(
  source: ByteSource,
  header: WalHeader,
  frameLimit: number,
  pgnos: Iterable<number>,
): Map<number, number> {
  const { pageSize, salt } = header;
  const frameBytes = walFrameBytes(pageSize);
  const found = new Map<number, number>();
  const wanted = new Set(pgnos);
  const block = new Uint8Array(frameBytes * Math.min(framesPerBlock(pageSize), frameLimit));
  const view = new DataView(block.buffer);
  // Backwards, so that the first frame met is the newest, and reading stops when all are found.
  for (let upTo = frameLimit; upTo > 0 && wanted.size > 0; ) {
    const first = Math.max(0, upTo - framesPerBlock(pageSize));
    const target = block.subarray(0, (upTo - first) * frameBytes);
    const filled = readFully(source, target, frameOffset(first, pageSize));
    for (let frameIndex = upTo - 1; frameIndex >= first; frameIndex--) {
      const offset = (frameIndex - first) * frameBytes;
      if (offset + frameBytes > filled) continue; // cut off under us
      const frame = decodeFrameHeader(view, offset);
      if ((saltsEqual(frame.salt, salt) || isUnsealed(frame)) && wanted.delete(frame.pgno)) {
        found.set(frame.pgno, frameIndex);
      }
    }
    upTo = first;
  }
  return found;
}

function framesPerBlock(pageSize: number): number {
  return Math.max(1, Math.floor(blockBytes / walFrameBytes(pageSize)));
}
