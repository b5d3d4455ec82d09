import { readIfExists, writeWhole } from "../durable-file.ts";
import { ReplicationError } from "../errors.ts";
import { formatTxid, parseTxid, type Txid } from "../ltx/txid.ts";
import { isTimelineName } from "../replica/replica-layout.ts";
import { databaseHeaderBytes } from "../sqlite/database-header.ts";
import { isPageSize } from "../sqlite/page.ts";
import { toFollowedHeader } from "./copy-header.ts";

/** A state that the copy can be in. */
export interface CopyPosition {
  readonly timeline: string;
  readonly txid: Txid;
  /** Of its newest commit, in milliseconds since the Unix epoch. */
  readonly timestampMs: number;
  /** In bytes. */
  readonly pageSize: number;
  /** Size in pages. */
  readonly pageCount: number;
  /** Of the database as the replica has it, 16 hex digits. */
  readonly rollingChecksum: string;
  /** The first 100 bytes of page 1 as the replica has them. */
  readonly header: Uint8Array;
  /** What the copy's own header says instead, while it is followed. */
  readonly changeCounter: number;
}

/**
 * What `state.json` says: the copy is at `from`, or, if a transaction got as far as its commit, at `to`. Each transaction has a change
 * counter of its own, which the copy's header tells: which of the two it is needs no second write, and no guess.
 */
export interface CopyState {
  readonly from: CopyPosition;
  readonly to: CopyPosition | undefined;
}

/** Durable when it resolves. */
export async function writeCopyState(path: string, { from, to }: CopyState): Promise<void> {
  const entries = { version: 1, from: encode(from), to: to === undefined ? null : encode(to) };
  await writeWhole(path, [JSON.stringify(entries)]);
}

/** @returns undefined if there is none. @throws {ReplicationError} `COPY_CHANGED` if it cannot be read: nothing is guessed from it. */
export async function readCopyState(path: string): Promise<CopyState | undefined> {
  const bytes = await readIfExists(path);
  if (bytes === undefined) return undefined;
  try {
    const { version, from, to } = JSON.parse(bytes.toString()) as Record<string, unknown>;
    const decoded = { from: decode(from), to: to === null ? undefined : decode(to) };
    if (version === 1 && decoded.from !== undefined && (to === null || decoded.to !== undefined)) {
      return { from: decoded.from, to: decoded.to };
    }
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
  }
  throw new ReplicationError(
    "COPY_CHANGED",
    `${path}, which says where a followed copy stands, cannot be read`,
    "A later version may have written it: use that one. Else move the copy away, or have it overwritten.",
  );
}

export interface IdentifiedCopy {
  readonly position: CopyPosition;
  /** It has the replica's own header: nobody follows into it at present. */
  readonly isAtRest: boolean;
}

/** In which state a copy with this header is. @returns undefined if it is in none of them: somebody else wrote into the copy. */
export function identifyCopy(
  header: Uint8Array,
  { from, to }: CopyState,
): IdentifiedCopy | undefined {
  for (const position of to === undefined ? [from] : [from, to]) {
    const { header: own, pageCount, changeCounter } = position;
    const followed = toFollowedHeader(own, pageCount, changeCounter);
    if (Buffer.compare(header, followed) === 0) return { position, isAtRest: false };
  }
  if (Buffer.compare(header, from.header) === 0) return { position: from, isAtRest: true };
  return undefined;
}

function encode(position: CopyPosition): object {
  const { txid, header, ...rest } = position;
  return { ...rest, txid: formatTxid(txid), header: Buffer.from(header).toString("hex") };
}

function decode(value: unknown): CopyPosition | undefined {
  const entries = value as Record<string, unknown>;
  const { timeline, timestampMs, pageSize, pageCount, rollingChecksum, changeCounter } = entries;
  const txid = parseTxid(String(entries["txid"]));
  const header = Buffer.from(String(entries["header"]), "hex");
  const isValid =
    typeof timeline === "string" &&
    (timeline === "" || isTimelineName(timeline)) &&
    isCount(pageSize, 65_536) &&
    isPageSize(pageSize) &&
    isCount(pageCount, 0xffff_ffff) &&
    isCount(changeCounter, 0xffff_ffff) &&
    Number.isSafeInteger(timestampMs) &&
    typeof rollingChecksum === "string" &&
    /^[0-9a-f]{16}$/.test(rollingChecksum) &&
    header.length === databaseHeaderBytes;
  if (!isValid || txid === undefined) return undefined;
  return {
    timeline,
    txid,
    timestampMs: timestampMs as number,
    pageSize,
    pageCount,
    rollingChecksum,
    header: new Uint8Array(header),
    changeCounter,
  };
}

function isCount(value: unknown, max: number): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max;
}
