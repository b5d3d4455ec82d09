import { FormatError, invariant } from "../errors.ts";
import { type Txid, toTxid } from "./txid.ts";

/**
 * Header, 100 bytes, big-endian (ltx: ltx.go:283). Part of the file's checksum as stored, so it is final before the first page.
 *
 * | Offset | Size | Field | |
 * |---|---|---|---|
 * | 0 | 4 | magic | "LTX1" |
 * | 4 | 4 | flags | bit 1: NoChecksum, always set by us; every other bit is invalid |
 * | 8 | 4 | pageSize | power of two, 512 … 65536, as is |
 * | 12 | 4 | commit | database size in pages after this file; never 0 |
 * | 16 | 8 | minTXID | from 1 |
 * | 24 | 8 | maxTXID | from minTXID |
 * | 32 | 8 | timestamp | signed, milliseconds since the Unix epoch |
 * | 40 | 8 | preApplyChecksum | 0 with NoChecksum and in snapshots |
 * | 48 | 8 | walOffset | signed, not negative |
 * | 56 | 8 | walSize | signed, not negative; 0 if walOffset is 0 |
 * | 64 | 4 | walSalt1 | 0 if walOffset is 0, walSalt2 too |
 * | 68 | 4 | walSalt2 | |
 * | 72 | 8 | nodeID | 0 |
 * | 80 | 20 | reserved | zero when written, not checked when read |
 */
export const headerBytes = 100;

/** The smallest complete file: no pages, an empty index. */
export const fileBytesMin = 131;

/** What a writer says. The rest of the header is the same in every file of ours. */
export interface LtxHeaderFields {
  readonly pageSize: number;
  /** Database size in pages after this file: the commit frame's value, not the number of pages in the file. */
  readonly commit: number;
  readonly minTxid: Txid;
  readonly maxTxid: Txid;
  /** Milliseconds since the Unix epoch; a safe integer. */
  readonly timestampMs: number;
  /** The WAL fields steer a stock `replicate` that takes over (replica-layout.md 6). All 0 unless given. */
  readonly walOffset?: number;
  readonly walSize?: number;
  readonly walSalt1?: number;
  readonly walSalt2?: number;
}

/** A header as read. */
export interface LtxHeader extends Required<LtxHeaderFields> {
  /** Whether the file carries rolling checksums of the database (flag NoChecksum not set). Ours never do. */
  readonly hasChecksums: boolean;
  readonly preApplyChecksum: bigint;
  readonly nodeId: bigint;
}

const magic = 0x4c545831;
const noChecksumFlag = 2;
const topBit = 1n << 63n;

/** A snapshot holds every page of the database, and a restore can begin with it. */
export function isSnapshot(header: { readonly minTxid: Txid }): boolean {
  return header.minTxid === 1n;
}

/** @returns the header's 100 bytes. @throws {InvariantError} if a field breaks a law of the format. */
export function encodeHeader(header: LtxHeaderFields): Uint8Array {
  const { pageSize, commit, minTxid, maxTxid, timestampMs } = header;
  const { walOffset = 0, walSize = 0, walSalt1 = 0, walSalt2 = 0 } = header;
  invariant(isPageSize(pageSize), `page size ${pageSize}`);
  invariant(isU32(commit) && commit > 0, `commit ${commit}`);
  invariant(toTxid(minTxid) <= toTxid(maxTxid), `TXIDs ${minTxid} to ${maxTxid}`);
  invariant(Number.isSafeInteger(timestampMs), `timestamp ${timestampMs}`);
  invariant(
    isSafeUnsigned(walOffset) && isSafeUnsigned(walSize),
    `WAL position ${walOffset}, ${walSize}`,
  );
  invariant(isU32(walSalt1) && isU32(walSalt2), "WAL salts are u32");
  invariant(
    walOffset > 0 || (walSize === 0 && walSalt1 === 0 && walSalt2 === 0),
    "WAL fields without walOffset",
  );
  const bytes = new Uint8Array(headerBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic);
  view.setUint32(4, noChecksumFlag);
  view.setUint32(8, pageSize);
  view.setUint32(12, commit);
  view.setBigUint64(16, minTxid);
  view.setBigUint64(24, maxTxid);
  view.setBigInt64(32, BigInt(timestampMs));
  view.setBigInt64(48, BigInt(walOffset));
  view.setBigInt64(56, BigInt(walSize));
  view.setUint32(64, walSalt1);
  view.setUint32(68, walSalt2);
  return bytes;
}

/**
 * @param bytes - exactly the first 100 bytes of a file.
 * @throws {FormatError} `LTX_TRUNCATED` if they do not begin with the magic, `LTX_BAD_HEADER`
 */
export function decodeHeader(bytes: Uint8Array): LtxHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, headerBytes);
  if (view.getUint32(0) !== magic) {
    throw new FormatError("LTX_TRUNCATED", "not an LTX file: it does not begin with LTX1", {
      offset: 0,
    });
  }
  const flags = view.getUint32(4);
  if (flags !== 0 && flags !== noChecksumFlag) throw bad(4, `flags ${flags}`);
  const hasChecksums = flags === 0;
  const pageSize = view.getUint32(8);
  if (!isPageSize(pageSize)) throw bad(8, `page size ${pageSize}`);
  const commit = view.getUint32(12);
  if (commit === 0) throw bad(12, "commit 0");
  const minTxid = readTxid(view, 16);
  const maxTxid = readTxid(view, 24);
  if (minTxid > maxTxid) throw bad(24, `TXIDs ${minTxid} to ${maxTxid}`);
  const timestampMs = readSafe(view, 32, "timestamp");
  const preApplyChecksum = view.getBigUint64(40);
  const wantsChecksum = hasChecksums && minTxid !== 1n;
  if (wantsChecksum ? preApplyChecksum < topBit : preApplyChecksum !== 0n) {
    throw bad(40, "the pre-apply checksum does not fit the flags");
  }
  const walOffset = readSafe(view, 48, "walOffset");
  const walSize = readSafe(view, 56, "walSize");
  const walSalt1 = view.getUint32(64);
  const walSalt2 = view.getUint32(68);
  if (walOffset < 0 || walSize < 0) throw bad(48, "a negative WAL position");
  if (walOffset === 0 && (walSize !== 0 || walSalt1 !== 0 || walSalt2 !== 0)) {
    throw bad(48, "WAL fields without walOffset");
  }
  return {
    pageSize,
    commit,
    minTxid,
    maxTxid,
    timestampMs,
    walOffset,
    walSize,
    walSalt1,
    walSalt2,
    hasChecksums,
    preApplyChecksum,
    nodeId: view.getBigUint64(72),
  };
}

function readTxid(view: DataView, offset: number): Txid {
  const value = view.getBigUint64(offset);
  if (value < 1n || value > BigInt(Number.MAX_SAFE_INTEGER)) throw bad(offset, `TXID ${value}`);
  return toTxid(value);
}

function readSafe(view: DataView, offset: number, field: string): number {
  const value = Number(view.getBigInt64(offset));
  if (!Number.isSafeInteger(value)) throw bad(offset, `${field} out of range`);
  return value;
}

function bad(offset: number, what: string): FormatError {
  return new FormatError("LTX_BAD_HEADER", `bad header: ${what}`, { offset });
}

function isPageSize(value: number): boolean {
  return value >= 512 && value <= 65536 && (value & (value - 1)) === 0;
}

function isU32(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0xffffffff;
}

function isSafeUnsigned(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
