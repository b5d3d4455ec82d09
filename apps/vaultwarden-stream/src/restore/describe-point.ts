import { formatTxid, type Txid } from "wal-replicator";

/** For people: `the database at 2026-11-24T21:54:21.123Z (TXID 000000000000001f)`. */
export function describePoint(at: Date, txid: Txid): string {
  return `the database at ${at.toISOString()} (TXID ${formatTxid(txid)})`;
}
