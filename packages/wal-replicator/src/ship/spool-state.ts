import { formatTxid, parseTxid, type Txid } from "../ltx/txid.ts";
import { formatSalt, parseSalt, type Salt } from "../sqlite/salt.ts";

/**
 * The spool's `state.json`: what must be known after a restart and is not in the names of the LTX files.
 *
 * It is written rarely (when a timeline is entered, after each restart of the WAL, at the end), always complete and by rename.
 * A state that cannot be read counts as no state: then the next capture is a full snapshot on a new timeline.
 */
export interface SpoolState {
  readonly version: 1;
  /** The timeline that this directory's files belong to. */
  readonly timeline: string;
  /** The position when this was written; files in the spool may be newer. Undefined: nothing was captured on this timeline. */
  readonly position: SpoolPosition | undefined;
  /** The newest TXID that the store had confirmed when this was written. */
  readonly storedTxid: Txid | undefined;
  /** How `position` came to be here, if not by capturing: it was restored from the store. */
  readonly restored: boolean;
  /**
   * Where the newest WAL generations began, newest last, at most `generationCountMax`: the salts of an earlier one, or the
   * database's checksum of then, show that a power cut or an old copy took what came later.
   */
  readonly generations: readonly WalGeneration[];
}

export interface SpoolPosition {
  readonly txid: Txid;
  readonly pageSize: number;
  /** Size of the database in pages. */
  readonly pageCount: number;
  /** 16 hex digits. */
  readonly rollingChecksum: string;
}

export interface WalGeneration {
  readonly salt: Salt;
  /** Rolling checksum of the database when the generation began: what the database file alone holds if the WAL is lost. */
  readonly rollingChecksum: string;
}

export const generationCountMax = 16;

export function encodeSpoolState(state: SpoolState): string {
  return `${JSON.stringify(
    {
      version: state.version,
      timeline: state.timeline,
      position: state.position && { ...state.position, txid: formatTxid(state.position.txid) },
      storedTxid: state.storedTxid && formatTxid(state.storedTxid),
      restored: state.restored,
      generations: state.generations.map(({ salt, rollingChecksum }) => ({
        salt: formatSalt(salt),
        rollingChecksum,
      })),
    },
    undefined,
    1,
  )}\n`;
}

/** @returns undefined for anything that is not exactly such a state. */
export function decodeSpoolState(text: string): SpoolState | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined; // torn or foreign: no state
  }
  if (!isRecord(value) || value["version"] !== 1) return undefined;
  const { timeline, restored } = value;
  if (typeof timeline !== "string" || !/^[0-9a-z-]{1,64}$/.test(timeline)) return undefined;
  if (typeof restored !== "boolean") return undefined;
  const position = decodePosition(value["position"]);
  if (position === "malformed") return undefined;
  const storedTxid = decodeOptionalTxid(value["storedTxid"]);
  if (storedTxid === "malformed") return undefined;
  const generations = decodeGenerations(value["generations"]);
  if (generations === undefined) return undefined;
  return { version: 1, timeline, position, storedTxid, restored, generations };
}

function decodePosition(value: unknown): SpoolPosition | undefined | "malformed" {
  if (value === undefined || value === null) return undefined;
  if (!isRecord(value)) return "malformed";
  const txid = typeof value["txid"] === "string" ? parseTxid(value["txid"]) : undefined;
  const { pageSize, pageCount, rollingChecksum } = value;
  if (txid === undefined || !isU32(pageSize) || !isU32(pageCount) || !isChecksum(rollingChecksum)) {
    return "malformed";
  }
  return { txid, pageSize, pageCount, rollingChecksum };
}

function decodeOptionalTxid(value: unknown): Txid | undefined | "malformed" {
  if (value === undefined || value === null) return undefined;
  return (typeof value === "string" ? parseTxid(value) : undefined) ?? "malformed";
}

function decodeGenerations(value: unknown): WalGeneration[] | undefined {
  if (!Array.isArray(value) || value.length > generationCountMax) return undefined;
  const generations: WalGeneration[] = [];
  for (const entry of value as unknown[]) {
    if (!isRecord(entry)) return undefined;
    const salt = typeof entry["salt"] === "string" ? parseSalt(entry["salt"]) : undefined;
    const { rollingChecksum } = entry;
    if (salt === undefined || !isChecksum(rollingChecksum)) return undefined;
    generations.push({ salt, rollingChecksum });
  }
  return generations;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isU32(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 0xffffffff;
}

export function isChecksum(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{16}$/.test(value);
}
