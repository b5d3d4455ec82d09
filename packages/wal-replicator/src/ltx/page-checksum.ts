import { Crc64 } from "./crc64.ts";
import { lockPgno } from "./lock-page.ts";

/**
 * Page checksum = CRC-64 of (u32 big-endian pgno ‖ page), bit 63 set. Rolling checksum of a database = XOR of its page checksums,
 * bit 63 set again after each, the lock page left out (ltx: ltx.go `ChecksumPage`, decoder.go:221).
 */
export interface PageChecksum {
  /** Halves as u32. */
  readonly low: number;
  readonly high: number;
}

const topBit = 0x80000000;

/** For a page that is not written or read as part of an LTX file: encoder and decoder give its checksum along the way. */
export function checksumPage(pgno: number, page: Uint8Array): PageChecksum {
  const crc = new Crc64();
  crc.update(Uint8Array.of(pgno >>> 24, pgno >>> 16, pgno >>> 8, pgno));
  crc.update(page);
  return { low: crc.low, high: (crc.high | topBit) >>> 0 };
}

/** Adds a page to a rolling checksum; a second time takes it out again. The lock page must not be added. */
export function toggleRolling(rolling: PageChecksum, page: PageChecksum): PageChecksum {
  return {
    low: (rolling.low ^ page.low) >>> 0,
    high: ((rolling.high ^ page.high) | topBit) >>> 0,
  };
}

/** @returns the rolling checksum of these pages, each given once, in any order; the lock page is left out. 0 without pages. */
export function rollingChecksum(
  pageSize: number,
  pages: Iterable<{ readonly pgno: number; readonly data: Uint8Array }>,
): PageChecksum {
  const lock = lockPgno(pageSize);
  let rolling: PageChecksum = { low: 0, high: 0 };
  for (const { pgno, data } of pages) {
    if (pgno !== lock) rolling = toggleRolling(rolling, checksumPage(pgno, data));
  }
  return rolling;
}

/** The 64-bit value of two halves. */
export function checksumToBigInt(checksum: PageChecksum): bigint {
  return (BigInt(checksum.high) << 32n) | BigInt(checksum.low);
}

/** 16 hex digits, lower case. */
export function formatChecksum(checksum: PageChecksum): string {
  return checksumToBigInt(checksum).toString(16).padStart(16, "0");
}
