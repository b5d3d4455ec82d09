import { uncompressSync } from "lz4-napi";
import { FormatError } from "../errors.ts";
import { releaseMemory } from "../release-memory.ts";

/**
 * Raw LZ4 blocks: no magic, no length, no checksum; and the frames that Litestream up to v0.5.15 wrote instead.
 *
 * Foreign bytes are decompressed by the library, but for blocks of few sequences. Compression is our own page of code: a call of the
 * library for each page costs a buffer and a cleared table of 16 KiB, ten times the CPU for what a vault is full of, ciphertext
 * (measured, 4096-byte pages of base64: 0.4 against 3.9 s a GB; of text: 5.0 against 5.8). Any valid encoder will do; the library is
 * its referee in the tests.
 */

/** The longest block that a page becomes: there is no stored mode, only literals with their length. */
export function blockBytesMax(pageSize: number): number {
  return pageSize + Math.floor(pageSize / 255) + 16;
}

const hashBits = 12;
/** No match begins in the last 12 bytes of a block, and its last 5 bytes are literals (LZ4 block format, "End of block"). */
const matchStartMargin = 12;
const lastLiterals = 5;
const matchBytesMin = 4;
/** After so many misses the search begins to step over bytes, so that what does not compress is left quickly. */
const missesPerStepLog2 = 5;

/** Compresses pages, one block each. Keeps its table between pages, so it is one per encoder. */
export class BlockCompressor {
  /** By hash of 4 bytes: `#base` + their last position. Entries of earlier pages lie below `#base`, so nothing is ever cleared. */
  readonly #table = new Int32Array(1 << hashBits);
  #base = 1;

  /**
   * @param page - 512 … 65536 bytes.
   * @param target - with at least `blockBytesMax(page.length)` bytes from `at` on.
   * @returns the position behind the block.
   */
  compress(page: Uint8Array, target: Uint8Array, at: number): number {
    if (this.#base > 0x7fff0000) {
      this.#table.fill(0);
      this.#base = 1;
    }
    const base = this.#base;
    this.#base += page.length;
    const table = this.#table;
    const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
    const searchEnd = page.length - matchStartMargin;
    const matchEnd = page.length - lastLiterals;
    let literalsFrom = 0;
    let from = 0;
    let out = at;
    for (;;) {
      // Find four bytes that occurred before.
      let misses = 1 << missesPerStepLog2;
      let match = -1;
      while (from < searchEnd) {
        const word = view.getInt32(from, true);
        const slot = Math.imul(word, 0x9e3779b1) >>> (32 - hashBits);
        match = (table[slot] as number) - base;
        table[slot] = base + from;
        if (match >= 0 && view.getInt32(match, true) === word) break;
        from += misses++ >>> missesPerStepLog2;
      }
      if (from >= searchEnd) break;
      while (from > literalsFrom && match > 0 && page[from - 1] === page[match - 1]) {
        from -= 1;
        match -= 1;
      }
      // See how far they agree.
      let to = from + matchBytesMin;
      let ahead = match + matchBytesMin;
      let difference = 0;
      while (to <= matchEnd - 4) {
        difference = view.getInt32(to, true) ^ view.getInt32(ahead, true);
        if (difference !== 0) break;
        to += 4;
        ahead += 4;
      }
      if (difference !== 0) to += (31 - Math.clz32(difference & -difference)) >>> 3;
      else {
        while (to < matchEnd && page[to] === page[ahead]) {
          to += 1;
          ahead += 1;
        }
      }
      const tokenAt = out;
      out = writeLiterals(page, literalsFrom, from, target, out);
      const offset = from - match;
      target[out++] = offset;
      target[out++] = offset >>> 8;
      const length = to - from - matchBytesMin;
      target[tokenAt] = (target[tokenAt] as number) | Math.min(length, 15);
      if (length >= 15) out = writeLength(target, out, length - 15);
      from = to;
      literalsFrom = to;
      if (from >= searchEnd) break;
      const word = view.getInt32(from - 2, true);
      table[Math.imul(word, 0x9e3779b1) >>> (32 - hashBits)] = base + from - 2;
    }
    return writeLiterals(page, literalsFrom, page.length, target, out);
  }
}

/** Writes a token with the literals' length, and the literals. @returns the position behind them. */
function writeLiterals(
  page: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  at: number,
): number {
  const length = end - start;
  let out = at;
  target[out++] = Math.min(length, 15) << 4;
  if (length >= 15) out = writeLength(target, out, length - 15);
  if (length > 64) {
    target.set(page.subarray(start, end), out);
    return out + length;
  }
  for (let index = start; index < end; index++) target[out++] = page[index] as number;
  return out;
}

function writeLength(target: Uint8Array, at: number, length: number): number {
  let rest = length;
  let out = at;
  for (; rest >= 255; rest -= 255) target[out++] = 255;
  target[out++] = rest;
  return out;
}

/** Decompresses blocks to pages of one size. */
export class BlockDecompressor {
  readonly #pageSize: number;
  /** What the native decoder wants: the length as u32 little-endian, then the block. The length drives its allocation. */
  readonly #prefixed: Uint8Array;

