import { FormatError } from "../errors.ts";
import { type ByteSource, readFully } from "./byte-source.ts";
import { isPageSize } from "./page.ts";
import type { Salt } from "./salt.ts";
import { addToSums, type ByteOrder, sumsEqual, type WalSums } from "./wal-checksum.ts";

/**
 * The header of a WAL (sqlite `wal.c`, "WAL FILE FORMAT"): 32 bytes, all fields big-endian u32.
 *
 * | Byte | Field |
 * |---|---|
 * | 0 | magic: 377f0682 little-endian sums, 377f0683 big-endian sums |
 * | 4 | version, 3007000 |
 * | 8 | page size |
 * | 12 | checkpoint sequence |
 * | 16, 20 | salt-1, salt-2 |
 * | 24, 28 | sums over bytes 0 to 23, from (0, 0) |
 */
export interface WalHeader {
  readonly order: ByteOrder;
  /** In bytes. */
  readonly pageSize: number;
  /** u32; goes up by one at each restart. */
  readonly sequence: number;
  readonly salt: Salt;
  /** The sums that the first frame's continue. */
  readonly sums: Readonly<WalSums>;
}

export const walHeaderBytes = 32;

const magicLittleEndian = 0x377f0682;
const magicBigEndian = 0x377f0683;
const version = 3_007_000;
const summedBytes = 24;

/** Reads the header of a WAL. @returns and @throws as `decodeWalHeader`. */
export function readWalHeader(source: ByteSource): WalHeader | "torn" {
  const bytes = new Uint8Array(walHeaderBytes);
  return decodeWalHeader(bytes.subarray(0, readFully(source, bytes, 0)));
}

/**
 * Decodes the header of a WAL.
 *
 * Its sums alone tell an intact header from a torn one. Torn (too short, zeros, sums that fit in neither byte order) is data:
 * a live WAL looks like that for an instant while it is restarted, and after a power cut. SQLite takes such a WAL for empty and
 * overwrites it with the next commit, whichever field is damaged, the magic included; so "nothing yet, look again" is the answer.
 * An intact header with a field that this code does not know is an error: the WAL of some other or later program, whose frames
 * must not be taken for none.
 *
 * @param bytes - the beginning of the file, 32 bytes if it has so many.
 * @throws {FormatError} `WAL_BAD_MAGIC`, `WAL_UNSUPPORTED_VERSION`, `WAL_BAD_PAGE_SIZE`
 */
export function decodeWalHeader(bytes: Uint8Array): WalHeader | "torn" {
  if (bytes.length < walHeaderBytes) return "torn";
  const view = new DataView(bytes.buffer, bytes.byteOffset, walHeaderBytes);
  const magic = view.getUint32(0);
  // The sums of zeros are zeros, so this one case the sums cannot tell.
  if (magic === 0) return "torn";
  const order = orderOfSums(view);
  if (order === undefined) return "torn";
  if (magic !== magicOf(order)) {
    throw new FormatError("WAL_BAD_MAGIC", `not a WAL: its magic is ${magic.toString(16)}`, {
      offset: 0,
    });
  }
  const foundVersion = view.getUint32(4);
  if (foundVersion !== version) {
    throw new FormatError(
      "WAL_UNSUPPORTED_VERSION",
      `a WAL of version ${foundVersion}, not ${version}`,
      { offset: 4 },
    );
  }
  const pageSize = view.getUint32(8);
  if (!isPageSize(pageSize)) {
    throw new FormatError("WAL_BAD_PAGE_SIZE", `a WAL with page size ${pageSize}`, { offset: 8 });
  }
  return {
    order,
    pageSize,
    sequence: view.getUint32(12),
    salt: { salt1: view.getUint32(16), salt2: view.getUint32(20) },
    sums: { s0: view.getUint32(24), s1: view.getUint32(28) },
  };
}

/** The 32 bytes of a header with these fields; the sums are computed. */
export function encodeWalHeader(fields: Omit<WalHeader, "sums">): Uint8Array {
  const bytes = new Uint8Array(walHeaderBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magicOf(fields.order));
  view.setUint32(4, version);
  view.setUint32(8, fields.pageSize);
  view.setUint32(12, fields.sequence);
  view.setUint32(16, fields.salt.salt1);
  view.setUint32(20, fields.salt.salt2);
  const sums: WalSums = { s0: 0, s1: 0 };
  addToSums(sums, view, 0, summedBytes, fields.order);
  view.setUint32(24, sums.s0);
  view.setUint32(28, sums.s1);
  return bytes;
}

function magicOf(order: ByteOrder): number {
  return order === "little-endian" ? magicLittleEndian : magicBigEndian;
}

/** The byte order in which the stored sums fit; undefined if they fit in neither. */
function orderOfSums(view: DataView): ByteOrder | undefined {
  const stored: WalSums = { s0: view.getUint32(24), s1: view.getUint32(28) };
  for (const order of ["little-endian", "big-endian"] as const) {
    const sums: WalSums = { s0: 0, s1: 0 };
    addToSums(sums, view, 0, summedBytes, order);
    if (sumsEqual(sums, stored)) return order;
  }
  return undefined;
}
