import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import Database from "better-sqlite3";
import {
  addFrameToSums,
  decodeFrameHeader,
  frameHeaderBytes,
  frameOffset,
} from "../../packages/wal-replicator/src/sqlite/wal-frame.ts";
import { decodeWalHeader } from "../../packages/wal-replicator/src/sqlite/wal-header.ts";

/**
 * Leaves a ghost frame: what a writer leaves that is killed between writing its commit frame and telling the wal-index. The frame
 * is valid in every respect and was never committed; the next commit overwrites it.
 *
 * To be called while no writer writes. The ghost changes the last byte of the newest frame's page.
 *
 * @returns false if the WAL holds no frame to follow.
 */
export function forgeGhostFrame(databasePath: string): boolean {
  const frameCount = committedFrames(databasePath);
  if (frameCount === 0) return false;
  const wal = readFileSync(`${databasePath}-wal`);
  const header = decodeWalHeader(wal.subarray(0, 32));
  if (header === "torn") throw new Error("the WAL has frames and no header");
  const { pageSize, order, salt } = header;
  const view = new DataView(wal.buffer, wal.byteOffset, wal.byteLength);
  const lastOffset = frameOffset(frameCount - 1, pageSize);
  const last = decodeFrameHeader(view, lastOffset);
  const ghost = new Uint8Array(wal.subarray(lastOffset, lastOffset + frameHeaderBytes + pageSize));
  const ghostView = new DataView(ghost.buffer);
  ghostView.setUint32(4, last.commit);
  ghost[ghost.length - 1] = (ghost[ghost.length - 1] as number) ^ 0xff;
  const sums = { ...last.sums };
  addFrameToSums(sums, ghostView, 0, pageSize, order);
  ghostView.setUint32(8, salt.salt1);
  ghostView.setUint32(12, salt.salt2);
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

/** Frames that are committed by the wal-index, whatever else the file holds. */
export function committedFrames(databasePath: string): number {
  return walState(databasePath).log;
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
