import { lockPgno } from "../ltx/lock-page.ts";
import type { SqliteConnection } from "../sqlite/connection.ts";
import { type DatabaseFile, WalFile } from "../sqlite/database-file.ts";
import { type Salt, saltsEqual } from "../sqlite/salt.ts";
import { frameHeaderBytes, frameOffset } from "../sqlite/wal-frame.ts";
import { readWalHeader } from "../sqlite/wal-header.ts";
import { type LatestFrames, scanWal, startOfWal, type WalPosition } from "../sqlite/wal-reader.ts";
import { completeInSlices } from "./slices.ts";

/**
 * The whole database as of one committed moment, page by page: the newest frame of the WAL, else the database file, else zeros
 * (a page that SQLite allocated and never wrote).
 *
 * It is opened under an open read transaction of ours (the anchor's successor), which keeps checkpoints from moving anything newer
 * into the database file. What that cannot exclude is a restart of a WAL that is completely checkpointed: then frames that
 * we planned to read are overwritten. `isStable` tells, after the last read and before the result counts.
 */
export class DatabaseView implements Disposable {
  readonly pageSize: number;
  /** Size of the database in pages. */
  readonly pageCount: number;
  /** Behind the last frame that belongs to the view; undefined if no frame does. */
  readonly walPosition: WalPosition | undefined;
  readonly #database: DatabaseFile;
  readonly #wal: WalFile | undefined;
  readonly #frames: LatestFrames | undefined;

  private constructor(fields: {
    readonly pageSize: number;
    readonly pageCount: number;
    readonly walPosition: WalPosition | undefined;
    readonly database: DatabaseFile;
    readonly wal: WalFile | undefined;
    readonly frames: LatestFrames | undefined;
  }) {
    this.pageSize = fields.pageSize;
    this.pageCount = fields.pageCount;
    this.walPosition = fields.walPosition;
    this.#database = fields.database;
    this.#wal = fields.wal;
    this.#frames = fields.frames;
  }

  /**
   * @param reader - its read transaction is open.
   * @param control - has none.
   * @returns what was in the way, if the WAL was restarted while it was read: open again.
   */
  static async open(
    database: DatabaseFile,
    walPath: string,
    reader: SqliteConnection,
    control: SqliteConnection,
  ): Promise<DatabaseView | string> {
    const { logFrames } = control.checkpoint("NOOP");
    if (logFrames < 0) return "the wal-index was being written";
    const pageSize = reader.pageSize();
    // Nothing in the WAL: the file is all there is, and the reader's mark 0 keeps it as it is.
    if (logFrames === 0) return DatabaseView.#ofFile(database, pageSize, reader.pageCount());
    return DatabaseView.#withWal(database, walPath, pageSize, logFrames);
  }

  /**
   * Opens the moment behind a captured position, while later commits come in.
   *
   * @param reader - its read transaction was begun before that moment was captured: nothing newer than it gets into the file.
   */
  static async openAt(
    database: DatabaseFile,
    walPath: string,
    reader: SqliteConnection,
    moment: { readonly walPosition: WalPosition | undefined; readonly pageCount: number },
  ): Promise<DatabaseView | string> {
    const pageSize = reader.pageSize();
    const { walPosition, pageCount } = moment;
    if (walPosition === undefined) return DatabaseView.#ofFile(database, pageSize, pageCount);
    const view = await DatabaseView.#withWal(database, walPath, pageSize, walPosition.frameCount);
    if (
      typeof view === "string" ||
      saltsEqual(view.walPosition?.salt ?? walPosition.salt, walPosition.salt)
    )
      return view;
    view[Symbol.dispose]();
    return "the WAL was restarted";
  }

  static #ofFile(database: DatabaseFile, pageSize: number, pageCount: number): DatabaseView {
    return new DatabaseView({
      pageSize,
      pageCount,
      walPosition: undefined,
      database,
      wal: undefined,
      frames: undefined,
    });
  }

  static async #withWal(
    database: DatabaseFile,
    walPath: string,
    pageSize: number,
    logFrames: number,
  ): Promise<DatabaseView | string> {
    const wal = WalFile.open(walPath);
    try {
      const header = wal === undefined ? "torn" : readWalHeader(wal);
      if (wal === undefined || header === "torn") {
        wal?.[Symbol.dispose]();
        return `the WAL has no header, and ${logFrames} frames by the wal-index`;
      }
      const scan = await completeInSlices(scanWal(wal, header, startOfWal(header), logFrames));
      if (scan.stop !== "limit" || scan.end.frameCount !== logFrames) {
        wal[Symbol.dispose]();
        return `frame ${scan.end.frameCount} of ${logFrames} by the wal-index: ${scan.stop}`;
      }
      return new DatabaseView({
        pageSize,
        pageCount: scan.commit,
        walPosition: scan.end,
        database,
        wal,
        frames: scan.frames.latest(scan.commit),
      });
    } catch (error) {
      wal?.[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Reads `count` pages from `firstPgno` on into `target`. The lock page is read as zeros.
   *
   * @param target - at least `count` pages long; filled completely.
   */
  read(firstPgno: number, count: number, target: Uint8Array): void {
    const wanted = target.subarray(0, count * this.pageSize);
    const filled = this.#database.read(wanted, (firstPgno - 1) * this.pageSize);
    wanted.fill(0, filled);
    const frames = this.#frames;
    if (frames !== undefined && this.#wal !== undefined) {
      for (let index = lowerBound(frames, firstPgno); index < frames.count; index++) {
        const pgno = frames.pgnos[index] as number;
        if (pgno >= firstPgno + count) break;
        readFramePage(
          this.#wal,
          frames.frameIndexes[index] as number,
          wanted.subarray((pgno - firstPgno) * this.pageSize),
          this.pageSize,
        );
      }
    }
    const lock = lockPgno(this.pageSize) - firstPgno;
    if (lock >= 0 && lock < count) wanted.fill(0, lock * this.pageSize, (lock + 1) * this.pageSize);
  }

  /** Whether every read so far saw the moment of the view. */
  isStable(): boolean {
    return (
      this.#wal === undefined ||
      this.walPosition === undefined ||
      isGeneration(this.#wal, this.walPosition.salt)
    );
  }

  [Symbol.dispose](): void {
    this.#wal?.[Symbol.dispose]();
  }
}

/** Whether the WAL file still is of the generation with this salt. */
export function isGeneration(wal: WalFile, salt: Salt): boolean {
  const header = readWalHeader(wal);
  return header !== "torn" && saltsEqual(header.salt, salt);
}

/** The WAL was truncated under a read: what it held is in the database file now. Look again. */
export class WalTruncated extends Error {
  override readonly name = "WalTruncated";
}

/** Reads the page of one frame into the beginning of `target`. @throws {WalTruncated} */
export function readFramePage(
  wal: WalFile,
  frameIndex: number,
  target: Uint8Array,
  pageSize: number,
): void {
  const count = wal.read(
    target.subarray(0, pageSize),
    frameOffset(frameIndex, pageSize) + frameHeaderBytes,
  );
  if (count !== pageSize)
    throw new WalTruncated(`frame ${frameIndex} is cut off after ${count} bytes`);
}

/** Index of the first entry whose page is at least `pgno`. */
function lowerBound(frames: LatestFrames, pgno: number): number {
  let low = 0;
  let high = frames.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((frames.pgnos[middle] as number) < pgno) low = middle + 1;
    else high = middle;
  }
  return low;
}
