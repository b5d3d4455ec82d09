import { spawnSync } from "node:child_process";
import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  addFrameToSums,
  decodeFrameHeader,
  decodeWalHeader,
  frameOffset,
  walFrameBytes,
} from "wal-replicator/internals";

const entry = fileURLToPath(new URL("./grow-main.ts", import.meta.url));

/**
 * Grows the database by pages that never go through the WAL: free pages that SQLite allocated and has no need to write. SQLite of today
 * writes them all the same, older ones and other pagers do not (litestream #1323), so a real transaction that leaves free
 * pages is made by a process that is then killed, and their frames are taken out of the WAL.
 *
 * To be called while nobody has the database open. The next connection recovers the WAL as it then is.
 *
 * @returns how many pages grew outside the WAL.
 */
export function growOutsideWal(databasePath: string): number {
  const child = spawnSync(process.execPath, [entry, databasePath], { encoding: "utf8" });
  if (child.signal !== "SIGKILL") throw new Error(`growing failed: ${child.stderr}`);
  const { oldPageCount, freeLeaves } = JSON.parse(child.stdout) as {
    oldPageCount: number;
    freeLeaves: number[];
  };
  const dropped = new Set(freeLeaves.filter((pgno) => pgno > oldPageCount));
  rmSync(`${databasePath}-shm`, { force: true });
  dropFromLastTransaction(`${databasePath}-wal`, dropped, statSync(databasePath).size);
  return dropped.size;
}

function dropFromLastTransaction(
  walPath: string,
  dropped: ReadonlySet<number>,
  databaseBytes: number,
): void {
  const wal = readFileSync(walPath);
  const header = decodeWalHeader(wal.subarray(0, 32));
  if (header === "torn") throw new Error("the transaction left no WAL");
  const { pageSize, order, salt } = header;
  const view = new DataView(wal.buffer, wal.byteOffset, wal.byteLength);
  const frameAt = (index: number) => decodeFrameHeader(view, frameOffset(index, pageSize));
  // The frames of this generation that are valid: what follows is older.
  let frameCount = 0;
  let firstOfLast = 0;
  let commitSize = 0;
  const sums = { ...header.sums };
  let sumsBeforeLast = { ...sums };
  for (let index = 0; frameOffset(index + 1, pageSize) <= wal.length; index++) {
    const frame = frameAt(index);
    if (frame.salt.salt1 !== salt.salt1 || frame.salt.salt2 !== salt.salt2) break;
    addFrameToSums(sums, view, frameOffset(index, pageSize), pageSize, order);
    if (frame.sums.s0 !== sums.s0 || frame.sums.s1 !== sums.s1) break;
    if (frame.commit === 0) continue;
    firstOfLast = frameCount;
    frameCount = index + 1;
    commitSize = frame.commit;
  }
  sumsBeforeLast = firstOfLast === 0 ? { ...header.sums } : { ...frameAt(firstOfLast - 1).sums };
  // A checkpoint takes a database for malformed that would grow by more than the WAL explains (`wal.c`, `walCheckpoint`, nReq).
  let mayDrop = Math.floor((databaseBytes + 65_536) / pageSize) + frameCount - commitSize - 1;
  const kept: Uint8Array[] = [];
  for (let index = firstOfLast; index < frameCount; index++) {
    if (mayDrop > 0 && dropped.has(frameAt(index).pgno)) {
      mayDrop -= 1;
      continue;
    }
    const offset = frameOffset(index, pageSize);
    kept.push(new Uint8Array(wal.subarray(offset, offset + walFrameBytes(pageSize))));
  }
  for (const [index, frame] of kept.entries()) {
    const frameView = new DataView(frame.buffer);
    frameView.setUint32(4, index === kept.length - 1 ? commitSize : 0);
    addFrameToSums(sumsBeforeLast, frameView, 0, pageSize, order);
    frameView.setUint32(16, sumsBeforeLast.s0);
    frameView.setUint32(20, sumsBeforeLast.s1);
  }
  writeFileSync(
    walPath,
    Buffer.concat([wal.subarray(0, frameOffset(firstOfLast, pageSize)), ...kept]),
  );
}
