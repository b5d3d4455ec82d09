import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, statSync } from "node:fs";
import { type FileHandle, open, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ReplicationError } from "../errors.ts";
import type { Txid } from "../ltx/txid.ts";
import { formatTxid } from "../ltx/txid.ts";
import { type FileLock, lockFile } from "../sqlite/file-lock.ts";
import type { CrashPointListener } from "./crash-point.ts";
import { PageChecksums } from "./page-checksums.ts";
import { formatSpoolFileName, parseSpoolFileName, type SpoolFileName } from "./spool-file-name.ts";
import { decodeSpoolState, encodeSpoolState, type SpoolState } from "./spool-state.ts";

/**
 * The directory `.<database>-replica/` beside the database: what is captured and not yet confirmed by the store, and what a
 * restart must know.
 *
 * - `<timeline>/<name>`: complete LTX files (`spool-file-name.ts`). A file is complete or absent: temporary name, fsync, rename, fsync of the directory.
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

  /** Identity of this very directory: a copy of the volume has another inode or another time of birth. */
  identity(): { readonly spoolInode: string; readonly spoolBornAt: string } {
    const stats = statSync(this.directory, { bigint: true });
    return { spoolInode: String(stats.ino), spoolBornAt: String(stats.birthtimeNs) };
  }

  /** Makes `state` durable. Another timeline than before begins with no files; what older ones left is removed by `dropOtherTimelines`. */
  async saveState(state: SpoolState): Promise<void> {
    const entered = this.#state?.timeline !== state.timeline;
    if (entered) mkdirSync(join(this.directory, state.timeline), { recursive: true });
    await this.#writeWhole("state.json", [Buffer.from(encodeSpoolState(state))]);
    this.#state = state;
    if (entered) this.#files = this.#listFiles(state.timeline);
  }

  /** Whether anything was captured here, for any timeline, that the store has not confirmed. */
  get hasUnshipped(): boolean {
    return readdirSync(this.directory, { recursive: true, encoding: "utf8" }).some(
      (entry) => parseSpoolFileName(basename(entry))?.state === "waiting",
    );
  }

  /** Forgets the position; what was captured stays. Durable when it resolves. */
  async forget(): Promise<void> {
    await rm(join(this.directory, "state.json"), { force: true });
    await syncDirectory(this.directory);
    this.#state = undefined;
    this.#files = [];
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
    await this.#writeWhole("page-checksums", [Buffer.from(`${head}\n`), bytes]);
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
    return PageChecksums.fromHalves(
      pageSize,
      new Uint32Array(table.buffer.slice(table.byteOffset, table.byteOffset + table.length)),
    );
  }

  /** Begins an LTX file of the current timeline. Nothing refers to it before `commit`. */
  async create(): Promise<SpoolWriter> {
    const timeline = this.#state?.timeline;
    if (timeline === undefined) throw new Error("the spool has entered no timeline");
    const directory = join(this.directory, timeline);
    const temporary = join(directory, "capture.tmp");
    const handle = await open(temporary, "w", 0o600);
    return new SpoolWriter(temporary, handle, async (name, size, capturedAtMs) => {
      const path = join(directory, formatSpoolFileName(name));
      this.#at("captured-not-durable");
      await rename(temporary, path);
      await syncDirectory(directory);
      this.#at("spooled");
      const file: SpoolFile = { name, path, size, capturedAtMs };
      this.#files.push(file);
      return file;
    });
  }

  /** Notes that the store has confirmed a waiting file, and removes the confirmed ones before it. */
  async markStored(file: SpoolFile): Promise<void> {
    const name: SpoolFileName = { ...file.name, state: "stored" };
    const stored = { ...file, name, path: join(dirname(file.path), formatSpoolFileName(name)) };
    // Not synced: if the mark is lost, the file is offered to the store again, which says that it has it.
    await rename(file.path, stored.path);
    this.#at("marked");
    const older = this.#files.filter((other) => other.name.state === "stored");
    this.#files = this.#files.flatMap((other) =>
      other === file ? [stored] : older.includes(other) ? [] : [other],
    );
    for (const other of older) await rm(other.path, { force: true });
  }

  close(): void {
    this.#lock.release();
  }

  async #load(): Promise<void> {
    const text = await readIfExists(join(this.directory, "state.json"));
    this.#state = text === undefined ? undefined : decodeSpoolState(text.toString("utf8"));
    if (this.#state !== undefined) this.#files = this.#listFiles(this.#state.timeline);
  }

  #listFiles(timeline: string): SpoolFile[] {
    const directory = join(this.directory, timeline);
    mkdirSync(directory, { recursive: true });
    const files: SpoolFile[] = [];
    for (const entry of readdirSync(directory)) {
      const name = parseSpoolFileName(entry);
      if (name === undefined) continue;
      const path = join(directory, entry);
      const stats = statSync(path);
      files.push({ name, path, size: stats.size, capturedAtMs: stats.mtimeMs });
    }
    return files.sort((a, b) => (a.name.maxTxid < b.name.maxTxid ? -1 : 1));
  }

  async #writeWhole(name: string, parts: readonly Uint8Array[]): Promise<void> {
    const path = join(this.directory, name);
    const temporary = `${path}.tmp`;
    await using handle = await open(temporary, "w", 0o600);
    for (const part of parts) await handle.writeFile(part);
    await handle.sync();
    await rename(temporary, path);
    await syncDirectory(this.directory);
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

/** One LTX file on its way to the disk. Ends with `commit` or `discard`. */
export class SpoolWriter {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #publish: (
    name: SpoolFileName,
    size: number,
    capturedAtMs: number,
  ) => Promise<SpoolFile>;
  #size = 0;

  constructor(
    path: string,
    handle: FileHandle,
    publish: (name: SpoolFileName, size: number, capturedAtMs: number) => Promise<SpoolFile>,
  ) {
    this.#path = path;
    this.#handle = handle;
    this.#publish = publish;
  }

  async write(chunk: Uint8Array): Promise<void> {
    await this.#handle.writeFile(chunk);
    this.#size += chunk.length;
  }

  /** Durability point: when it resolves, the file survives a power cut under its final name. */
  async commit(name: SpoolFileName, capturedAtMs: number): Promise<SpoolFile> {
    try {
      await this.#handle.datasync();
    } finally {
      await this.#handle.close();
    }
    return this.#publish(name, this.#size, capturedAtMs);
  }

  async discard(): Promise<void> {
    await this.#handle.close();
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

/** `.<database>-replica` beside the database. */
export function spoolDirectory(database: string): string {
  return join(dirname(database), `.${basename(database)}-replica`);
}

async function syncDirectory(path: string): Promise<void> {
  await using handle = await open(path, "r");
  await handle.sync();
}

async function readIfExists(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
