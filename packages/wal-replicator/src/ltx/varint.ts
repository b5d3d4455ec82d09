/**
 * Unsigned LEB128: 7 bits a byte, the lowest first, bit 7 set on all but the last (Go's `binary.PutUvarint`; not SQLite's varints).
 * Only values up to 2^53 − 1 are written or accepted, built by arithmetic, because `<<` ends at 32 bits.
 */
export const varintBytesMax = 8;

/** @param value - an integer from 0 to 2^53 − 1. @returns the position behind the at most 8 bytes written. */
export function writeVarint(target: Uint8Array, at: number, value: number): number {
  let rest = value;
  let next = at;
  while (rest >= 0x80) {
    target[next++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  target[next++] = rest;
  return next;
}

/** Reads one varint byte by byte, so that input may be split anywhere. */
export class VarintReader {
  #value = 0;
  #byteCount = 0;

  /**
   * Takes the next byte.
   *
   * @returns the value when the byte was its last, and begins anew; `more` if it goes on; `invalid` above 2^53 − 1, or when longer
   *   than the 10 bytes that any u64 needs.
   */
  push(byte: number): number | "more" | "invalid" {
    this.#value += (byte & 0x7f) * 2 ** (7 * this.#byteCount);
    this.#byteCount += 1;
    if (this.#value > Number.MAX_SAFE_INTEGER) return "invalid";
    if (byte >= 0x80) return this.#byteCount === 10 ? "invalid" : "more";
    const value = this.#value;
    this.#value = 0;
    this.#byteCount = 0;
    return value;
  }
}
