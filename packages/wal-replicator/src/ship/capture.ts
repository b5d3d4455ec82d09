import { setTimeout as sleep } from "node:timers/promises";
import { ReplicationError } from "../errors.ts";
import { LtxEncoder } from "../ltx/encoder.ts";
import { lockPgno } from "../ltx/lock-page.ts";
import { levelZeroWalOffset } from "../ltx/merge.ts";
import { checksumPage } from "../ltx/page-checksum.ts";
import { nextTxid, type Txid, toTxid } from "../ltx/txid.ts";
import type { SqliteConnection } from "../sqlite/connection.ts";
import { type DatabaseFile, WalFile } from "../sqlite/database-file.ts";
import { saltsEqual } from "../sqlite/salt.ts";
import { readWalHeader, type WalHeader } from "../sqlite/wal-header.ts";
import {
  findLatestFrames,
  scanWal,
  startOfWal,
  verifyFrameAt,
  type WalPosition,
  type WalScan,
} from "../sqlite/wal-reader.ts";
import { DatabaseView, isGeneration, readFramePage, WalTruncated } from "./database-view.ts";
import { PageChecksumChanges, PageChecksums } from "./page-checksums.ts";
import { completeInSlices, yieldToEventLoop } from "./slices.ts";
import type { Spool, SpoolFile } from "./spool.ts";

/**
 * One pass: what was committed since the last one becomes one complete LTX file in the spool.
 *
 * Invariants:
 * - Memory (`state`) changes only after the file is durable; a pass that fails leaves everything as it was.
 * - Frames are read only up to what the wal-index says is committed (`wal_checkpoint(NOOP)`): a valid frame behind that may be a
 *   ghost, left by a writer that was killed between its commit frame and the wal-index (wal-capture.md 2).
 * - A file holds every page between the old and the new size of the database, also those that never went through the WAL.
 * - In doubt the pass compares pages. It never guesses.
 */
export interface CaptureState {
  /** Undefined before the first capture of a timeline without a past. */
  txid: Txid | undefined;
  /** Behind the last captured frame; undefined: no frame of the current WAL is captured, its first is next. */
  walPosition: WalPosition | undefined;
  /** Size of the database as of `txid`, in pages. */
  pageCount: number;
  /** As of `txid`; undefined after a crash, when the saved table was too old: the next pass rebuilds it. */
  checksums: PageChecksums | undefined;
}

export interface Captured {
  readonly kind: "wal" | "compare" | "snapshot";
  readonly file: SpoolFile;
  /** Pages in the file. */
  readonly pages: number;
}

export interface CaptureDeps {
  readonly database: DatabaseFile;
  readonly walPath: string;
  /** A connection that never holds a transaction while a pass runs. */
  readonly control: SqliteConnection;
  readonly spool: Spool;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
  /** No file may be of an earlier time than this: the newest of the timeline. Milliseconds since the Unix epoch. */
  readonly timestampMsMin: number;
}

const blockBytes = 1 << 20;
/** A pass that meets a WAL in the middle of its restart looks again; a writer needs microseconds for it, unless it is scheduled away. */
const attemptsMax = 40;

function pauseBeforeLook(attempt: number): Promise<void> {
  return sleep(Math.min(2 ** attempt, 100));
}

export class Capture {
  readonly state: CaptureState;
  readonly #deps: CaptureDeps;
  readonly #pageSize: number;
  #timestampMs: number;
  #blocksRead = 0;

  constructor(deps: CaptureDeps, pageSize: number, state: CaptureState) {
    this.#deps = deps;
    this.#timestampMs = deps.timestampMsMin;
    this.#pageSize = pageSize;
    this.state = state;
  }

  /** Of the database, by all passes so far: a pass that reads all of it shows so that it gets on. */
  get blocksRead(): number {
    return this.#blocksRead;
  }

