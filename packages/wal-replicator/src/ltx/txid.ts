/**
 * The transaction id of a replica: a counter of captures, from 1. One level-0 file carries one TXID, and with it every
 * SQLite transaction that was committed since the one before.
 */
declare const txidBrand: unique symbol;
/** 1 … 2^53 − 1, though the format has 64 bits: larger values are refused when read, so arithmetic stays exact everywhere. */
export type Txid = bigint & { readonly [txidBrand]: true };

const txidMax = 2n ** 53n - 1n;

/** @throws {RangeError} if the value is no TXID. */
export function toTxid(value: bigint | number): Txid {
  const txid = BigInt(value);
  if (txid < 1n || txid > txidMax) throw new RangeError(`not a TXID: ${txid}`);
  return txid as Txid;
}

export function nextTxid(txid: Txid | undefined): Txid {
  return toTxid((txid ?? 0n) + 1n);
}

/** 16 hex digits, lower case: the form of file names and of every output. */
export function formatTxid(txid: Txid): string {
  return txid.toString(16).padStart(16, "0");
}

/** Reads exactly 16 lower-case hex digits. @returns undefined for anything else, and for values that are no TXID. */
export function parseTxid(text: string): Txid | undefined {
  if (!/^[0-9a-f]{16}$/.test(text)) return undefined;
  const value = BigInt(`0x${text}`);
  return value >= 1n && value <= txidMax ? (value as Txid) : undefined;
}
