import { type FileHandle, open, rm } from "node:fs/promises";
import { lockPgno } from "../ltx/lock-page.ts";
import { checksumPage, type PageChecksum } from "../ltx/page-checksum.ts";
import { PageChecksums } from "./page-checksums.ts";

const blockBytes = 1 << 20;

/** Reads `count` consecutive pages into `pages`, filled completely. */
type ReadPages = (firstPgno: number, pages: Uint8Array, count: number) => void;

/**
 * The pages of a database in a temporary file, at the places that they have in the database, and the checksum of each: 8 bytes a page. The two always
 * agree, whatever moment a page is of. The lock page is a hole. Disposing removes the file.
 */
export class DatabaseCopy implements AsyncDisposable {
  readonly pageSize: number;
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #table: PageChecksums;
  readonly #block: Uint8Array;

  private constructor(path: string, handle: FileHandle, pageSize: number) {
    this.#path = path;
    this.#handle = handle;
    this.pageSize = pageSize;
    this.#table = new PageChecksums(pageSize);
    this.#block = new Uint8Array(Math.max(1, Math.floor(blockBytes / pageSize)) * pageSize);
  }

  /** Creates the file, or empties what an earlier attempt left. */
  static async begin(path: string, pageSize: number): Promise<DatabaseCopy> {
    return new DatabaseCopy(path, await open(path, "w+", 0o600), pageSize);
  }

  /** Of the database in pages, as of the newest `findStale`. */
  get pageCount(): number {
    return this.#table.pageCount;
  }

  /** Of all pages, 16 hex digits. */
  get rollingChecksum(): string {
    return this.#table.rolling;
  }

  /** @returns the pages that are not as in `state`, ascending. The copy grows or shrinks to its size. */
  findStale(state: PageChecksums): Uint32Array {
    this.#table.resize(state.pageCount);
    const { halves } = state;
    let count = 0;
    const each = (use: (pgno: number) => void): void => {
      for (let index = 0; index < halves.length; index += 2) {
        const pgno = index / 2 + 1;
        if (!this.#table.equals(pgno, halves[index] as number, halves[index + 1] as number))
          use(pgno);
      }
    };
    each(() => {
      count += 1;
    });
    const stale = new Uint32Array(count);
    count = 0;
    each((pgno) => {
      stale[count++] = pgno;
    });
    return stale;
  }

  /** Takes these pages, ascending, in runs of at most 1 MiB. */
  async take(pgnos: Uint32Array, read: ReadPages, signal: AbortSignal): Promise<void> {
    const runMax = this.#block.length / this.pageSize;
    for (let index = 0; index < pgnos.length; ) {
      signal.throwIfAborted();
      const firstPgno = pgnos[index] as number;
      let count = 1;
      while (count < runMax && pgnos[index + count] === firstPgno + count) count += 1;
      const pages = this.#block.subarray(0, count * this.pageSize);
      read(firstPgno, pages, count);
      for (let page = 0; page < count; page++) {
        const pgno = firstPgno + page;
        const { low, high } = checksumPage(pgno, this.#pageAt(page));
        this.#table.set(pgno, low, high);
      }
      await this.#write(pages, firstPgno);
      index += count;
    }
  }

  /**
   * All pages but the lock page, ascending.
   *
   * @param use - gets a block; its pages are valid until it resolves.
   */
  async eachBlock(
    use: (pages: readonly { readonly pgno: number; readonly data: Uint8Array }[]) => Promise<void>,
  ): Promise<void> {
    const lock = lockPgno(this.pageSize);
    const perBlock = this.#block.length / this.pageSize;
    for (let firstPgno = 1; firstPgno <= this.pageCount; firstPgno += perBlock) {
      const count = Math.min(perBlock, this.pageCount - firstPgno + 1);
      await this.#read(this.#block.subarray(0, count * this.pageSize), firstPgno);
      const pages = Array.from({ length: count }, (_, index) => {
        return { pgno: firstPgno + index, data: this.#pageAt(index) };
      });
      await use(pages.filter(({ pgno }) => pgno !== lock));
    }
  }

  /** Whether the copy of this page has this checksum. */
  has(pgno: number, { low, high }: PageChecksum): boolean {
    return this.#table.equals(pgno, low, high);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
    await rm(this.#path, { force: true });
  }

  #pageAt(index: number): Uint8Array {
    return this.#block.subarray(index * this.pageSize, (index + 1) * this.pageSize);
  }

  async #write(pages: Uint8Array, firstPgno: number): Promise<void> {
    const position = (firstPgno - 1) * this.pageSize;
    for (let done = 0; done < pages.length; ) {
      const { bytesWritten } = await this.#handle.write(
        pages,
        done,
        pages.length - done,
        position + done,
      );
      done += bytesWritten;
    }
  }

  async #read(pages: Uint8Array, firstPgno: number): Promise<void> {
    const position = (firstPgno - 1) * this.pageSize;
    for (let done = 0; done < pages.length; ) {
      const { bytesRead } = await this.#handle.read(
        pages,
        done,
        pages.length - done,
        position + done,
      );
      // The lock page may be the last one, which was never written.
      if (bytesRead === 0) return void pages.fill(0, done);
      done += bytesRead;
    }
  }
}