  /** @param pageSize - from a validated header, never from the block's surroundings. */
  constructor(pageSize: number) {
    this.#pageSize = pageSize;
    this.#prefixed = new Uint8Array(4 + blockBytesMax(pageSize));
    new DataView(this.#prefixed.buffer).setUint32(0, pageSize, true);
  }

  /**
   * @param block - at most `blockBytesMax(pageSize)` bytes; not kept.
   * @param page - exactly pageSize bytes; after an error filled with anything.
   * @param offset - where the block lies in the file, for the message.
   * @throws {FormatError} `LTX_BAD_PAGE` unless the block is exactly one page.
   */
  decompress(block: Uint8Array, page: Uint8Array, offset: number): void {
    if (decompressShort(block, page)) return;
    this.#prefixed.set(block, 4);
    let result: Uint8Array;
    try {
      result = uncompressSync(this.#prefixed.subarray(0, 4 + block.length));
    } catch (cause) {
      throw badBlock("it does not decompress", offset, cause);
    }
    // A block that holds less than the prefix says is no error to the native decoder.
    if (result.length !== this.#pageSize) {
      throw badBlock(`it decompresses to ${result.length} bytes`, offset);
    }
    page.set(result);
    releaseMemory(result);
  }
}

function badBlock(what: string, offset: number, cause?: unknown): FormatError {
  return new FormatError("LTX_BAD_PAGE", `bad page: ${what}`, { offset, cause });
}

/**
 * Decompresses a block of few sequences: ciphertext, zeros and what repeats itself are such. The call of the library costs more than
 * those (measured, 4096-byte pages, half of them noise and half repetitions: 0.3 against 1.0 s a GB); of text it is the faster one.
 *
 * @param page - filled with anything if the answer is no.
 * @returns whether the block has few sequences and is exactly one page. If not, the library says what it is.
 */
function decompressShort(block: Uint8Array, page: Uint8Array): boolean {
  const { length: blockEnd } = block;
  const { length: pageEnd } = page;
  let from = 0;
  let to = 0;
  for (let sequences = 0; sequences < shortSequencesMax && from < blockEnd; sequences += 1) {
    const token = block[from++] as number;
    let literals = token >>> 4;
    // Lengths go on while their bytes are 255; behind the end they are not, and what they count is missing too.
    for (let more = literals === 15 ? 255 : 0; more === 255; literals += more)
      more = block[from++] ?? 0;
    if (literals > blockEnd - from || literals > pageEnd - to) return false;
    page.set(block.subarray(from, from + literals), to);
    from += literals;
    to += literals;
    if (from === blockEnd) return to === pageEnd;
    const distance = (block[from++] as number) | ((block[from++] ?? 0) << 8);
    let repeated = token & 15;
    for (let more = repeated === 15 ? 255 : 0; more === 255; repeated += more)
      more = block[from++] ?? 0;
    repeated += matchBytesMin;
    if (distance === 0 || distance > to || repeated > pageEnd - to) return false;
    const end = to + repeated;
    // A match may reach into itself: each copy doubles what is there to copy from.
    for (let period = distance; to < end; period *= 2) {
      const bytes = Math.min(period, end - to);
      page.copyWithin(to, to - period, to - period + bytes);
      to += bytes;
    }
  }
  return false;
}

const shortSequencesMax = 8;

/**
 * The LZ4 frame of one page, as Litestream up to v0.5.15 wrote it (64 KiB blocks, so always exactly one):
 *
 * | Size | Bytes |
 * |---|---|
 * | 7 | `04 22 4d 18` magic, `64` version 1, independent blocks, content checksum, `40` 64 KiB, `a7` header check |
 * | 4 | block size, little-endian; bit 31 set: stored as is |
 * | b | LZ4 block, or the page |
 * | 4 | zero: the end mark |
 * | 4 | xxHash-32 of the page; not looked at, since the file's checksum covers the page |
 */
const frameStart = Uint8Array.of(0x04, 0x22, 0x4d, 0x18, 0x64, 0x40, 0xa7);
const blockAt = 11;
const frameTail = 8;

export interface Lz4Frame {
  /** The block's bytes within the frame; an LZ4 block, or the page itself. */
  readonly start: number;
  readonly end: number;
  readonly isStored: boolean;
  /** Of the whole frame in bytes. */
  readonly length: number;
}

/**
 * Walks the frame that begins at `start`.
 *
 * @returns undefined if `bytes` end before the frame does; how long it is may not even be known yet.
 * @throws {FormatError} `LTX_BAD_PAGE` as soon as what is there cannot be such a frame.
 */
export function readLz4Frame(
  bytes: Uint8Array,
  start: number,
  end: number,
  pageSize: number,
  offset: number,
): Lz4Frame | undefined {
  for (let index = 0; index < frameStart.length && start + index < end; index++) {
    if (bytes[start + index] !== frameStart[index]) {
      throw badFrame("it is not the one of Litestream", offset + index);
    }
  }
  if (end - start < blockAt) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const sizeField = view.getUint32(start + 7, true);
  const isStored = sizeField >= 0x80000000;
  const size = isStored ? sizeField - 0x80000000 : sizeField;
  const sizeMax = Math.min(65536, blockBytesMax(pageSize));
  if (isStored ? size !== pageSize : size < 1 || size > sizeMax) {
    throw badFrame(`block size ${size}`, offset + 7);
  }
  const length = blockAt + size + frameTail;
  if (end - start < length) return undefined;
  const blockEnd = start + blockAt + size;
  if (view.getUint32(blockEnd, true) !== 0) {
    throw badFrame("no end mark", offset + blockAt + size);
  }
  return { start: start + blockAt, end: blockEnd, isStored, length };
}

function badFrame(what: string, offset: number): FormatError {
  return new FormatError("LTX_BAD_PAGE", `bad LZ4 frame: ${what}`, { offset });
}
