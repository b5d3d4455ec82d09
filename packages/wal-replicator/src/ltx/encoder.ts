import { invariant } from "../errors.ts";
import { Crc64, PageHasher } from "./crc64.ts";
import { encodeHeader, isSnapshot, type LtxHeaderFields } from "./header.ts";
import { lockPgno } from "./lock-page.ts";
import { BlockCompressor, blockBytesMax } from "./lz4-block.ts";
import type { PageChecksum } from "./page-checksum.ts";
import { blockFrameOverhead, pageHeaderBytes, writeBlockFrameHeader } from "./page-frame.ts";
import { PageIndex } from "./page-index.ts";
import { encodeTrailer, trailerBytes } from "./trailer.ts";

export interface LtxFileSummary {
  /** CRC-64 of the file, bit 63 set. Compare it to detect damage, never to compare content: it depends on the compressor. */
  readonly fileChecksum: bigint;
  /** Of the whole file in bytes. */
  readonly size: number;
  readonly pageCount: number;
}

const outputBytes = 1 << 20;
const outputBytesMin = 1 << 16;

/**
 * Writes one LTX file: `header · page frames · 6 zero bytes · page index · index length · trailer`.
 *
 * The laws of the format are enforced while it writes, so that a file that violates them cannot come into being: each is an
 * `InvariantError`. One law is left to the caller, who alone knows the predecessor: a file whose commit grew holds every new page.
 *
 * Pages are hashed and compressed in `writePage`; the caller drains `takeOutput` as often as it wants to bound memory. Besides
 * output that was not taken, 8 bytes a page are kept until the end.
 */
export class LtxEncoder {
  readonly #pageSize: number;
  readonly #commit: number;
  readonly #lockPgno: number;
  readonly #isSnapshot: boolean;
  readonly #checksum = new Crc64();
  readonly #hasher: PageHasher;
  readonly #compressor = new BlockCompressor();
  readonly #index = new PageIndex();
  #lastPgno = 0;
  #size = 0;
  #finished = false;
  readonly #ready: Uint8Array[] = [];
  readonly #free: Uint8Array[] = [];
  #output: Uint8Array = new Uint8Array(outputBytesMin);
  #outputLength = 0;

  /** @throws {InvariantError} if the header breaks a law of the format. It is final from now on. */
  constructor(header: LtxHeaderFields) {
    const bytes = encodeHeader(header);
    this.#pageSize = header.pageSize;
    this.#commit = header.commit;
    this.#lockPgno = lockPgno(header.pageSize);
    this.#isSnapshot = isSnapshot(header);
    this.#hasher = new PageHasher(header.pageSize);
    this.#append(bytes);
    this.#checksum.update(bytes);
  }

