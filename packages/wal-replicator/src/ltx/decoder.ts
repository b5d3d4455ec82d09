import { FormatError, InvariantError } from "../errors.ts";
import { Crc64, PageHasher } from "./crc64.ts";
import type { LtxFileSummary } from "./encoder.ts";
import type { TxidRange } from "./file-name.ts";
import { decodeHeader, fileBytesMin, headerBytes, isSnapshot, type LtxHeader } from "./header.ts";
import { lockPgno } from "./lock-page.ts";
import { BlockDecompressor, blockBytesMax, readLz4Frame } from "./lz4-block.ts";
import { checksumToBigInt, type PageChecksum, toggleRolling } from "./page-checksum.ts";
import { pageHeaderBytes, readPageHeader, readU32, sizeFieldBytes } from "./page-frame.ts";
import { badIndex, PageIndex, PageIndexChecker } from "./page-index.ts";
import { decodeTrailer, trailerBytes } from "./trailer.ts";

/** A page as read. It is not to be trusted before `finish` returned: a flipped bit shows only in the file's checksum. */
export interface LtxPage extends PageChecksum {
  readonly pgno: number;
  /** Exactly pageSize bytes. */
  readonly data: Uint8Array;
  /** The page as LZ4 block, where it is stored as one; valid until the decoder's next call. */
  readonly block: Uint8Array | undefined;
}

export interface LtxFileVerdict extends LtxFileSummary {
  readonly header: LtxHeader;
  /** Rolling checksum of the database after this file; 0 where the file carries none. */
  readonly postApplyChecksum: bigint;
}

export interface LtxDecoderOptions {
  /** TXIDs of the file's name, which the header must equal. */
  readonly range?: TxidRange;
  /** Length of the file in bytes, if known: impossible sizes are then refused before their bytes come. */
  readonly size?: number;
}

/** `failed` is final: a decoder that refused something never says anything good about the file again. */
type State = "header" | "pages" | "index" | "index-length" | "trailer" | "end" | "failed";

/**
 * Reads one LTX file from pieces, split anywhere: push a piece, read pages until there are no more, push the next; then `finish`.
 *
 * Every byte is foreign. All of `ltx-format.md` 9 is checked, before anything is allocated by a number from the file. Memory is
 * bounded by the last piece, one frame, and 8 bytes for each page that was really read. Whatever the input, the only error is
 * `FormatError`; `InvariantError` means that the caller broke the rules.
 */
export class LtxDecoder {
  readonly #options: LtxDecoderOptions;
  #state: State = "header";
  #header: LtxHeader | undefined;
  readonly #checksum = new Crc64();
  readonly #index = new PageIndex();
  readonly #indexChecker = new PageIndexChecker(this.#index);
  #indexBytes = 0;
  #lastPgno = 0;
  #rolling: PageChecksum = { low: 0, high: 0 };
  #verdict: LtxFileVerdict | undefined;

  // Set with the header.
  #lockPgno = 0;
  #page: Uint8Array = new Uint8Array(0);
  #hasher: PageHasher | undefined;
  #decompressor: BlockDecompressor | undefined;

  /** Unread input is `#input[#start, #end)`. A piece is used as it is; only what is left of one moves to a buffer of ours. */
  #input: Uint8Array = new Uint8Array(0);
  #start = 0;
  #end = 0;
  #ownsInput = false;
  /** Of `#input[0]` in the file. */
  #inputOffset = 0;

  constructor(options: LtxDecoderOptions = {}) {
    this.#options = options;
    if (options.size !== undefined && options.size < fileBytesMin) {
      throw new FormatError("LTX_TRUNCATED", `a file of ${options.size} bytes`);
    }
  }

  /** Undefined until the first 100 bytes were pushed. */
  get header(): LtxHeader | undefined {
    return this.#header;
  }

  /** Whether the end of the pages was read: `readPage` gives no more, whatever is pushed. */
  get pagesOver(): boolean {
    return this.#state !== "header" && this.#state !== "pages";
  }

