import { createHash } from "node:crypto";
import {
  closeSync,
  fdatasync,
  futimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFile,
  writeFileSync,
} from "node:fs";
import { link, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { readIfExists, syncDirectory, writeWhole } from "../durable-file.ts";
import { invariant, ReplicationError } from "../errors.ts";
import type { Txid } from "../ltx/txid.ts";
import { formatTxid } from "../ltx/txid.ts";
import type { TimelinePosition } from "../replica/epoch-record.ts";
import { snapshotLevel } from "../replica/replica-layout.ts";
import { type FileLock, lockFile } from "../sqlite/file-lock.ts";
import type { CrashPointListener } from "./crash-point.ts";
import { PageChecksums } from "./page-checksums.ts";
import { noSpoolCopies, planSpoolCopies, type SpoolCopyPolicy } from "./plan-spool-copies.ts";
import { formatSpoolFileName, parseSpoolFileName, type SpoolFileName } from "./spool-file-name.ts";
import { decodeSpoolState, encodeSpoolState, type SpoolState } from "./spool-state.ts";

/**
 * The directory `.<database>-replica/` beside the database: what is captured and not yet confirmed by the store, and what a
 * restart must know.
 *
 * - `<timeline>/<name>`: complete LTX files (`spool-file-name.ts`). A file is complete or absent: temporary name, fsync, rename, fsync of the directory.
 *   The first one that waits may have been tried, by an earlier life too, and keeps its name and bytes until the store has confirmed it.
 *   Of those that the store has confirmed, the newest stays as the position, and a few before it as copies for compaction.
 * - `state.json` (`spool-state.ts`), `page-checksums` (valid only with its own digest, for its own TXID).
 * - `lock`: held by the one process that replicates this database from here.
 *
 * Losing the directory costs a new timeline with a full snapshot, and what was not shipped yet; never anything in the store.
 */
export class Spool {
  readonly directory: string;
  readonly #lock: FileLock;
  readonly #at: CrashPointListener;
  #state: SpoolState | undefined;
  #files: SpoolFile[] = [];
  /** Stored files of level 0 before the newest one, oldest first. */
  #copies: SpoolFile[] = [];
  #copyPolicy: SpoolCopyPolicy = noSpoolCopies;
  /** A merge that is published: what it replaces may still be there, and its name says so. */
  #unsettled: SpoolFile | undefined;
  #mergeCount = 0;
  /** Files that were marked as stored, by an earlier life the first; and how many of these marks a power cut cannot take back. */
  #marks = 1;
  #durableMarks = 0;
  /** Merges and what follows them run one after the other. */
  #mergeWork: Promise<unknown> = Promise.resolve();

  private constructor(directory: string, lock: FileLock, at: CrashPointListener) {
    this.directory = directory;
    this.#lock = lock;
    this.#at = at;
  }

  /** Opens or creates the spool and locks it. @throws {ReplicationError} `SPOOL_IN_USE` if another process has it. */
  static async open(directory: string, at: CrashPointListener = () => {}): Promise<Spool> {
    if (makeDirectory(directory)) await syncDirectory(dirname(directory));
    const spool = new Spool(directory, lockFile(join(directory, "lock")), at);
    try {
      await spool.#load();
    } catch (error) {
      spool.close();
      throw error;
    }
    return spool;
  }

  get state(): SpoolState | undefined {
    return this.#state;
  }

  /** Files of the current timeline, oldest first; the newest stored one, then all that wait. */
  get files(): readonly SpoolFile[] {
    return this.#files;
  }

  get waiting(): readonly SpoolFile[] {
    return this.#files.filter((file) => file.name.state === "waiting");
  }

  /** The newest TXID of the timeline's line that the store has confirmed. */
  get storedTxid(): Txid | undefined {
    const stored = this.#files.findLast((file) => file.name.state === "stored");
    return stored?.name.maxTxid ?? this.#state?.storedTxid;
  }

  /** How many merges took TXIDs back. A TXID above the stored ones that was read at another count may be another state by now. */
  get mergeCount(): number {
    return this.#mergeCount;
  }

  /** Where a new timeline can branch off: only what is in the store can be branched from. Null: nothing is. */
  get storedPosition(): TimelinePosition | null {
    const txid = this.storedTxid;
    return this.#state === undefined || txid === undefined
      ? null
      : { timeline: this.#state.timeline, txid };
  }

  /** Identity of this very directory: a copy of the volume has another inode or another time of birth. */
  identity(): { readonly spoolInode: string; readonly spoolBornAt: string } {
    const stats = statSync(this.directory, { bigint: true });
    return { spoolInode: String(stats.ino), spoolBornAt: String(stats.birthtimeNs) };
  }

  /** Makes `state` durable. Another timeline than before begins with no files; what older ones left is removed by `dropOtherTimelines`. */
  async saveState(state: SpoolState): Promise<void> {
    const entered = this.#state?.timeline !== state.timeline;
    if (entered) mkdirSync(join(this.directory, state.timeline), { recursive: true });
    await writeWhole(join(this.directory, "state.json"), [encodeSpoolState(state)]);
    this.#state = state;
    if (entered) this.#listFiles(state.timeline);
  }

  /**
   * Enters a timeline that branches off behind the newest stored file, and takes along what waits. A crash leaves the old timeline
   * complete, or the new one.
   */
  async moveTo(state: SpoolState): Promise<void> {
    const directory = join(this.directory, state.timeline);
    mkdirSync(directory, { recursive: true });
    for (const { path } of this.waiting) await link(path, join(directory, basename(path)));
    await syncDirectory(directory);
    await this.saveState(state);
    await this.dropOtherTimelines();
  }

  /** Whether anything was captured here, for any timeline, that the store has not confirmed. */
  get hasUnshipped(): boolean {
    return readdirSync(this.directory, { recursive: true, encoding: "utf8" }).some(
      (entry) => parseSpoolFileName(basename(entry))?.state === "waiting",
    );
  }

  /** Forgets the position; what was captured and is nowhere else stays. Durable when it resolves. */
  async forget(): Promise<void> {
    await rm(join(this.directory, "state.json"), { force: true });
    await syncDirectory(this.directory);
    this.#state = undefined;
    // A stored file says where the database stood: it must not outlive the position, which another one in this timeline may follow.
    const stored = this.#files.filter(({ name }) => name.state === "stored");
    for (const { path } of [...this.#copies, ...stored]) await rm(path, { force: true });
    this.#files = [];
    this.#copies = [];
  }

  /** Removes what was captured for other timelines. Only once the current one's own base is in the store. */
  async dropOtherTimelines(): Promise<void> {
    for (const entry of readdirSync(this.directory, { withFileTypes: true })) {
      if (entry.isDirectory() && entry.name !== this.#state?.timeline) {
        await rm(join(this.directory, entry.name), { recursive: true, force: true });
      }
    }
  }

  async savePageChecksums(txid: Txid, table: PageChecksums): Promise<void> {
    const { halves } = table;
    const bytes = new Uint8Array(halves.buffer, halves.byteOffset, halves.byteLength);
    const head = JSON.stringify({
      version: 1,
      timeline: this.#state?.timeline,
      txid: formatTxid(txid),
      pageSize: table.pageSize,
      pageCount: table.pageCount,
      sha256: createHash("sha256").update(bytes).digest("hex"),
    });
    await writeWhole(join(this.directory, "page-checksums"), [`${head}\n`, bytes]);
  }

  /** @returns the saved table if it is intact and of exactly this timeline and TXID; else undefined, and it is rebuilt. */
  async loadPageChecksums(txid: Txid): Promise<PageChecksums | undefined> {
    const bytes = await readIfExists(join(this.directory, "page-checksums"));
    const headEnd = bytes?.indexOf(10) ?? -1;
    if (bytes === undefined || headEnd < 0) return undefined;
    const table = bytes.subarray(headEnd + 1);
    let head: Record<string, unknown>;
    try {
      head = JSON.parse(bytes.toString("utf8", 0, headEnd)) as Record<string, unknown>;
    } catch {
      return undefined; // torn: rebuilt like a missing one
    }
    const { pageSize, pageCount } = head;
    const known = this.#rollingChecksumAt(txid);
    if (
      head["version"] !== 1 ||
      head["timeline"] !== this.#state?.timeline ||
      head["txid"] !== formatTxid(txid) ||
      typeof pageSize !== "number" ||
      typeof pageCount !== "number" ||
      table.length !== pageCount * 8 ||
      head["sha256"] !== createHash("sha256").update(table).digest("hex")
    ) {
      return undefined;
    }
    // The table lies at any offset of the file; a Uint32Array wants multiples of four.
    const loaded = PageChecksums.fromHalves(
      pageSize,
      new Uint32Array(table.buffer.slice(table.byteOffset, table.byteOffset + table.length)),
    );
    // After a merge, a TXID is given a second time: the table may be of the first.
    return known === undefined || loaded.rolling === known ? loaded : undefined;
  }

  #rollingChecksumAt(txid: Txid): string | undefined {
    const file = this.#files.find(({ name }) => name.maxTxid === txid);
    const position = this.#state?.position;
    return (
      file?.name.rollingChecksum ?? (position?.txid === txid ? position.rollingChecksum : undefined)
    );
  }

  /** Begins an LTX file of the current timeline. Nothing refers to it before `commit`. */
  async create(): Promise<SpoolWriter> {
    // The next capture takes a TXID that a merge has taken back: nothing old may lie under it.
    if (this.#unsettled !== undefined) await this.settled();
    return this.#begin("capture.tmp", "captured-not-durable", "spooled", (file) => {
      this.#files.push(file);
    });
  }

  /**
   * Replaces the newest waiting files by one with the same effect, under the lowest of their TXIDs: level 0 knows no ranges. The TXIDs
   * behind it are free again. A crash leaves the old files or the new one. When it resolves, `settled` is still to be called.
   *
   * @param files - the newest ones that wait, without a gap; never the first one, which may have been tried.
   * @param write - writes the new file. If it throws, the old files are as they were.
   */
  async merge(
    files: readonly SpoolFile[],
    write: (writer: SpoolWriter) => Promise<void>,
  ): Promise<SpoolFile> {
    return this.#afterMerges(async () => {
      const oldest = files[0];
      const newest = files.at(-1);
      const { waiting } = this;
      const from = waiting.length - files.length;
      const isTail = files.every((file, index) => file === waiting[from + index]);
      invariant(this.#unsettled === undefined, "a merge is settled before the next one");
      invariant(oldest !== undefined && newest !== undefined, "a merge is of files");
      invariant(files.length > 1 && isTail && from > 0, "a merge is of the newest, untried files");
      const writer = this.#begin("merge.tmp", "merge-written", "merge-published", (merged) => {
        this.#files = [...this.#files.filter((file) => !files.includes(file)), merged];
        this.#unsettled = merged;
        this.#mergeCount += 1;
      });
      try {
        await write(writer);
      } catch (error) {
        await writer.discard();
        throw error;
      }
      const { minTxid, maxTxid } = oldest.name;
      // Of the oldest: since then something waits.
      return writer.commit(
        { ...newest.name, minTxid, maxTxid, mergedThrough: newest.name.maxTxid },
        oldest.capturedAtMs,
      );
    });
  }

  /**
   * To be awaited before each file that is shipped. No merge is under way then that might replace it; and what was marked as stored stays
   * so, whatever happens: after a restart, only the first file that waits counts as tried.
   */
  async settled(): Promise<void> {
    await this.#afterMerges(() => this.#settle());
    const timeline = this.#state?.timeline;
    if (timeline !== undefined && this.#durableMarks < this.#marks) {
      await this.#syncTimeline(join(this.directory, timeline));
    }
  }

  async #syncTimeline(directory: string): Promise<void> {
    const marks = this.#marks;
    await syncDirectory(directory);
    this.#durableMarks = Math.max(this.#durableMarks, marks);
  }

  #afterMerges<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#mergeWork.then(work);
    this.#mergeWork = done.catch(() => {}); // told to whoever began it
    return done;
  }

  /** Removes what a merge has replaced, then the note of it from the merged file's name: in this order, each step durable before the next. */
  async #settle(): Promise<void> {
    const merged = this.#unsettled;
    if (merged === undefined) return;
    const { mergedThrough, ...name } = merged.name;
    invariant(mergedThrough !== undefined, "an unsettled file says what it replaces");
    const directory = dirname(merged.path);
    for (const entry of readdirSync(directory)) {
      const other = parseSpoolFileName(entry);
      const isReplaced =
        other?.state === "waiting" &&
        other.maxTxid >= name.maxTxid &&
        other.maxTxid <= mergedThrough &&
        other.mergedThrough === undefined;
      if (isReplaced) await rm(join(directory, entry), { force: true });
    }
    await syncDirectory(directory);
    if (this.#state?.position !== undefined && this.#state.position.txid > name.maxTxid) {
      const { pageSize, pageCount, rollingChecksum } = name;
      const position = { txid: name.maxTxid, pageSize, pageCount, rollingChecksum };
      await this.saveState({ ...this.#state, position });
    }
    const settled = { ...merged, name, path: join(directory, formatSpoolFileName(name)) };
    await rename(merged.path, settled.path);
    await syncDirectory(directory);
    this.#files = this.#files.map((file) => (file === merged ? settled : file));
    this.#unsettled = undefined;
  }

  #begin(
    temporaryName: string,
    written: "captured-not-durable" | "merge-written",
    published: "spooled" | "merge-published",
    onPublished: (file: SpoolFile) => void,
  ): SpoolWriter {
    const timeline = this.#state?.timeline;
    if (timeline === undefined) throw new Error("the spool has entered no timeline");
    const directory = join(this.directory, timeline);
    const temporary = join(directory, temporaryName);
    const descriptor = openSync(temporary, "w", 0o600);
    return new SpoolWriter(temporary, descriptor, async (name, size, capturedAtMs) => {
      const path = join(directory, formatSpoolFileName(name));
      this.#at(written);
      renameSync(temporary, path);
      try {
        await this.#syncTimeline(directory);
      } catch (error) {
        // It counts when it is durable, or not at all: the next attempt has another name.
        await rm(path, { force: true });
        throw error;
      }
      this.#at(published);
      const file: SpoolFile = { name, path, size, capturedAtMs };
      onPublished(file);
      return file;
    });
  }

  /** Notes that the store has confirmed a waiting file, and removes the confirmed ones before it. */
  async markStored(file: SpoolFile): Promise<void> {
    const name: SpoolFileName = { ...file.name, state: "stored" };
    const stored = { ...file, name, path: join(dirname(file.path), formatSpoolFileName(name)) };
    // Not synced: if the mark is lost, the file is offered to the store again, which says that it has it. Nothing is tried behind it before.
    renameSync(file.path, stored.path);
    this.#marks += 1;
    this.#at("marked");
    const older = this.#files.filter((other) => other.name.state === "stored");
    this.#files = this.#files.flatMap((other) =>
      other === file ? [stored] : older.includes(other) ? [] : [other],
    );
    await this.#keepOnly([...this.#copies, ...older]);
  }

  /** From now on so many of the files that the store has confirmed are kept as copies. */
  async keepCopies(policy: SpoolCopyPolicy): Promise<void> {
    this.#copyPolicy = policy;
    await this.#keepOnly(this.#copies);
  }

  /** Removes the copies up to `txid`; all of them without one. */
  async dropCopies(txid?: Txid): Promise<void> {
    const stays = ({ name }: SpoolFile): boolean => txid !== undefined && name.maxTxid > txid;
    await this.#keepOnly(this.#copies, stays);
  }

  /** @returns the copy of a stored level-0 file; undefined: there is none. It may be removed at any time, also while it is read. */
  localCopy(minTxid: Txid, maxTxid: Txid): SpoolFile | undefined {
    const newest = this.#files.filter(({ name }) => name.state === "stored");
    return [...this.#copies, ...newest].find(
      ({ name }) => name.minTxid === minTxid && name.maxTxid === maxTxid,
    );
  }

  /** The copies of a set that stay, and nothing of the others. */
  async #keepOnly(
    stored: readonly SpoolFile[],
    stays: (file: SpoolFile) => boolean = () => true,
  ): Promise<void> {
    const candidates = stored.filter((file) => levelOf(file) === 0 && stays(file));
    const kept = new Set(planSpoolCopies(candidates, this.#copyPolicy));
    // At once: whoever asks meanwhile is not sent to a file that is about to go.
    this.#copies = [...kept];
    for (const file of stored) {
      if (kept.has(file)) continue;
      if (file.size <= quickBytesMax) rmSync(file.path, { force: true });
      else await rm(file.path, { force: true });
    }
  }

  close(): void {
    this.#lock.release();
  }

  async #load(): Promise<void> {
    const text = await readIfExists(join(this.directory, "state.json"));
    this.#state = text === undefined ? undefined : decodeSpoolState(text.toString("utf8"));
    if (this.#state === undefined) return;
    this.#listFiles(this.#state.timeline);
    this.#unsettled = this.#files.find(({ name }) => name.mergedThrough !== undefined);
    if (this.#unsettled === undefined) return;
    await this.#settle();
    this.#listFiles(this.#state.timeline);
  }

  #listFiles(timeline: string): void {
    const directory = join(this.directory, timeline);
    mkdirSync(directory, { recursive: true });
    const files: SpoolFile[] = [];
    for (const entry of readdirSync(directory)) {
      const name = parseSpoolFileName(entry);
      const path = join(directory, entry);
      if (entry.endsWith(".tmp")) rmSync(path); // of an earlier life, which ended while it wrote
      if (name === undefined) continue;
      const stats = statSync(path);
      files.push({ name, path, size: stats.size, capturedAtMs: stats.mtimeMs });
    }
    files.sort((a, b) => (a.name.maxTxid < b.name.maxTxid ? -1 : 1));
    const newestStored = files.findLast(({ name }) => name.state === "stored");
    const isCopy = (file: SpoolFile): boolean =>
      file.name.state === "stored" && file !== newestStored;
    this.#copies = files.filter(isCopy);
    this.#files = files.filter((file) => !isCopy(file));
  }
}

export interface SpoolFile {
  readonly name: SpoolFileName;
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  /** Milliseconds since the Unix epoch. */
  readonly capturedAtMs: number;
}

/** Everything but the base of a branched timeline is one TXID, at level 0. */
export function levelOf({ name }: SpoolFile): 0 | typeof snapshotLevel {
  return name.minTxid === name.maxTxid ? 0 : snapshotLevel;
}

/**
 * What the page cache takes in microseconds is done at once: a trip through the thread pool costs a commit more than the work. Whatever may have to
 * wait for the disk, as a sync and more bytes than these, does not hold up the host.
 */
const quickBytesMax = 1 << 16;

const writeAll: (descriptor: number, bytes: Uint8Array) => Promise<void> = promisify(writeFile);
const syncData = promisify(fdatasync);

/** One LTX file on its way to the disk. Ends with `commit` or `discard`. */
export class SpoolWriter {
  readonly #path: string;
  readonly #descriptor: number;
  readonly #publish: (
    name: SpoolFileName,
    size: number,
    capturedAtMs: number,
  ) => Promise<SpoolFile>;
  #size = 0;

  constructor(
    path: string,
    descriptor: number,
    publish: (name: SpoolFileName, size: number, capturedAtMs: number) => Promise<SpoolFile>,
  ) {
    this.#path = path;
    this.#descriptor = descriptor;
    this.#publish = publish;
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (chunk.length <= quickBytesMax) writeFileSync(this.#descriptor, chunk);
    else await writeAll(this.#descriptor, chunk);
    this.#size += chunk.length;
  }

  /** Durability point: when it resolves, the file survives a power cut under its final name. If it throws, nothing of it is left. */
  async commit(name: SpoolFileName, capturedAtMs: number): Promise<SpoolFile> {
    try {
      try {
        // For `capturedAtMs` after a restart: of a merged file it is not the time of writing.
        futimesSync(this.#descriptor, capturedAtMs / 1_000, capturedAtMs / 1_000);
        await syncData(this.#descriptor);
      } finally {
        closeSync(this.#descriptor);
      }
      return await this.#publish(name, this.#size, capturedAtMs);
    } catch (error) {
      await rm(this.#path, { force: true });
      throw error;
    }
  }

  async discard(): Promise<void> {
    closeSync(this.#descriptor);
    await rm(this.#path, { force: true });
  }
}

/** @returns whether it was made. @throws {ReplicationError} `SPOOL_UNWRITABLE` */
function makeDirectory(directory: string): boolean {
  try {
    mkdirSync(directory, { mode: 0o700 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    // biome-ignore lint/style/useErrorCause: the cause is in the details.
    throw new ReplicationError(
      "SPOOL_UNWRITABLE",
      `the spool ${directory} cannot be created: ${(error as Error).message}`,
      "The directory of the database must be writable: what is captured waits there until the store has it.",
      { cause: error },
    );
  }
}

/** What a full disk looks like to Node and to SQLite. @returns undefined for any other error. */
export function spoolFull(error: unknown): ReplicationError | undefined {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code !== "string" || !fullCodes.has(code)) return undefined;
  return new ReplicationError(
    "SPOOL_FULL",
    `the disk of the database is full: ${String(message)}`,
    "Free some space. Until then commits are not captured, they stay in the WAL, and it grows; nothing is lost, and the stream goes on by itself.",
    { cause: error },
  );
}

const fullCodes = new Set(["ENOSPC", "EDQUOT", "SQLITE_FULL"]);

/** `.<database>-replica` beside the database. */
export function spoolDirectory(database: string): string {
  return join(dirname(database), `.${basename(database)}-replica`);
}