  /**
   * Adds a page. Pages come in ascending order, none beyond commit, never the lock page; a snapshot has all of them.
   *
   * @param page - exactly pageSize bytes; not kept.
   * @param block - the page as an LZ4 block, if it is at hand; it is then taken over without compressing again.
   * @returns the page's checksum, valid until the next call.
   * @throws {InvariantError} if a law of the format would be broken.
   */
  writePage(pgno: number, page: Uint8Array, block?: Uint8Array): PageChecksum {
    invariant(!this.#finished, "the file is finished");
    invariant(page.length === this.#pageSize, `page ${pgno} has ${page.length} bytes`);
    invariant(pgno > this.#lastPgno, `page ${pgno} after page ${this.#lastPgno}`);
    invariant(pgno <= this.#commit && Number.isInteger(pgno), `page ${pgno} of ${this.#commit}`);
    invariant(pgno !== this.#lockPgno, `page ${pgno} is the lock page`);
    invariant(
      !this.#isSnapshot || pgno === this.#pgnoAfterLast(),
      `page ${pgno} in a snapshot after ${this.#lastPgno}`,
    );
    this.#lastPgno = pgno;

    this.#reserve(blockFrameOverhead + blockBytesMax(this.#pageSize));
    const output = this.#output;
    const frameAt = this.#outputLength;
    const blockAt = frameAt + blockFrameOverhead;
    let end: number;
    if (block === undefined) end = this.#compressor.compress(page, output, blockAt);
    else {
      invariant(block.length <= blockBytesMax(this.#pageSize), `a block of ${block.length} bytes`);
      output.set(block, blockAt);
      end = blockAt + block.length;
    }
    writeBlockFrameHeader(output, frameAt, pgno, end - blockAt);
    this.#outputLength = end;
    this.#size += end - frameAt;
    this.#index.add(pgno, end - frameAt);
    this.#checksum.update(output, frameAt, blockAt);
    this.#hasher.hash(this.#checksum, pgno, page);
    return this.#hasher;
  }

  /**
   * Takes a piece of the file that is ready. The pieces follow each other without gaps and belong to the caller; none is empty.
   *
   * @param bytesMin - leave it for later if it is smaller. Pieces of about 1 MiB are given out in any case.
   * @returns undefined if there is nothing to take. After `finish` call it until then.
   */
  takeOutput(bytesMin = 1): Uint8Array | undefined {
    const ready = this.#ready.shift();
    if (ready !== undefined) return ready;
    if (this.#outputLength === 0 || this.#outputLength < bytesMin) return undefined;
    const output = this.#output.subarray(0, this.#outputLength);
    this.#output = new Uint8Array(0);
    this.#outputLength = 0;
    return output;
  }

  /**
   * Takes back a piece that `takeOutput` gave, whose bytes are not needed any more, to write into it again: pieces that were left
   * to the garbage collector would lie in memory by the dozen.
   */
  reuse(piece: Uint8Array): void {
    this.#free.push(new Uint8Array(piece.buffer as ArrayBuffer));
  }

  /** Writes index and trailer. The file is complete when its last piece is taken. @throws {InvariantError} if a snapshot lacks its end. */
  finish(): LtxFileSummary {
    invariant(!this.#finished, "the file is finished");
    invariant(
      !this.#isSnapshot || this.#pgnoAfterLast() > this.#commit,
      `the snapshot ends at page ${this.#lastPgno} of ${this.#commit}`,
    );
    this.#finished = true;
    this.#appendHashed(new Uint8Array(pageHeaderBytes));
    for (const piece of this.#index.encode()) this.#appendHashed(piece);
    this.#checksum.update(encodeTrailer(0n), 0, trailerBytes / 2);
    const fileChecksum = this.#checksum.toBigInt() | (1n << 63n);
    this.#append(encodeTrailer(fileChecksum));
    return { fileChecksum, size: this.#size, pageCount: this.#index.count };
  }

  #pgnoAfterLast(): number {
    const next = this.#lastPgno + 1;
    return next === this.#lockPgno ? next + 1 : next;
  }

  #appendHashed(bytes: Uint8Array): void {
    this.#append(bytes);
    this.#checksum.update(bytes);
  }

  #append(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#output.set(bytes, this.#outputLength);
    this.#outputLength += bytes.length;
    this.#size += bytes.length;
  }

  /** Makes room for `byteCount` more: small files stay in one piece that grows, of large ones full pieces are set aside. */
  #reserve(byteCount: number): void {
    if (this.#outputLength + byteCount <= this.#output.length) return;
    const pending = this.#output.subarray(0, this.#outputLength);
    if (this.#output.length >= outputBytes) {
      this.#ready.push(pending);
      this.#output = this.#takeFree(byteCount) ?? new Uint8Array(outputBytes);
      this.#outputLength = 0;
      return;
    }
    const needed = Math.max(
      this.#output.length * 2,
      this.#outputLength + byteCount,
      outputBytesMin,
    );
    this.#output =
      this.#takeFree(this.#outputLength + byteCount) ??
      new Uint8Array(Math.min(needed, outputBytes));
    this.#output.set(pending);
  }

  /** What is too small is dropped: what comes back in its place is larger. */
  #takeFree(bytesMin: number): Uint8Array | undefined {
    const free = this.#free.pop();
    return free !== undefined && free.length >= bytesMin ? free : undefined;
  }
}
