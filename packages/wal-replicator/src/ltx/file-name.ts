import { formatTxid, parseTxid, type Txid } from "./txid.ts";

/**
 * `<min>-<max>.ltx`, both TXIDs as 16 lower-case hex digits (litestream: ltx.go `FormatFilename`). Names sort by (min, max).
 * Names in listings are foreign text: no local path is ever built from any other part of a key.
 */
export interface TxidRange {
  readonly minTxid: Txid;
  readonly maxTxid: Txid;
}

export function formatFileName(range: TxidRange): string {
  return `${formatTxid(range.minTxid)}-${formatTxid(range.maxTxid)}.ltx`;
}

/** @returns undefined for anything that is not exactly the name of an LTX file: wrong form, no TXIDs, or min beyond max. */
export function parseFileName(name: string): TxidRange | undefined {
  const match = /^([0-9a-f]{16})-([0-9a-f]{16})\.ltx$/.exec(name);
  if (match === null) return undefined;
  const minTxid = parseTxid(match[1] as string);
  const maxTxid = parseTxid(match[2] as string);
  if (minTxid === undefined || maxTxid === undefined || minTxid > maxTxid) return undefined;
  return { minTxid, maxTxid };
}
