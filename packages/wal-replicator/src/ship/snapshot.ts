import { mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { invariant, ReplicationError } from "../errors.ts";
import { LtxEncoder } from "../ltx/encoder.ts";
import { type Txid, toTxid } from "../ltx/txid.ts";
import type { LocalLtxFile } from "../replica/replica.ts";
import type { SqliteConnection } from "../sqlite/connection.ts";
import type { DatabaseFile } from "../sqlite/database-file.ts";
import type { Capture, CaptureState } from "./capture.ts";
import { DatabaseCopy } from "./database-copy.ts";
import { DatabaseView, WalTruncated } from "./database-view.ts";
import type { PageChecksums } from "./page-checksums.ts";

/**
 * A full copy of the database as of exactly the newest captured TXID, as the LTX file `1-txid`: the snapshot that restores begin with, and
 * the base of a timeline that branched off. It captures nothing; passes go on meanwhile.
 *
 * A read transaction as long as the database is large would hold every checkpoint back, and the WAL would grow with all that is written
 * meanwhile. So most of the work is done without any:
 *
 * 1. The database file is copied page by page, and each page's checksum noted. The copy is of no moment: pages change while it is made, and the
 *    newest are in the WAL.
 * 2. Under a read transaction that begins before a pass, the pages whose checksums are not those that this pass captured are read again.
 *    They are few: what lay in the WAL, and what was written meanwhile. Where they are not, step 1 is repeated for them before.
 * 3. Without a transaction again, the copy is encoded.
 *
 * That the copy is the captured state is decided by the rolling checksum, never by times or positions.
 */
export interface SnapshotDeps {
  readonly capture: Pick<Capture, "state" | "nextTimestampMs">;
  readonly database: DatabaseFile;
  readonly walPath: string;
  readonly pageSize: number;
  /** A connection of its own; it is closed here. */
  readonly openReader: () => SqliteConnection;
  /** Resolves when a pass that began after the call has ended. */
  readonly pass: () => Promise<void>;
  /** Resolves when everything captured so far is stored: a snapshot is never the only file of its TXID. */
  readonly storedSoFar: (signal: AbortSignal) => Promise<void>;
  /** How many merges of the spool took TXIDs back so far; never one that is stored. */
  readonly mergeCount: () => number;
}

export interface SnapshotFile extends LocalLtxFile {
  readonly name: LocalLtxFile["name"] & { readonly rollingChecksum: string };
}

/** So much may be left to read under the transaction: what the WAL holds between two checkpoints, and as much again. A moment's work. */
const heldBytesMax = 16 * 1024 * 1024;
/** Behind a writer that is faster than so many rounds, the transaction takes the longer rest. */
const roundsMax = 4;
/** A view that meets a WAL in the middle of its restart looks again. */
const attemptsMax = 40;

export class SnapshotMaker {
  readonly #deps: SnapshotDeps;
  /** The newest one, and the time in its header. */
  #newest: { readonly txid: Txid; readonly timestampMs: number } | undefined;

  constructor(deps: SnapshotDeps) {
    this.#deps = deps;
  }

  /**
   * Makes the file in `directory`, which is created if it is missing; until the encoding is done it also holds a copy of the database. Whoever
   * gets the file removes it. What is left after a crash ends in `.tmp`.
   *
   * @returns when everything up to its TXID is stored.
   */
  async make(directory: string, signal: AbortSignal): Promise<SnapshotFile> {
    await mkdir(directory, { recursive: true });
    const path = join(directory, "snapshot.tmp");
    try {
      for (;;) {
        const mergeCount = this.#deps.mergeCount();
        const file = await this.#write(path, join(directory, "database.tmp"), signal);
        await this.#deps.storedSoFar(signal);
        // Its TXID may have been taken back since, and given to another state.
        if (this.#deps.mergeCount() === mergeCount) return file;
      }
    } catch (error) {
      // A disk that was too small for it is not kept full by half of it.
      await rm(path, { force: true });
      throw error;
    }
  }

  async #write(path: string, copyPath: string, signal: AbortSignal): Promise<SnapshotFile> {
    await using copy = await DatabaseCopy.begin(copyPath, this.#deps.pageSize);
    await this.#copyWithoutTransaction(copy, signal);
    const { txid, timestampMs } = await this.#copyRest(copy, signal);
    const header = {
      pageSize: copy.pageSize,
      commit: copy.pageCount,
      minTxid: toTxid(1n),
      maxTxid: txid,
      timestampMs,
      walOffset: 0,
    };
    const size = await encode(copy, new LtxEncoder(header), path, signal);
    const name = { minTxid: toTxid(1n), maxTxid: txid, rollingChecksum: copy.rollingChecksum };
    return { path, size, name };
  }

  async #copyWithoutTransaction(copy: DatabaseCopy, signal: AbortSignal): Promise<void> {
    const { capture, database, pass, pageSize } = this.#deps;
    // After a crash the first pass finds out what the pages are.
    if (capture.state.checksums === undefined) await pass();
    for (let round = 1; round <= roundsMax; round++) {
      const stale = copy.findStale(known(capture).checksums);
      if (stale.length * pageSize <= heldBytesMax) return;
      await copy.take(
        stale,
        (firstPgno, pages) => {
          const filled = database.read(pages, (firstPgno - 1) * pageSize);
          pages.fill(0, filled);
        },
        signal,
      );
    }
  }

  async #copyRest(
    copy: DatabaseCopy,
    signal: AbortSignal,
  ): Promise<{ readonly txid: Txid; readonly timestampMs: number }> {
    const { capture, database, walPath, openReader, pass } = this.#deps;
    const reader = openReader();
    try {
      reader.beginRead();
      await pass();
      for (let attempt = 0; attempt < attemptsMax; attempt++) {
        signal.throwIfAborted();
        const { txid, walPosition, pageCount, checksums } = known(capture);
        const { rolling } = checksums;
        const stale = copy.findStale(checksums);
        const timestampMs = this.#timestampMs(txid);
        const moment = { walPosition, pageCount };
        const view = await DatabaseView.openAt(database, walPath, reader, moment);
        if (typeof view !== "string" && (await takeFrom(view, copy, stale, signal))) {
          invariant(copy.rollingChecksum === rolling, "a snapshot has what was captured");
          return { txid, timestampMs };
        }
        await sleep(Math.min(2 ** attempt, 100));
      }
      throw new ReplicationError(
        "CAPTURE_UNSTABLE",
        `the database could not be read in ${attemptsMax} looks`,
        "It is tried again later; restores begin with an older snapshot meanwhile, or with the parent of the timeline.",
      );
    } finally {
      reader.close();
    }
  }

  /** Made again of the same TXID, it has the same bytes: an attempt whose answer was lost may lie in the store. */
  #timestampMs(txid: Txid): number {
    if (this.#newest?.txid !== txid) {
      this.#newest = { txid, timestampMs: this.#deps.capture.nextTimestampMs() };
    }
    return this.#newest.timestampMs;
  }
}

