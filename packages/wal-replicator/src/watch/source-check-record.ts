import { join } from "node:path";
import { readIfExists, writeWhole } from "../durable-file.ts";
import { formatTxid, parseTxid } from "../ltx/txid.ts";
import type { TimelinePosition } from "../replica/epoch-record.ts";

/** What `integrity_check` of the application's own database has found. Times are milliseconds since the Unix epoch. */
export interface SourceCheckStatus {
  readonly checkedAtMs: number;
  readonly durationMs: number;
  /** SQLite's first complaints; undefined: the database is sound. */
  readonly complaint: string | undefined;
  /** The newest position at which it was sound: recovery points up to there are good, those behind it may not be. */
  readonly lastSound: (TimelinePosition & { readonly atMs: number }) | undefined;
}

const name = "source-check.json";

/** Durable when it resolves. */
export async function writeSourceCheck(
  directory: string,
  status: SourceCheckStatus,
): Promise<void> {
  const { lastSound } = status;
  const text = JSON.stringify({
    ...status,
    lastSound: lastSound && { ...lastSound, txid: formatTxid(lastSound.txid) },
  });
  await writeWhole(join(directory, name), [`${text}\n`]);
}

/** @returns undefined if there is none, or none that can be understood: then the database is checked anew, soon. */
export async function readSourceCheck(directory: string): Promise<SourceCheckStatus | undefined> {
  const bytes = await readIfExists(join(directory, name));
  if (bytes === undefined) return undefined;
  let read: unknown;
  try {
    read = JSON.parse(bytes.toString());
  } catch {
    return undefined; // torn, or somebody else's
  }
  const { checkedAtMs, durationMs, complaint, lastSound } = (read ?? {}) as Record<string, unknown>;
  if (typeof checkedAtMs !== "number" || typeof durationMs !== "number") return undefined;
  return {
    checkedAtMs,
    durationMs,
    complaint: typeof complaint === "string" ? complaint : undefined,
    lastSound: readSound(lastSound),
  };
}

function readSound(value: unknown): SourceCheckStatus["lastSound"] {
  const { timeline, txid, atMs } = (value ?? {}) as Record<string, unknown>;
  const parsed = typeof txid === "string" ? parseTxid(txid) : undefined;
  if (typeof timeline !== "string" || typeof atMs !== "number" || parsed === undefined) {
    return undefined;
  }
  return { timeline, txid: parsed, atMs };
}