  /** Captured frames of the present WAL generation. */
  get walFrames(): number {
    return this.state.walPosition?.frameCount ?? 0;
  }

  /**
   * Captures the frames that were committed since the last pass.
   *
   * @param reader - the anchor's successor, its read transaction open: everything that it sees is captured when this resolves.
   * @returns undefined if there was nothing new.
   */
  async incremental(reader: SqliteConnection): Promise<Captured | undefined> {
    return this.#incremental(reader, true);
  }

  /**
   * The first pass after a restart that found the WAL as it was left. What the anchor's first snapshot covers is not captured yet,
   * so a WAL that was restarted in this very moment may have taken frames with it: then pages are compared.
   */
  async resume(reader: SqliteConnection): Promise<Captured | undefined> {
    return this.#incremental(reader, false);
  }

  async #incremental(
    reader: SqliteConnection,
    isAnchorCaptured: boolean,
  ): Promise<Captured | undefined> {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const outcome = await this.#tryIncremental(reader, isAnchorCaptured).catch(
        lookAgainIfTruncated,
      );
      if (outcome === "nothing") return undefined;
      if (outcome === "doubt") return this.compare(reader);
      if (outcome !== "look-again") return outcome;
      await pauseBeforeLook(attempt);
    }
    // The WAL never settled: stranger than any restart that we know of.
    return this.compare(reader);
  }

  /**
   * Reads the whole database and captures the pages that differ from the last captured TXID; all of them if its checksums are not known.
   *
   * @returns undefined if nothing differs; the position is moved to the present all the same.
   */
  async compare(reader: SqliteConnection): Promise<Captured | undefined> {
    return this.#withView(reader, async (view) => {
      const before = this.state.checksums;
      const now = await this.checksumView(view);
      if (
        before !== undefined &&
        before.rolling === now.rolling &&
        before.pageCount === now.pageCount
      ) {
        if (!view.isStable()) return "look-again";
        this.#advance({ txid: this.state.txid, walPosition: view.walPosition, checksums: now });
        return undefined;
      }
      const differs = (pgno: number): boolean => {
        const index = (pgno - 1) * 2;
        return !before?.equals(pgno, now.halves[index] as number, now.halves[index + 1] as number);
      };
      const txid = nextTxid(this.state.txid);
      return this.#writeView(view, now, txid, txid, differs, "compare");
    });
  }

  /** Adopts the present state of the database as the already captured TXID: its checksum was compared by the caller. */
  adopt(view: DatabaseView, checksums: PageChecksums): void {
    this.#advance({ txid: this.state.txid, walPosition: view.walPosition, checksums });
  }

  /**
   * Captures the whole database as the base of a timeline.
   *
   * @param txid - 1 for a timeline without a past; else the TXID behind the one that it branches from, and the file is `1-txid`.
   */
  async snapshot(reader: SqliteConnection, txid: Txid): Promise<Captured> {
    const captured = await this.#withView(reader, (view) =>
      this.#writeView(view, undefined, toTxid(1n), txid, () => true, "snapshot"),
    );
    return captured as Captured;
  }

  /** Opens the present state of the database, for as long as `use` runs; again if the WAL was restarted meanwhile. */
  async #withView<T>(
    reader: SqliteConnection,
    use: (view: DatabaseView) => Promise<T | "look-again">,
  ): Promise<T> {
    const { database, walPath, control } = this.#deps;
    let inTheWay = "";
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const view = await DatabaseView.open(database, walPath, reader, control);
      if (typeof view === "string") inTheWay = view;
      else {
        using _ = view;
        const result = await use(view).catch(lookAgainIfTruncated);
        if (result !== "look-again") return result;
        inTheWay = "the WAL was restarted while it was read";
      }
      await pauseBeforeLook(attempt);
    }
    throw new ReplicationError(
      "CAPTURE_UNSTABLE",
      `the database could not be read in ${attemptsMax} looks, at last because ${inTheWay}`,
      "Start the stream again; if it happens again, report it with the application's checkpoint settings.",
    );
  }

  /** Lets a caller look at the whole database before anything is captured, and judge. */
  async inspect<T>(reader: SqliteConnection, use: (view: DatabaseView) => Promise<T>): Promise<T> {
    return this.#withView(reader, async (view) => {
      const result = await use(view);
      return view.isStable() ? result : "look-again";
    });
  }

  /** Checksums of every page of the view. Reads the whole database. */
  async checksumView(view: DatabaseView): Promise<PageChecksums> {
    const table = new PageChecksums(this.#pageSize, view.pageCount);
    table.resize(view.pageCount);
    const lock = lockPgno(this.#pageSize);
    await this.#eachBlock(view, async (firstPgno, pages) => {
      for (const [index, page] of pages.entries()) {
        const pgno = firstPgno + index;
        if (pgno === lock) continue;
        const checksum = checksumPage(pgno, page);
        table.set(pgno, checksum.low, checksum.high);
      }
      await yieldToEventLoop();
    });
    return table;
  }

  async #eachBlock(
    view: DatabaseView,
    use: (firstPgno: number, pages: readonly Uint8Array[]) => Promise<void>,
  ): Promise<void> {
    const pagesPerBlock = Math.max(1, Math.floor(blockBytes / this.#pageSize));
    const block = new Uint8Array(pagesPerBlock * this.#pageSize);
    const pages = Array.from({ length: pagesPerBlock }, (_, index) =>
      block.subarray(index * this.#pageSize, (index + 1) * this.#pageSize),
    );
    for (let firstPgno = 1; firstPgno <= view.pageCount; firstPgno += pagesPerBlock) {
      const count = Math.min(pagesPerBlock, view.pageCount - firstPgno + 1);
      view.read(firstPgno, count, block);
      this.#blocksRead += 1;
      await use(firstPgno, count === pagesPerBlock ? pages : pages.slice(0, count));
    }
  }

  /** Writes the pages of a view for which `wanted` holds. With `known` undefined, the table is built on the way. */
  async #writeView(
    view: DatabaseView,
    known: PageChecksums | undefined,
    minTxid: Txid,
    maxTxid: Txid,
    wanted: (pgno: number) => boolean,
    kind: "compare" | "snapshot",
  ): Promise<Captured | "look-again"> {
    const encoder = this.#encoder(view.pageCount, minTxid, maxTxid);
    const table = known ?? new PageChecksums(this.#pageSize, view.pageCount);
    table.resize(view.pageCount);
    const lock = lockPgno(this.#pageSize);
    let written = 0;
    const writer = await this.#deps.spool.create();
    try {
      await this.#eachBlock(view, async (firstPgno, pages) => {
        for (const [index, page] of pages.entries()) {
          const pgno = firstPgno + index;
          if (pgno === lock || !wanted(pgno)) continue;
          const checksum = encoder.writePage(pgno, page);
          if (known === undefined) table.set(pgno, checksum.low, checksum.high);
          written += 1;
        }
        await drain(encoder, writer);
        await yieldToEventLoop();
      });
      encoder.finish();
      await drain(encoder, writer);
      if (!view.isStable()) {
        await writer.discard();
        return "look-again";
      }
    } catch (error) {
      await writer.discard();
      throw error;
    }
    const file = await writer.commit(
      {
        minTxid,
        maxTxid,
        pageSize: this.#pageSize,
        pageCount: view.pageCount,
        rollingChecksum: table.rolling,
        walPosition: view.walPosition,
        state: "waiting",
      },
      this.#timestampMs,
    );
    this.#advance({ txid: maxTxid, walPosition: view.walPosition, checksums: table });
    return { kind, file, pages: written };
  }

  async #tryIncremental(
    reader: SqliteConnection,
    isAnchorCaptured: boolean,
  ): Promise<Captured | "nothing" | "doubt" | "look-again"> {
    const { control, walPath } = this.#deps;
    const known = this.state.walPosition;
    const { logFrames } = control.checkpoint("NOOP");
    if (logFrames < 0) return "look-again"; // the wal-index was being written
    // Restarted and still empty, or never written. Under a captured anchor, what the file may still show is captured.
    if (logFrames === 0) return isAnchorCaptured ? "nothing" : "doubt";
    using wal = WalFile.open(walPath);
    const header = wal === undefined ? "torn" : readWalHeader(wal);
    if (wal === undefined || header === "torn") return "look-again";
    const sameGeneration = known !== undefined && saltsEqual(header.salt, known.salt);
    if (!sameGeneration && !isAnchorCaptured) return "doubt";
    const from = sameGeneration ? known : startOfWal(header);
    if (sameGeneration) {
      if (logFrames < from.frameCount) return "doubt";
      const lastFrame = verifyFrameAt(wal, header, from);
      if (lastFrame === "short" || lastFrame === "mismatch")
        return isGeneration(wal, header.salt) ? "doubt" : "look-again";
      if (logFrames === from.frameCount)
        return this.state.checksums === undefined ? this.#rebuild(reader) : "nothing";
    }
    const scan = await completeInSlices(scanWal(wal, header, from, logFrames));
    if (scan.stop !== "limit" || scan.end.frameCount !== logFrames) {
      return isGeneration(wal, header.salt) ? "doubt" : "look-again";
    }
    // Awaited here: the WAL stays open as long as it is read.
    return await this.#writeScan(reader, wal, header, from, scan);
  }

  /** After a crash: the position is known and nothing new came, but the table is not. Its rolling checksum must come out as saved. */
  async #rebuild(reader: SqliteConnection): Promise<"nothing" | "doubt"> {
    const { files, state } = this.#deps.spool;
    const saved = files.at(-1)?.name.rollingChecksum ?? state?.position?.rollingChecksum;
    const table = await this.inspect(reader, (view) => this.checksumView(view));
    if (table.rolling !== saved) return "doubt";
    this.state.checksums = table;
    return "nothing";
  }

  async #writeScan(
    reader: SqliteConnection,
    wal: WalFile,
    header: WalHeader,
    from: WalPosition,
    scan: WalScan,
  ): Promise<Captured | "look-again"> {
    const pageSize = this.#pageSize;
    const txid = nextTxid(this.state.txid);
    const latest = scan.frames.latest(scan.commit);
    const growth = this.#growthPages(
      wal,
      header,
      from,
      scan,
      latest.pgnos.subarray(0, latest.count),
    );
    // Without the old table the new one comes from reading the database as it is now, which is the state behind this scan.
    const rebuilt =
      this.state.checksums === undefined
        ? await this.inspect(reader, (view) => this.#checksumsAt(view, scan.end))
        : undefined;
    if (rebuilt === "moved-on") return "look-again";
    const changes = new PageChecksumChanges(scan.commit);
    const encoder = this.#encoder(scan.commit, txid, txid);
    const page = new Uint8Array(pageSize);
    const writer = await this.#deps.spool.create();
    try {
      let growthIndex = 0;
      for (let index = 0; index < latest.count || growthIndex < growth.length; ) {
        const grown = growth[growthIndex];
        const pgno = latest.pgnos[index] as number;
        if (grown !== undefined && (index >= latest.count || grown.pgno < pgno)) {
          growthIndex += 1;
          if (grown.frameIndex !== undefined) readFramePage(wal, grown.frameIndex, page, pageSize);
          else page.fill(0, this.#deps.database.read(page, (grown.pgno - 1) * pageSize));
          const checksum = encoder.writePage(grown.pgno, page);
          changes.add(grown.pgno, checksum.low, checksum.high);
        } else {
          readFramePage(wal, latest.frameIndexes[index] as number, page, pageSize);
          index += 1;
          const checksum = encoder.writePage(pgno, page);
          changes.add(pgno, checksum.low, checksum.high);
        }
        await drain(encoder, writer, blockBytes);
      }
      encoder.finish();
      await drain(encoder, writer);
      if (!isGeneration(wal, header.salt)) {
        await writer.discard();
        return "look-again";
      }
    } catch (error) {
      await writer.discard();
      throw error;
    }
    const checksums = rebuilt ?? (this.state.checksums as PageChecksums);
    const file = await writer.commit(
      {
        minTxid: txid,
        maxTxid: txid,
        pageSize,
        pageCount: scan.commit,
        rollingChecksum: rebuilt?.rolling ?? checksums.rollingAfter(changes),
        walPosition: scan.end,
        state: "waiting",
      },
      this.#timestampMs,
    );
    if (rebuilt === undefined) checksums.apply(changes);
    this.#advance({ txid, walPosition: scan.end, checksums });
    return { kind: "wal", file, pages: changes.count };
  }

  async #checksumsAt(view: DatabaseView, end: WalPosition): Promise<PageChecksums | "moved-on"> {
    return view.walPosition?.frameCount === end.frameCount ? this.checksumView(view) : "moved-on";
  }

  /**
   * Pages that the database grew by and that these frames do not hold: SQLite takes them from an older frame of the same
   * generation if there is one, else from the database file, else they are zeros.
   */
  #growthPages(
    wal: WalFile,
    header: WalHeader,
    from: WalPosition,
    scan: WalScan,
    captured: Uint32Array,
  ): { readonly pgno: number; readonly frameIndex: number | undefined }[] {
    const missing: number[] = [];
    const lock = lockPgno(this.#pageSize);
    let index = 0;
    for (let pgno = this.state.pageCount + 1; pgno <= scan.commit; pgno++) {
      while (index < captured.length && (captured[index] as number) < pgno) index += 1;
      if (captured[index] !== pgno && pgno !== lock) missing.push(pgno);
    }
    if (missing.length === 0) return [];
    const older = findLatestFrames(wal, header, from.frameCount, missing);
    return missing.map((pgno) => ({ pgno, frameIndex: older.get(pgno) }));
  }

  /** For the header of a file: times never decrease with the TXID, also when the clock is set back. */
  nextTimestampMs(): number {
    this.#timestampMs = Math.max(this.#timestampMs, Math.floor(this.#deps.now()));
    return this.#timestampMs;
  }

  #encoder(commit: number, minTxid: Txid, maxTxid: Txid): LtxEncoder {
    return new LtxEncoder({
      pageSize: this.#pageSize,
      commit,
      minTxid,
      maxTxid,
      timestampMs: this.nextTimestampMs(),
      // What a stock `replicate` that takes over from the newest level-0 file needs (replica-layout.md 6): one full copy, and no guess.
      walOffset: minTxid === maxTxid ? levelZeroWalOffset : 0,
    });
  }

  #advance(next: {
    txid: Txid | undefined;
    walPosition: WalPosition | undefined;
    checksums: PageChecksums;
  }): void {
    this.state.txid = next.txid;
    this.state.walPosition = next.walPosition;
    this.state.checksums = next.checksums;
    this.state.pageCount = next.checksums.pageCount;
  }
}

function lookAgainIfTruncated(error: unknown): "look-again" {
  if (error instanceof WalTruncated) return "look-again";
  throw error;
}

/** Moves what the encoder has ready to the disk, if it is at least `bytesMin`. */
async function drain(
  encoder: LtxEncoder,
  writer: { write(chunk: Uint8Array): Promise<void> },
  bytesMin = 1,
): Promise<void> {
  for (;;) {
    const chunk = encoder.takeOutput(bytesMin);
    if (chunk === undefined) return;
    await writer.write(chunk);
    encoder.reuse(chunk);
  }
}
