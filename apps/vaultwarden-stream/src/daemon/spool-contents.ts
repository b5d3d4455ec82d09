import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseTxid, spoolDirectory, type Txid } from "wal-replicator";
import { z } from "zod";

/** What the engine's spool beside a database says about where that database stands. Read only, and only before a stream runs. */
export interface SpoolContents {
  readonly timeline: string;
  /** The newest capture; undefined: none on this timeline. */
  readonly txid: Txid | undefined;
  /** The database was put there by a restore, and nothing was captured since. */
  readonly isRestored: boolean;
  /** Captured files that may not have reached the store: the mark of one that did is lost in a crash. */
  readonly waiting: readonly TxidRange[];
}

export interface TxidRange {
  readonly minTxid: Txid;
  readonly maxTxid: Txid;
}

interface SpoolState {
  readonly timeline: string;
  readonly restored: boolean;
  readonly position?: { readonly txid: string } | null | undefined;
}

const spoolState: z.ZodType<SpoolState> = z.object({
  timeline: z.string().regex(/^[0-9a-z-]{1,64}$/),
  restored: z.boolean(),
  position: z.object({ txid: z.string() }).nullish(),
});

/** @returns undefined if there is no spool, or none with a state: then nothing is known of the database. */
export function readSpoolContents(database: string): SpoolContents | undefined {
  const state = readState(join(spoolDirectory(database), "state.json"));
  if (state === undefined) return undefined;
  const { timeline } = state;
  const waiting: TxidRange[] = [];
  let txid = parseTxid(state.position?.txid ?? "");
  for (const name of entriesOf(join(spoolDirectory(database), timeline))) {
    const [, min = "", max = "", mark] =
      /^([0-9a-f]{16})-([0-9a-f]{16})\..*\.(waiting|stored)$/.exec(name) ?? [];
    const [minTxid, maxTxid] = [parseTxid(min), parseTxid(max)];
    if (minTxid === undefined || maxTxid === undefined) continue;
    if (mark === "waiting") waiting.push({ minTxid, maxTxid });
    if (txid === undefined || maxTxid > txid) txid = maxTxid;
  }
  return { timeline, txid, isRestored: state.restored, waiting };
}

function readState(path: string): SpoolState | undefined {
  try {
    return spoolState.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Torn or of another version counts as none for the engine too; what cannot be read at all is an error.
    if (code === "ENOENT" || error instanceof SyntaxError || error instanceof z.ZodError) {
      return undefined;
    }
    throw error;
  }
}

function entriesOf(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
