import { type ConfirmedPosition, parseTxid } from "wal-replicator";
import { readStatusFile } from "../daemon/status-file.ts";

/** What the daemon of this database has heard from the store: it must be there. To be asked before the store is looked at. */
export function confirmedHere(database: string): ConfirmedPosition[] {
  const { timeline, storedTxid } = readStatusFile(database) ?? {};
  const txid = typeof storedTxid === "string" ? parseTxid(storedTxid) : undefined;
  return typeof timeline !== "string" || txid === undefined ? [] : [{ timeline, txid }];
}
