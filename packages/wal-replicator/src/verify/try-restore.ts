import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ReplicaRoot } from "../replica/replica.ts";
import { ReplicaError } from "../replica/replica-error.ts";
import { type RestoreProgress, restoreDatabase } from "../restore/restore.ts";
import type { TrialRestore, VerifyProblem } from "./verification.ts";

/**
 * Restores the newest state into a directory of its own, with all that a restore proves, and removes it again.
 *
 * @throws errors of the store as they are: they say nothing about the replica.
 */
export async function tryRestore(
  root: ReplicaRoot,
  head: string,
  options: {
    readonly temporaryDirectory: string | undefined;
    readonly onProgress: (progress: RestoreProgress) => void;
    readonly signal: AbortSignal | undefined;
  },
): Promise<{ readonly trial: TrialRestore; readonly problems: readonly VerifyProblem[] }> {
  const { temporaryDirectory = tmpdir(), onProgress, signal } = options;
  let directory: string;
  try {
    directory = await mkdtemp(join(temporaryDirectory, "verify-"));
  } catch (error) {
    return { trial: inconclusive(error), problems: [] };
  }
  try {
    const restored = await restoreDatabase({
      root,
      path: join(directory, "restored.db"),
      onProgress,
      ...(signal === undefined ? {} : { signal }),
    });
    const { timeline, txid, timestamp, pageCount, pageSize } = restored;
    const { rollingChecksum, isRollingChecksumProved } = restored;
    const state = { timeline, txid, at: timestamp, bytes: pageCount * pageSize };
    const trial = {
      outcome: "proved",
      ...state,
      rollingChecksum,
      isRollingChecksumProved,
    } as const;
    return { trial, problems: [] };
  } catch (error) {
    if (!(error instanceof ReplicaError)) throw error;
    const { code, message, timeline, key, level, txid } = error;
    if (code === "TARGET_UNWRITABLE") {
      return { trial: inconclusive(error.cause), problems: [] };
    }
    const problem: VerifyProblem = {
      kind: "not-restored",
      timeline: timeline ?? head,
      key: key ?? null,
      level: level ?? null,
      minTxid: null,
      maxTxid: txid ?? null,
      message: `the newest state cannot be restored: ${message}`,
      costs: [],
      note: null,
    };
    return { trial: { outcome: "failed", message }, problems: [problem] };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function inconclusive(error: unknown): TrialRestore {
  const reason = error instanceof Error ? error.message : String(error);
  return { outcome: "inconclusive", message: `there is no place for it: ${reason}` };
}
