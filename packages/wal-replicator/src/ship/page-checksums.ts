import { lockPgno } from "../ltx/lock-page.ts";

/**
 * CRC-64 of every page as of one TXID, and their XOR, the rolling checksum of the whole database: 8 bytes a page.
 *
 * Makes "is this copy identical?" one comparison, and finds the changed pages after a gap (`wal-capture.md` 8).
 * The lock page has no checksum: its entry stays 0. Present pages always have bit 63 set (format fact: ltx.go, `ChecksumFlag`),
 * so a high half of 0 means "none".
 */
export class PageChecksums {
  readonly pageSize: number;
  /** Two u32 a page, low half first; page 1 is at index 0. Only the first `pageCount` pairs count. */
  #halves: Uint32Array;
  #pageCount = 0;
  #rollingLow = 0;
  #rollingHigh = 0;

  constructor(pageSize: number, pageCapacity = 0) {
    this.pageSize = pageSize;
    this.#halves = new Uint32Array(Math.max(pageCapacity, 64) * 2);
  }

  get pageCount(): number {
    return this.#pageCount;
  }

  /** 16 hex digits. Bit 63 is set, as Litestream has it, except for a database without pages. */
  get rolling(): string {
    return formatRolling(this.#rollingLow, this.#rollingHigh, this.#pageCount);
  }

  /** The table's own bytes, valid until the next change: two little-endian u32 a page. */
  get halves(): Uint32Array {
    return this.#halves.subarray(0, this.#pageCount * 2);
  }

  /** Grows with zeros, or drops what lies beyond. */
  resize(pageCount: number): void {
    for (let index = pageCount * 2; index < this.#pageCount * 2; index += 2) {
      this.#toggle(this.#halves[index] as number, this.#halves[index + 1] as number);
      this.#halves[index] = 0;
      this.#halves[index + 1] = 0;
    }
    if (pageCount * 2 > this.#halves.length) {
      const grown = new Uint32Array(Math.max(pageCount * 2, Math.ceil(this.#halves.length * 1.5)));
      grown.set(this.halves);
      this.#halves = grown;
    }
    this.#pageCount = pageCount;
  }

  /** @param pgno - 1 … pageCount. */
  set(pgno: number, low: number, high: number): void {
    const index = (pgno - 1) * 2;
    this.#toggle((this.#halves[index] as number) ^ low, (this.#halves[index + 1] as number) ^ high);
    this.#halves[index] = low;
    this.#halves[index + 1] = high;
  }

  /** Whether page `pgno` is known with exactly this checksum. */
  equals(pgno: number, low: number, high: number): boolean {
    if (pgno > this.#pageCount) return false;
    const index = (pgno - 1) * 2;
    return this.#halves[index] === low >>> 0 && this.#halves[index + 1] === high >>> 0;
  }

  apply(changes: PageChecksumChanges): void {
    this.resize(changes.pageCount);
    for (let index = 0; index < changes.count; index++) {
      const pgno = changes.entries[index * 3] as number;
      if (pgno <= this.#pageCount) {
        this.set(
          pgno,
          changes.entries[index * 3 + 1] as number,
          changes.entries[index * 3 + 2] as number,
        );
      }
    }
  }

  /** What `rolling` would be after `apply(changes)`, without changing anything: it is needed before the file is durable. */
  rollingAfter(changes: PageChecksumChanges): string {
    let low = this.#rollingLow;
    let high = this.#rollingHigh;
    for (let index = changes.pageCount * 2; index < this.#pageCount * 2; index += 2) {
      low ^= this.#halves[index] as number;
      high ^= this.#halves[index + 1] as number;
    }
    const kept = Math.min(this.#pageCount, changes.pageCount);
    for (let index = 0; index < changes.count; index++) {
      const pgno = changes.entries[index * 3] as number;
      if (pgno > changes.pageCount) continue;
      low ^= changes.entries[index * 3 + 1] as number;
      high ^= changes.entries[index * 3 + 2] as number;
      if (pgno <= kept) {
        low ^= this.#halves[(pgno - 1) * 2] as number;
        high ^= this.#halves[(pgno - 1) * 2 + 1] as number;
      }
    }
    return formatRolling(low, high, changes.pageCount);
  }

  /** Takes over saved halves (copied). @throws {RangeError} if a present page lacks bit 63, or the lock page has a checksum. */
  static fromHalves(pageSize: number, halves: Uint32Array): PageChecksums {
    const table = new PageChecksums(pageSize, halves.length / 2);
    table.resize(halves.length / 2);
    const lock = lockPgno(pageSize);
    for (let pgno = 1; pgno <= halves.length / 2; pgno++) {
      const low = halves[(pgno - 1) * 2] as number;
      const high = halves[(pgno - 1) * 2 + 1] as number;
      if (pgno === lock ? (low | high) !== 0 : high < 0x80000000) {
        throw new RangeError(`page ${pgno} has an impossible checksum`);
      }
      table.set(pgno, low, high);
    }
    return table;
  }

  #toggle(low: number, high: number): void {
    this.#rollingLow ^= low;
    this.#rollingHigh ^= high;
  }
}

/** Checksums of the pages that one pass changed. They enter the table only when the pass's file is durable. */
export class PageChecksumChanges {
  /** Size of the database after the pass, in pages. */
  readonly pageCount: number;
  /** pgno, low, high; three u32 an entry. A page occurs once. */
  entries: Uint32Array = new Uint32Array(64 * 3);
  count = 0;

  constructor(pageCount: number) {
    this.pageCount = pageCount;
  }

  add(pgno: number, low: number, high: number): void {
    if (this.count * 3 === this.entries.length) {
      const grown = new Uint32Array(this.entries.length * 2);
      grown.set(this.entries);
      this.entries = grown;
    }
    this.entries.set([pgno, low, high], this.count * 3);
    this.count += 1;
  }
}

function formatRolling(low: number, high: number, pageCount: number): string {
  const flagged = pageCount === 0 ? high : high | 0x80000000;
  return (flagged >>> 0).toString(16).padStart(8, "0") + (low >>> 0).toString(16).padStart(8, "0");
}
