import { formatFileName, parseFileName } from "../ltx/file-name.ts";
import type { Txid } from "../ltx/txid.ts";

/**
 * Keys of a replica set, below the root's prefix (replica-layout.md 1, architecture.md 4):
 *
 * | Key | |
 * |---|---|
 * | `epochs/<8 digits>.json`, `….lease.json`, `….released.json` | who may write; is alive; released cleanly |
 * | `epochs/<8 digits>-<8 hex digits>.json`, … | the same where the store is not proved to give a number to one writer only |
 * | `<timelinesUnder><timeline>/ltx/<0 … 9>/<min>-<max>.ltx` | in a directory, as Litestream's file back end has it |
 * | `<timelinesUnder><timeline>/<0000 … 0009>/<min>-<max>.ltx` | elsewhere, as Litestream's S3 back end has it |
 *
 * Both forms are read everywhere, since objects are copied between stores. The unnamed timeline "" is a replica that stock
 * Litestream wrote directly below the prefix. Keys come from outside: what does not parse is skipped, and nothing but the parsed
 * parts is ever used to build another key or a path.
 */
export interface LtxKeyParts {
  /** 0 … 9. */
  readonly level: number;
  readonly minTxid: Txid;
  readonly maxTxid: Txid;
}

export type LevelSyntax = "directory" | "s3";

/** The highest level, where stock keeps snapshots. */
export const snapshotLevel = 9;

/** The part of a key behind its timeline's prefix. */
export function formatLtxKey(parts: LtxKeyParts, syntax: LevelSyntax): string {
  const level =
    syntax === "directory" ? `ltx/${parts.level}` : parts.level.toString(16).padStart(4, "0");
  return `${level}/${formatFileName(parts)}`;
}

const directoryKey = /^ltx\/([0-9])\/([^/]+)$/;
const s3Key = /^000([0-9])\/([^/]+)$/;

/** Reads the part of a key behind its timeline's prefix. @returns undefined for everything that is no LTX file of a level. */
export function parseLtxKey(
  text: string,
): (LtxKeyParts & { readonly syntax: LevelSyntax }) | undefined {
  const inDirectory = directoryKey.exec(text);
  const match = inDirectory ?? s3Key.exec(text);
  if (match === null) return undefined;
  const range = parseFileName(match[2] as string);
  if (range === undefined) return undefined;
  return {
    level: Number(match[1]),
    minTxid: range.minTxid,
    maxTxid: range.maxTxid,
    syntax: inDirectory === null ? "s3" : "directory",
  };
}

/** What a listing must begin with to hold all files of a timeline. The unnamed one shares its prefix with whatever lies beside it. */
export function timelinePrefix(timelinesUnder: string, timeline: string): string {
  return timeline === "" ? "" : `${timelinesUnder}${timeline}/`;
}

/** `<epoch, 8 digits>-<first 8 hex digits of its nonce>`: two epochs never share a name, whatever the store does. */
export function formatTimelineName(epoch: number, nonce: string): string {
  return `${formatEpochNumber(epoch)}-${nonce.slice(0, 8)}`;
}

export function isTimelineName(text: string): boolean {
  return parseTimelineName(text) !== undefined;
}

/** 1 … 99,999,999: one start a minute for 190 years. */
export const epochNumberMax = 99_999_999;

export type EpochObject = "record" | "lease" | "released";

/** Which epoch a key is of. */
export interface EpochKeyParts {
  /** 1 … 99,999,999. */
  readonly epoch: number;
  /** The first 8 hex digits of its nonce; undefined: the number alone is the key. */
  readonly nonce: string | undefined;
}

const epochSuffixes = { record: "", lease: ".lease", released: ".released" } as const;

export function formatEpochKey({ epoch, nonce }: EpochKeyParts, object: EpochObject): string {
  const name = nonce === undefined ? formatEpochNumber(epoch) : formatTimelineName(epoch, nonce);
  return `epochs/${name}${epochSuffixes[object]}.json`;
}

/** @returns undefined for everything else that may lie below `epochs/`. */
export function parseEpochKey(
  text: string,
): (EpochKeyParts & { readonly object: EpochObject }) | undefined {
  const match = /^epochs\/([0-9]{8})(?:-([0-9a-f]{8}))?(?:\.(lease|released))?\.json$/.exec(text);
  if (match === null) return undefined;
  const epoch = Number(match[1]);
  if (epoch < 1) return undefined;
  const object = match[3] === "lease" || match[3] === "released" ? match[3] : "record";
  return { epoch, nonce: match[2], object };
}

/** The epoch number and the nonce's beginning in a timeline's name. @returns undefined for what is no name. */
export function parseTimelineName(
  text: string,
): { readonly epoch: number; readonly nonce: string } | undefined {
  const match = /^([0-9]{8})-([0-9a-f]{8})$/.exec(text);
  return match === null ? undefined : { epoch: Number(match[1]), nonce: match[2] as string };
}

function formatEpochNumber(epoch: number): string {
  return String(epoch).padStart(8, "0");
}
