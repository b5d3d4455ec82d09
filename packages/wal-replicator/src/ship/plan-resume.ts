import type { Txid } from "../ltx/txid.ts";
import { type Salt, saltsEqual } from "../sqlite/salt.ts";
import type { WalPosition } from "../sqlite/wal-reader.ts";
import type { WalGeneration } from "./spool-state.ts";

/**
 * How the stream goes on after a restart (wal-capture.md 8), decided from both sides' positions before anything is written.
 * In doubt, pages are compared; a chain is never continued on a guess, and the past is never shipped as something new.
 */
export interface ResumeInput {
  /** What the spool knows of this timeline; undefined: nothing was captured on it from here. */
  readonly local:
    | {
        readonly txid: Txid;
        readonly pageSize: number;
        readonly walPosition: WalPosition | undefined;
        readonly generations: readonly WalGeneration[];
      }
    | undefined;
  /** The highest TXID of the timeline in the store, over all levels; undefined: it is empty. */
  readonly remoteTxid: Txid | undefined;
  readonly pageSize: number;
  /** Salts of the WAL that is there now; undefined: no WAL, or none with a valid header. */
  readonly walSalt: Salt | undefined;
  /** Frames of it that are committed by the wal-index. After a RESTART it is 0, and the file still shows the old generation. */
  readonly committedFrames: number;
  /** What lies at the saved position, if the WAL is still of its generation. */
  readonly lastFrame: "match" | "short" | "mismatch" | "no-frame" | undefined;
}

export type ResumePlan =
  | { readonly action: "continue"; readonly from: WalPosition; readonly why: string }
  | { readonly action: "compare"; readonly why: string }
  | { readonly action: "snapshot"; readonly why: string }
  /** The store has what the local database lacks. Restore first. */
  | { readonly action: "behind"; readonly why: string };

export function planResume(input: ResumeInput): ResumePlan {
  const { local } = input;
  if (local === undefined) {
    return input.remoteTxid === undefined
      ? { action: "snapshot", why: "nothing was captured on this timeline yet" }
      : {
          action: "behind",
          why: "the store has this timeline, and nothing here says where we stand in it",
        };
  }
  if (input.remoteTxid !== undefined && input.remoteTxid > local.txid) {
    return {
      action: "behind",
      why: `the store is at TXID ${input.remoteTxid}, the spool at ${local.txid}`,
    };
  }
  if (input.pageSize !== local.pageSize) {
    return { action: "snapshot", why: "the page size has changed" };
  }
  const { walPosition } = local;
  if (walPosition === undefined) {
    return { action: "compare", why: "no WAL position was saved" };
  }
  if (input.walSalt === undefined) {
    return { action: "compare", why: "the WAL was removed or emptied meanwhile" };
  }
  if (saltsEqual(input.walSalt, walPosition.salt)) {
    if (input.lastFrame === "short") {
      return {
        action: "behind",
        why: "the WAL ends before the saved position, as after a power cut",
      };
    }
    if (input.committedFrames < walPosition.frameCount) {
      // What was committed behind the position is in the database file alone.
      return {
        action: "compare",
        why: "the WAL was restarted meanwhile, and nothing was written since",
      };
    }
    if (input.lastFrame === "match" || input.lastFrame === "no-frame") {
      return { action: "continue", from: walPosition, why: "the WAL stands where it was left" };
    }
    return { action: "compare", why: "another frame lies at the saved position" };
  }
  const salt = input.walSalt;
  if (local.generations.some((generation) => saltsEqual(generation.salt, salt))) {
    return { action: "behind", why: "the WAL is of an earlier generation, as in an old copy" };
  }
  return { action: "compare", why: "the WAL was restarted meanwhile" };
}

/** What a page comparison found: the checksum of the database as it is now, against what is known. */
export function judgeComparison(
  now: string,
  saved: { readonly rollingChecksum: string; readonly generations: readonly WalGeneration[] },
): "same" | "behind" | "changed" {
  if (now === saved.rollingChecksum) return "same";
  return saved.generations.some((generation) => generation.rollingChecksum === now)
    ? "behind"
    : "changed";
}
