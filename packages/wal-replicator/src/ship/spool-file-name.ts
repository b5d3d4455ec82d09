import { formatTxid, parseTxid, type Txid } from "../ltx/txid.ts";
import { formatWalPosition, parseWalPosition, type WalPosition } from "../sqlite/wal-reader.ts";
import { isChecksum } from "./spool-state.ts";

/**
 * The name of an LTX file in the spool carries what the file itself cannot: where in the WAL it ends, and what the whole
 * database looks like after it. So one rename makes file and position durable together, and no crash can part them.
 *
 * `<min>-<max>[+<merged through>].<page size, 5 hex>.<pages, 8 hex>.<rolling checksum, 16 hex>.<WAL position, 40 hex, or "none">.<waiting|stored>`
 */
export interface SpoolFileName {
  readonly minTxid: Txid;
  readonly maxTxid: Txid;
  /**
   * Only between two steps of a merge: this file replaces those of the TXIDs from `maxTxid` to here. Whichever of them are still there
   * are to be removed, then this part of the name.
   */
  readonly mergedThrough?: Txid;
  readonly pageSize: number;
  /** Size of the database after it, in pages. */
  readonly pageCount: number;
  readonly rollingChecksum: string;
  /** Undefined: no frame of the WAL belongs to the state; the next generation begins at its first frame. */
  readonly walPosition: WalPosition | undefined;
  /** `stored` once the store has confirmed it. */
  readonly state: "waiting" | "stored";
}

const pattern =
  /^([0-9a-f]{16})-([0-9a-f]{16})(?:\+([0-9a-f]{16}))?\.([0-9a-f]{5})\.([0-9a-f]{8})\.([0-9a-f]{16})\.([0-9a-f]{40}|none)\.(waiting|stored)$/;

export function formatSpoolFileName(name: SpoolFileName): string {
  const { mergedThrough } = name;
  const merged = mergedThrough === undefined ? "" : `+${formatTxid(mergedThrough)}`;
  return [
    `${formatTxid(name.minTxid)}-${formatTxid(name.maxTxid)}${merged}`,
    name.pageSize.toString(16).padStart(5, "0"),
    name.pageCount.toString(16).padStart(8, "0"),
    name.rollingChecksum,
    name.walPosition === undefined ? "none" : formatWalPosition(name.walPosition),
    name.state,
  ].join(".");
}

/** @returns undefined for any other name: temporary files, files of somebody else. */
export function parseSpoolFileName(text: string): SpoolFileName | undefined {
  const match = pattern.exec(text);
  if (match === null) return undefined;
  const [, min, max, through, pageSize, pageCount, rollingChecksum, wal, state] =
    match as unknown as [
      string,
      string,
      string,
      string | undefined,
      string,
      string,
      string,
      string,
      "waiting" | "stored",
    ];
  const minTxid = parseTxid(min);
  const maxTxid = parseTxid(max);
  if (minTxid === undefined || maxTxid === undefined || minTxid > maxTxid) return undefined;
  const mergedThrough = through === undefined ? undefined : parseTxid(through);
  if (through !== undefined) {
    const isMerge = minTxid === maxTxid && state === "waiting";
    if (!isMerge || mergedThrough === undefined || mergedThrough <= maxTxid) return undefined;
  }
  const walPosition = wal === "none" ? undefined : parseWalPosition(wal);
  if (wal !== "none" && walPosition === undefined) return undefined;
  if (!isChecksum(rollingChecksum)) return undefined;
  return {
    minTxid,
    maxTxid,
    ...(mergedThrough === undefined ? {} : { mergedThrough }),
    pageSize: Number.parseInt(pageSize, 16),
    pageCount: Number.parseInt(pageCount, 16),
    rollingChecksum,
    walPosition,
    state,
  };
}
