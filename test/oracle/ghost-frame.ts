import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import Database from "better-sqlite3";
import {
  addFrameToSums,
  decodeFrameHeader,
  decodeWalHeader,
  findLatestFrames,
  frameHeaderBytes,
  frameOffset,
  sourceOf,
  type WalHeader,
  walFrameBytes,
} from "wal-replicator/internals";

/**
 * Leaves a ghost frame: what a writer leaves that is killed between writing its commit frame and telling the wal-index. The frame
 * is valid in every respect and was never committed; the next commit overwrites it, or a recovery takes it for committed.
 *
 * To be called while no writer writes. The ghost sets another `user_version` in page 1, which harms nobody if it is recovered.
 *
 * @returns false if the WAL holds no frame to follow.
 */
export function forgeGhostFrame(databasePath: string): boolean {
  const frameCount = walState(databasePath).log;
  if (frameCount <= 0) return false;
  const wal = readFileSync(`${databasePath}-wal`);
  const header = decodeWalHeader(wal.subarray(0, 32));
  if (header === "torn") throw new Error("the WAL has frames and no header");
  const { pageSize, order, salt } = header;
  const view = new DataView(wal.buffer, wal.byteOffset, wal.byteLength);
  const last = decodeFrameHeader(view, frameOffset(frameCount - 1, pageSize));
  const ghost = new Uint8Array(walFrameBytes(pageSize));
  ghost.set(newestPage1(databasePath, wal, header, frameCount), frameHeaderBytes);
  const ghostView = new DataView(ghost.buffer);
  const userVersionAt = frameHeaderBytes + 60;
  ghostView.setUint32(userVersionAt, ghostView.getUint32(userVersionAt) + 1);
  ghostView.setUint32(0, 1);
  ghostView.setUint32(4, last.commit);
  ghostView.setUint32(8, salt.salt1);
  ghostView.setUint32(12, salt.salt2);
  const sums = { ...last.sums };
  addFrameToSums(sums, ghostView, 0, pageSize, order);
  ghostView.setUint32(16, sums.s0);
  ghostView.setUint32(20, sums.s1);
  const descriptor = openSync(`${databasePath}-wal`, "r+");
  try {
    writeSync(descriptor, ghost, 0, ghost.length, frameOffset(frameCount, pageSize));
  } finally {
    closeSync(descriptor);
  }
  return true;
}

function newestPage1(
  databasePath: string,
  wal: Uint8Array,
  header: WalHeader,
  frameCount: number,
): Uint8Array {
  const { pageSize } = header;
  const frameIndex = findLatestFrames(sourceOf(wal), header, frameCount, [1]).get(1);
  if (frameIndex === undefined) return readFileSync(databasePath).subarray(0, pageSize);
  const offset = frameOffset(frameIndex, pageSize) + frameHeaderBytes;
  return wal.subarray(offset, offset + pageSize);
}

/**
 * How many frames of the WAL may already be in the database file: what a checkpoint had begun to move when it was killed counts,
 * since it had synced the WAL before. Read from the wal-index (sqlite `wal.c`, `WalCkptInfo`), in a process without SQLite locks.
 */
export function framesMoved(databasePath: string): number {
  const index = readFileSync(`${databasePath}-shm`);
  const nBackfill = index.readUInt32LE(96);
  const nBackfillAttempted = index.readUInt32LE(128);
  return Math.max(nBackfill, nBackfillAttempted);
}

/** How far the wal-index and the checkpoints are. */
export function walState(databasePath: string): {
  readonly log: number;
  readonly checkpointed: number;
} {
  const database = new Database(databasePath);
  try {
    const rows = database.pragma("wal_checkpoint(NOOP)") as { log: number; checkpointed: number }[];
    return rows[0] as { log: number; checkpointed: number };
  } finally {
    // Not the last connection: the engine holds its own, so nothing is checkpointed by this close.
    database.close();
  }
}
