import { writeSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";

/**
 * Writes pages of one database file, most of them in ascending order: adjacent pages are gathered into large writes, which go on
 * while the caller decodes the next. Short runs are written at once, since a thread costs more than they do. The disk is kept busy
 * meanwhile, but nothing is durable before the caller has synced the file.
 *
 * Writes under way overtake each other: the caller writes no page twice.
 */
export class PageWriter {
  readonly #handle: FileHandle;
  readonly #pageSize: number;
  readonly #free: Uint8Array[] = [];
  readonly #underWay = new Set<Promise<void>>();
  #batch: Uint8Array = new Uint8Array(batchBytes);
  #filled = 0;
  /** The page that would continue the batch. */
  #nextPgno = 0;
  /** Bytes since the disk was last told to begin. */
  #unsynced = 0;
  #isSyncing = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(handle: FileHandle, pageSize: number) {
    this.#handle = handle;
    this.#pageSize = pageSize;
  }

  /** Whether the caller must await `ready` before the next `write`, so that memory stays bounded. */
  get isBusy(): boolean {
    return this.#underWay.size >= writesMax;
  }

  /** Resolves when there is room again. @throws what an earlier write failed with. */
  async ready(): Promise<void> {
    while (this.isBusy) await Promise.race(this.#underWay);
    this.#throwFailure();
  }

  /** @param page - copied; exactly one page. */
  write(pgno: number, page: Uint8Array): void {
    if (pgno !== this.#nextPgno || this.#filled === this.#batch.length) this.#seal();
    this.#batch.set(page, this.#filled);
    this.#filled += this.#pageSize;
    this.#nextPgno = pgno + 1;
  }

  /** Resolves when everything is handed to the operating system; durable is it only after an fsync. */
  async flush(): Promise<void> {
    this.#seal();
    await Promise.all(this.#underWay);
    this.#throwFailure();
  }

  #seal(): void {
    const length = this.#filled;
    if (length === 0) return;
    const position = (this.#nextPgno - 1) * this.#pageSize - length;
    this.#filled = 0;
    if (length <= shortBytesMax) {
      for (let done = 0; done < length; ) {
        done += writeSync(this.#handle.fd, this.#batch, done, length - done, position + done);
      }
      return;
    }
    const batch = this.#batch;
    this.#batch = this.#free.pop() ?? new Uint8Array(batchBytes);
    const writing: Promise<void> = writeFully(this.#handle, batch, length, position)
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        this.#underWay.delete(writing);
        this.#free.push(batch);
      });
    this.#underWay.add(writing);
    this.#unsynced += length;
    if (this.#unsynced >= syncBytes && !this.#isSyncing) this.#beginSync();
  }

  /** Lets the disk write while more comes, so that the caller's sync at the end is short. Nobody waits for it. */
  #beginSync(): void {
    this.#unsynced = 0;
    this.#isSyncing = true;
    this.#handle.datasync().then(
      () => {
        this.#isSyncing = false;
      },
      (error: unknown) => {
        this.#failure ??= { error };
      },
    );
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

/** A multiple of every page size. */
const batchBytes = 1 << 20;
const shortBytesMax = 1 << 16;
const writesMax = 4;
/** The fewer, the more often the file system writes its journal too. */
const syncBytes = 1 << 26;

async function writeFully(
  handle: FileHandle,
  bytes: Uint8Array,
  length: number,
  position: number,
): Promise<void> {
  for (let done = 0; done < length; ) {
    const { bytesWritten } = await handle.write(bytes, done, length - done, position + done);
    done += bytesWritten;
  }
}
