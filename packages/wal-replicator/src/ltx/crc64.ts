/**
 * CRC-64/GO-ISO, the checksum of LTX files and of pages: polynomial x^64 + x^4 + x^3 + x + 1, reflected, initial value and final
 * XOR all ones. In effect forever: it is in every file ever written.
 *
 * There are no tables. Bit 63 of the register is the coefficient of x^0, so multiplying by x is a shift to the right, and because
 * x^64 = x^4 + x^3 + x + 1 = (x + 1)(x^3 + 1), eight more bytes are `c ^= c >> 1; c ^= c >> 3` plus what both shifts push out of
 * the register, which is multiplied by the same polynomial once more. That is three times as fast as table lookups in JavaScript.
 *
 * The CRC is linear: the register after `prefix ‖ page` is `register(prefix) · x^(8·pageSize) + rawCrc(page)`, where the raw CRC
 * starts from 0. A page is part of two checksums, so `PageHasher` reads it once.
 */
export class Crc64 {
  /** The register's halves, before the final XOR, as signed 32-bit integers. */
  registerLow = -1;
  registerHigh = -1;

  /** Low half of the checksum of what was hashed so far, as u32. */
  get low(): number {
    return ~this.registerLow >>> 0;
  }

  /** High half of the checksum of what was hashed so far, as u32. */
  get high(): number {
    return ~this.registerHigh >>> 0;
  }

  toBigInt(): bigint {
    return (BigInt(this.high) << 32n) | BigInt(this.low);
  }

  /** Hashes `bytes[start, end)`. The bytes are not kept. */
  update(bytes: Uint8Array, start = 0, end: number = bytes.length): void {
    let low = this.registerLow;
    let high = this.registerHigh;
    let at = start;
    // Below that, a DataView costs more than it saves.
    if (end - start >= 32) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      for (const wordsEnd = end - 7; at < wordsEnd; at += 8) {
        low ^= view.getInt32(at, true);
        high ^= view.getInt32(at + 4, true);
        // c1 = c ^ c >> 1, c2 = c1 ^ c1 >> 3; `out` holds the bits that both shifts pushed out, the topmost first.
        const low1 = low ^ (low >>> 1) ^ (high << 31);
        const high1 = high ^ (high >>> 1);
        const out1 = low << 31;
        const out = out1 ^ (out1 >>> 3) ^ (low1 << 29);
        const back = out ^ (out >>> 1);
        low = low1 ^ (low1 >>> 3) ^ (high1 << 29);
        high = high1 ^ (high1 >>> 3) ^ back ^ (back >>> 3);
      }
    }
    for (; at < end; at++) {
      const out = (low ^ (bytes[at] as number)) << 24;
      const back = out ^ (out >>> 1);
      low = (low >>> 8) | (high << 24);
      high = (high >>> 8) ^ back ^ (back >>> 3);
    }
    this.registerLow = low;
    this.registerHigh = high;
  }
}

/**
 * Hashes pages of one size, each read once, into a file's checksum and into the page's own. After `hash`, `low` and `high` are the
 * page checksum's halves (u32, bit 63 set), until the next call.
 */
export class PageHasher {
  low = 0;
  high = 0;
  readonly #raw = new Crc64();
  readonly #prefix = new Crc64();
  readonly #pgnoBytes = new Uint8Array(4);
  readonly #advance: Int32Array;

  /** @param pageSize - in bytes, a multiple of 8. */
  constructor(pageSize: number) {
    let table = advanceTables.get(pageSize);
    if (table === undefined) {
      table = advanceTable(pageSize);
      advanceTables.set(pageSize, table);
    }
    this.#advance = table;
  }

  /** @param page - exactly pageSize bytes; not kept. */
  hash(file: Crc64, pgno: number, page: Uint8Array): void {
    const raw = this.#raw;
    raw.registerLow = 0;
    raw.registerHigh = 0;
    raw.update(page);
    this.#append(file);
    const prefix = this.#prefix;
    prefix.registerLow = -1;
    prefix.registerHigh = -1;
    const pgnoBytes = this.#pgnoBytes;
    pgnoBytes[0] = pgno >>> 24;
    pgnoBytes[1] = pgno >>> 16;
    pgnoBytes[2] = pgno >>> 8;
    pgnoBytes[3] = pgno;
    prefix.update(pgnoBytes);
    this.#append(prefix);
    this.low = prefix.low;
    this.high = (prefix.high | 0x80000000) >>> 0;
  }

  /** Appends the page behind `#raw` to what `crc` has hashed. */
  #append(crc: Crc64): void {
    const table = this.#advance;
    let low = this.#raw.registerLow;
    let high = this.#raw.registerHigh;
    for (let nibble = 0; nibble < 8; nibble++) {
      const lowEntry = (nibble * 16 + ((crc.registerLow >>> (nibble * 4)) & 15)) * 2;
      const highEntry = ((nibble + 8) * 16 + ((crc.registerHigh >>> (nibble * 4)) & 15)) * 2;
      low ^= (table[lowEntry] as number) ^ (table[highEntry] as number);
      high ^= (table[lowEntry + 1] as number) ^ (table[highEntry + 1] as number);
    }
    crc.registerLow = low;
    crc.registerHigh = high;
  }
}

/** By page size, of which there are eight: an hour of small files has thousands of hashers. */
const advanceTables = new Map<number, Int32Array>();

/** `value · x^(8·byteCount)` for each value of each of the register's 16 nibbles, lowest first: two halves an entry, 2 KiB. */
function advanceTable(byteCount: number): Int32Array {
  const table = new Int32Array(16 * 16 * 2);
  // The register's top bit is x^0; each bit below it is one more power of x, which is one shift with reduction.
  const power = new Crc64();
  power.registerLow = 0;
  power.registerHigh = 0x80000000 | 0;
  power.update(new Uint8Array(byteCount));
  let low = power.registerLow;
  let high = power.registerHigh;
  for (let bit = 63; bit >= 0; bit--) {
    const inNibble = 1 << (bit & 3);
    for (let value = 0; value < 16; value++) {
      if ((value & inNibble) === 0) continue;
      const entry = ((bit >>> 2) * 16 + value) * 2;
      table[entry] = (table[entry] as number) ^ low;
      table[entry + 1] = (table[entry + 1] as number) ^ high;
    }
    const out = low & 1;
    low = (low >>> 1) | (high << 31);
    high = (high >>> 1) ^ (out === 0 ? 0 : 0xd8000000);
  }
  return table;
}
