import type { Txid } from "../ltx/txid.ts";
import type { Spool } from "../ship/spool.ts";
import type { WalPosition } from "../sqlite/wal-reader.ts";
import type { LocalSide } from "./plan-start.ts";

/** The newest capture on a spool's timeline. */
export interface LocalPosition {
  readonly txid: Txid;
  /** In bytes. */
  readonly pageSize: number;
  /** Size of the database in pages. */
  readonly pageCount: number;
  /** Of the database at `txid`, 16 hex digits. */
  readonly rollingChecksum: string;
  /** Undefined after a restore, or if no frame of the WAL belongs to the state. */
  readonly walPosition: WalPosition | undefined;
}

/** From the spool's newest file, else from its state (after a restore, or once everything is stored). */
export function localPosition(spool: Spool): LocalPosition | undefined {
  const name = spool.files.at(-1)?.name;
  if (name !== undefined) return { ...name, txid: name.maxTxid };
  const position = spool.state?.position;
  return position && { ...position, walPosition: undefined };
}

/** What a start decides by. */
export function localSide(spool: Spool): LocalSide | undefined {
  const { state } = spool;
  if (state === undefined) return undefined;
  const position = localPosition(spool);
  return {
    timeline: state.timeline,
    txid: position?.txid,
    rollingChecksum: position?.rollingChecksum,
    storedTxid: spool.storedTxid,
    restored: state.restored,
  };
}

/** What is known here of the database at a TXID of the spool's timeline: 16 hex digits. */
export function localChecksumAt(spool: Spool, txid: Txid): string | undefined {
  const file = spool.files.find(({ name }) => name.maxTxid === txid);
  const position = spool.state?.position;
  return (
    file?.name.rollingChecksum ?? (position?.txid === txid ? position.rollingChecksum : undefined)
  );
}
