import { FormatError } from "../errors.ts";
import { headerBytes } from "./header.ts";
import { VarintReader, varintBytesMax, writeVarint } from "./varint.ts";

/**
 * Page index (ltx: encoder.go:120), behind the end of the pages: for each page in ascending order three varints, `pgno`, absolute
 * offset of its frame, length of the frame; then one byte `00`; then, as u64 big-endian, the number of index bytes with the `00`
 * and without these 8. A restore does not look into it; whatever fetches single pages does.
 *
 * Frames follow each other without gaps, so an offset is the sum of the lengths before: 8 bytes a page are kept until the end.
 */
export class PageIndex {
  /** pgno and frame length of each page. In slabs, since one growing array would double the memory whenever it grows. */
  readonly #slabs: Uint32Array[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** @param frameLength - in bytes, with page header and size field. */
  add(pgno: number, frameLength: number): void {
    const at = this.#count % slabEntries;
    if (at === 0) this.#slabs.push(new Uint32Array(slabEntries * 2));
    const slab = this.#slabs.at(-1) as Uint32Array;
    slab[at * 2] = pgno;
    slab[at * 2 + 1] = frameLength;
    this.#count += 1;
  }

  pgnoAt(index: number): number {
    return this.#slab(index)[(index % slabEntries) * 2] as number;
  }

  frameLengthAt(index: number): number {
    return this.#slab(index)[(index % slabEntries) * 2 + 1] as number;
  }

  /** Yields the index and its length field, piece by piece. A piece is valid until the next one is asked for. */
  *encode(): Generator<Uint8Array, void, undefined> {
    const piece = new Uint8Array(pieceBytes);
    let at = 0;
    let size = 1;
    let offset = headerBytes;
    for (let index = 0; index < this.#count; index++) {
      if (at > pieceBytes - entryBytesMax) {
        yield piece.subarray(0, at);
        at = 0;
      }
      const entryAt = at;
      const frameLength = this.frameLengthAt(index);
      at = writeVarint(piece, at, this.pgnoAt(index));
      at = writeVarint(piece, at, offset);
      at = writeVarint(piece, at, frameLength);
      size += at - entryAt;
      offset += frameLength;
    }
    piece[at++] = 0;
    yield piece.subarray(0, at);
    new DataView(piece.buffer).setBigUint64(0, BigInt(size));
    yield piece.subarray(0, 8);
  }

  #slab(index: number): Uint32Array {
    return this.#slabs[Math.floor(index / slabEntries)] as Uint32Array;
  }
}

const slabEntries = 8192;
const pieceBytes = 8192;
const entryBytesMax = 3 * varintBytesMax;

/** Checks an index that is read piece by piece against the frames that were read before it. */
export class PageIndexChecker {
  readonly #index: PageIndex;
  readonly #varint = new VarintReader();
  #entry = 0;
  #field = 0;
  #frameOffset: number = headerBytes;

  constructor(index: PageIndex) {
    this.#index = index;
  }

  /**
   * Takes the next byte of the index.
   *
   * @param offset - where it lies in the file, for the message.
   * @returns whether it was the `00` that ends the index.
   * @throws {FormatError} `LTX_BAD_INDEX` unless every entry equals its frame, and none is missing or too many.
   */
  push(byte: number, offset: number): boolean {
    const value = this.#varint.push(byte);
    if (value === "more") return false;
    if (value === "invalid") throw badIndex("a number is too large", offset);
    if (this.#entry === this.#index.count) {
      if (value !== 0) throw badIndex("it has more entries than there are pages", offset);
      return true;
    }
    if (value !== this.#expected()) {
      throw badIndex(`entry ${this.#entry} does not equal its frame`, offset);
    }
    if (this.#field === 2) {
      this.#frameOffset += value;
      this.#entry += 1;
    }
    this.#field = (this.#field + 1) % 3;
    return false;
  }

  #expected(): number {
    if (this.#field === 0) return this.#index.pgnoAt(this.#entry);
    return this.#field === 1 ? this.#frameOffset : this.#index.frameLengthAt(this.#entry);
  }
}

export function badIndex(what: string, offset: number): FormatError {
  return new FormatError("LTX_BAD_INDEX", `bad page index: ${what}`, { offset });
}