  /**
   * Hands over the next bytes of the file. Read all pages before the next call, or they pile up.
   *
   * @param chunk - must not change until the next call.
   * @throws {FormatError}
   */
  push(chunk: Uint8Array): void {
    this.#guarded(() => {
      this.#take(chunk);
      if (this.#state === "header") this.#readHeader();
      if (this.pagesOver) this.#readEnd();
    });
  }

  /**
   * Reads the next page.
   *
   * @param into - exactly pageSize bytes for the page; without it, `data` is a buffer that the next call fills again.
   * @returns undefined if more input is needed, or `pagesOver`.
   * @throws {FormatError}
   */
  readPage(into?: Uint8Array): LtxPage | undefined {
    if (this.#state !== "pages") {
      if (this.#state === "failed") throw alreadyFailed();
      return undefined;
    }
    return this.#guarded(() => this.#readFrame(into ?? this.#page));
  }

  /**
   * Ends the input. Only now the pages count. Pages that were not read are verified all the same.
   *
   * @throws {FormatError} `LTX_TRUNCATED` if bytes are missing, and everything else.
   */
  finish(): LtxFileVerdict {
    while (this.readPage() !== undefined);
    return this.#guarded(() => {
      if (this.#verdict !== undefined) return this.#verdict;
      const offset = this.#inputOffset + this.#end;
      throw new FormatError("LTX_TRUNCATED", `the file ends within its ${this.#state}`, { offset });
    });
  }

  #guarded<T>(step: () => T): T {
    if (this.#state === "failed") throw alreadyFailed();
    try {
      return step();
    } catch (error) {
      this.#state = "failed";
      throw error;
    }
  }

  #take(chunk: Uint8Array): void {
    const left = this.#end - this.#start;
    if (left === 0) {
      this.#inputOffset += this.#end;
      this.#input = chunk;
      this.#ownsInput = false;
      this.#start = 0;
      this.#end = chunk.length;
      return;
    }
    if (!this.#ownsInput || this.#end + chunk.length > this.#input.length) {
      // Moved to the front only when that frees half of the buffer: bytes that come one by one are not moved for each of them.
      const fits = this.#ownsInput && (left + chunk.length) * 2 <= this.#input.length;
      const target = fits ? this.#input : new Uint8Array((left + chunk.length) * 3);
      target.set(this.#input.subarray(this.#start, this.#end));
      this.#inputOffset += this.#start;
      this.#input = target;
      this.#ownsInput = true;
      this.#start = 0;
      this.#end = left;
    }
    this.#input.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  #readHeader(): void {
    if (this.#end - this.#start < headerBytes) return;
    const bytes = this.#input.subarray(this.#start, this.#start + headerBytes);
    const header = decodeHeader(bytes);
    const { range, size } = this.#options;
    if (
      range !== undefined &&
      (range.minTxid !== header.minTxid || range.maxTxid !== header.maxTxid)
    ) {
      throw new FormatError("LTX_BAD_HEADER", "bad header: its TXIDs are not those of the name", {
        offset: 16,
      });
    }
    // A page costs at least 11 bytes of frame and 3 of index.
    if (size !== undefined && isSnapshot(header) && header.commit > 2 + size / 14) {
      throw new FormatError(
        "LTX_BAD_HEADER",
        `bad header: ${header.commit} pages in ${size} bytes`,
        { offset: 12 },
      );
    }
    this.#checksum.update(bytes);
    this.#start += headerBytes;
    this.#header = header;
    this.#lockPgno = lockPgno(header.pageSize);
    this.#page = new Uint8Array(header.pageSize);
    this.#hasher = new PageHasher(header.pageSize);
    this.#decompressor = new BlockDecompressor(header.pageSize);
    this.#state = "pages";
  }

  #readFrame(page: Uint8Array): LtxPage | undefined {
    const header = this.#header as LtxHeader;
    if (page.length !== header.pageSize)
      throw new InvariantError(`${page.length} bytes for a page`);
    const start = this.#start;
    const offset = this.#inputOffset + start;
    if (this.#end - start < pageHeaderBytes) return undefined;
    const { pgno, hasSize } = readPageHeader(this.#input, start, offset);
    this.#checkPgno(pgno, header, offset);
    if (pgno === 0) {
      this.#endPages(start);
      return undefined;
    }
    const frame = hasSize
      ? this.#findBlock(start, offset, header.pageSize)
      : readLz4Frame(
          this.#input,
          start + pageHeaderBytes,
          this.#end,
          header.pageSize,
          offset + pageHeaderBytes,
        );
    if (frame === undefined) return undefined;
    const block = this.#input.subarray(frame.start, frame.end);
    if (frame.isStored) page.set(block);
    else (this.#decompressor as BlockDecompressor).decompress(block, page, offset);

    const hashedBytes = hasSize ? pageHeaderBytes + sizeFieldBytes : pageHeaderBytes;
    this.#checksum.update(this.#input, start, start + hashedBytes);
    const hasher = this.#hasher as PageHasher;
    hasher.hash(this.#checksum, pgno, page);
    if (header.hasChecksums) this.#rolling = toggleRolling(this.#rolling, hasher);
    this.#index.add(pgno, pageHeaderBytes + frame.length);
    this.#lastPgno = pgno;
    this.#start = start + pageHeaderBytes + frame.length;
    return {
      pgno,
      data: page,
      low: hasher.low,
      high: hasher.high,
      block: frame.isStored ? undefined : block,
    };
  }

  /** The order and bounds of pages; 0 ends them, which must not come too early in a snapshot. */
  #checkPgno(pgno: number, header: LtxHeader, offset: number): void {
    let next = this.#lastPgno + 1;
    if (next === this.#lockPgno) next += 1;
    const isInOrder = isSnapshot(header)
      ? pgno === (next > header.commit ? 0 : next)
      : pgno === 0 || (pgno >= next && pgno <= header.commit && pgno !== this.#lockPgno);
    if (!isInOrder) {
      const reason = `page ${pgno} after page ${this.#lastPgno} of ${header.commit}`;
      throw new FormatError("LTX_BAD_PAGE", reason, { offset });
    }
  }

  #findBlock(
    start: number,
    offset: number,
    pageSize: number,
  ): { start: number; end: number; length: number; isStored: boolean } | undefined {
    if (this.#end - start < pageHeaderBytes + sizeFieldBytes) return undefined;
    const size = readU32(this.#input, start + pageHeaderBytes);
    const sizeMax = Math.min(
      blockBytesMax(pageSize),
      (this.#options.size ?? Number.POSITIVE_INFINITY) - offset,
    );
    if (size < 1 || size > sizeMax) {
      throw new FormatError("LTX_BAD_PAGE", `a compressed page of ${size} bytes`, {
        offset: offset + pageHeaderBytes,
      });
    }
    const blockStart = start + pageHeaderBytes + sizeFieldBytes;
    if (this.#end < blockStart + size) return undefined;
    return {
      start: blockStart,
      end: blockStart + size,
      length: sizeFieldBytes + size,
      isStored: false,
    };
  }

  #endPages(start: number): void {
    this.#checksum.update(this.#input, start, start + pageHeaderBytes);
    this.#start = start + pageHeaderBytes;
    this.#state = "index";
    this.#readEnd();
  }

  /** Index, its length, trailer, and nothing behind it. */
  #readEnd(): void {
    if (this.#state === "index") this.#readIndex();
    if (this.#state === "index-length") this.#readIndexLength();
    if (this.#state === "trailer") this.#readTrailer();
    if (this.#state === "end" && this.#start < this.#end) {
      throw new FormatError("LTX_BAD_TRAILER", "bytes follow the trailer", {
        offset: this.#inputOffset + this.#start,
      });
    }
  }

  #readIndex(): void {
    const start = this.#start;
    let at = start;
    while (this.#state === "index" && at < this.#end) {
      const isEnd = this.#indexChecker.push(this.#input[at] as number, this.#inputOffset + at);
      at += 1;
      if (isEnd) this.#state = "index-length";
    }
    this.#checksum.update(this.#input, start, at);
    this.#indexBytes += at - start;
    this.#start = at;
  }

  #readIndexLength(): void {
    const start = this.#start;
    if (this.#end - start < 8) return;
    const high = readU32(this.#input, start);
    const low = readU32(this.#input, start + 4);
    if (high * 2 ** 32 + low !== this.#indexBytes) {
      throw badIndex(
        `it has ${this.#indexBytes} bytes, its length field says something else`,
        this.#inputOffset + start,
      );
    }
    this.#checksum.update(this.#input, start, start + 8);
    this.#start = start + 8;
    this.#state = "trailer";
  }

  #readTrailer(): void {
    const header = this.#header as LtxHeader;
    const start = this.#start;
    if (this.#end - start < trailerBytes) return;
    const offset = this.#inputOffset + start;
    const trailer = decodeTrailer(
      this.#input.subarray(start, start + trailerBytes),
      header.hasChecksums,
      offset,
    );
    this.#checksum.update(this.#input, start, start + 8);
    const fileChecksum = this.#checksum.toBigInt() | (1n << 63n);
    if (fileChecksum !== trailer.fileChecksum) {
      throw new FormatError(
        "LTX_CHECKSUM_MISMATCH",
        "the file's checksum does not match its content",
        { offset: offset + 8 },
      );
    }
    if (
      header.hasChecksums &&
      isSnapshot(header) &&
      checksumToBigInt(this.#rolling) !== trailer.postApplyChecksum
    ) {
      throw new FormatError(
        "LTX_CHECKSUM_MISMATCH",
        "the database's checksum does not match its pages",
        { offset },
      );
    }
    this.#start = start + trailerBytes;
    this.#state = "end";
    this.#verdict = {
      header,
      fileChecksum,
      postApplyChecksum: trailer.postApplyChecksum,
      size: offset + trailerBytes,
      pageCount: this.#index.count,
    };
  }
}

function alreadyFailed(): InvariantError {
  return new InvariantError("the file was refused already");
}
