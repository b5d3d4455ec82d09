import { FormatError } from "../errors.ts";

/**
 * Raw LZ4 blocks: no magic, no length, no checksum; and the frames that Litestream up to v0.5.15 wrote instead.
 *
 * Both directions are our own, since they are a page of code each, and a native library costs a call, an allocation and a copy
 * for each page, and a 16 KiB table to clear: here compression is 1.2 times as fast for text and several times for what does not
 * compress, and decompression leaves nothing behind for the garbage collector.
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

/** Longer copies are faster by a call than byte by byte. */
const loopBytesMax = 32;

/**
 * Decompresses a block, which must be exactly one page.
 *
 * Every byte is foreign: nothing is read outside of the block and nothing written outside of the page, whatever it says.
 *
 * @param block - not kept.
 * @param page - exactly one page; after an error, what is in it means nothing.
 * @param offset - where the block lies in the file, for the message.
 * @throws {FormatError} `LTX_BAD_PAGE`
 */
export function decompressBlock(block: Uint8Array, page: Uint8Array, offset: number): void {
  const blockEnd = block.length;
  const pageEnd = page.length;
  let at = 0;
  let to = 0;
  for (;;) {
    if (at === blockEnd) throw badBlock("it is cut off", offset);
    const token = block[at++] as number;
    let length = token >>> 4;
    if (length === 15) {
      let more: number;
      do {
        if (at === blockEnd) throw badBlock("it is cut off in a length", offset);
        more = block[at++] as number;
        length += more;
      } while (more === 255);
    }
    if (length > blockEnd - at) throw badBlock("it is cut off in its literals", offset);
    if (length > pageEnd - to) throw badBlock("it is longer than a page", offset);
    if (length > loopBytesMax) page.set(block.subarray(at, at + length), to);
    else
      for (let index = 0; index < length; index++) page[to + index] = block[at + index] as number;
    at += length;
    to += length;
    // A block ends with literals.
    if (at === blockEnd) break;

    if (blockEnd - at < 2) throw badBlock("it is cut off in a match", offset);
    const distance = (block[at] as number) | ((block[at + 1] as number) << 8);
    at += 2;
    if (distance === 0 || distance > to) throw badBlock("a match before its beginning", offset);
    length = token & 15;
    if (length === 15) {
      let more: number;
      do {
        if (at === blockEnd) throw badBlock("it is cut off in a length", offset);
        more = block[at++] as number;
        length += more;
      } while (more === 255);
    }
    length += matchBytesMin;
    if (length > pageEnd - to) throw badBlock("it is longer than a page", offset);
    const from = to - distance;
    const matchEnd = to + length;
    if (length <= loopBytesMax) {
      for (let source = from; to < matchEnd; ) page[to++] = page[source++] as number;
    } else {
      // A match may reach into itself: what is there already repeats, and doubles with each copy.
      while (to < matchEnd) {
        const count = Math.min(matchEnd - to, to - from);
        page.copyWithin(to, from, from + count);
        to += count;
      }
    }
  }
  if (to !== pageEnd) throw badBlock(`it decompresses to ${to} bytes`, offset);
}

function badBlock(what: string, offset: number): FormatError {
  return new FormatError("LTX_BAD_PAGE", `bad page: ${what}`, { offset });
}

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