/** A captured state: there is one once a pass has ended. */
function known({ state }: SnapshotDeps["capture"]): CaptureState & {
  readonly txid: Txid;
  readonly checksums: PageChecksums;
} {
  const { txid, checksums } = state;
  invariant(txid !== undefined && checksums !== undefined, "a snapshot is of a captured state");
  return { ...state, txid, checksums };
}

/** @returns whether the pages are those of the view: not if the WAL was restarted or truncated meanwhile. */
async function takeFrom(
  view: DatabaseView,
  copy: DatabaseCopy,
  pgnos: Uint32Array,
  signal: AbortSignal,
): Promise<boolean> {
  using open = view;
  try {
    await copy.take(pgnos, (firstPgno, pages, count) => open.read(firstPgno, count, pages), signal);
  } catch (error) {
    if (error instanceof WalTruncated) return false;
    throw error;
  }
  return open.isStable();
}

/** @returns the size of the file in bytes. */
async function encode(
  copy: DatabaseCopy,
  encoder: LtxEncoder,
  path: string,
  signal: AbortSignal,
): Promise<number> {
  await using file = await open(path, "w", 0o600);
  const drain = async (): Promise<void> => {
    for (let piece = encoder.takeOutput(); piece !== undefined; piece = encoder.takeOutput()) {
      await file.writeFile(piece);
      encoder.reuse(piece);
    }
  };
  await copy.eachBlock(async (pages) => {
    signal.throwIfAborted();
    for (const { pgno, data } of pages) {
      if (copy.has(pgno, encoder.writePage(pgno, data))) continue;
      throw new ReplicationError(
        "CAPTURE_UNSTABLE",
        `page ${pgno} of the copy beside ${path} was read back as another page than was written`,
        "Check the disk of the spool. The snapshot is made again later.",
      );
    }
    await drain();
  });
  const { size } = encoder.finish();
  await drain();
  return size;
}
