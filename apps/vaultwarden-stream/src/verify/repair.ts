import { setTimeout as sleep } from "node:timers/promises";
import { type RepairResult, repairBlobs, type SyncRoot } from "@vaultwarden-stream/file-sync";
import type { ObjectStore } from "@vaultwarden-stream/object-store";
import type { ReplicaVerification } from "wal-replicator";
import { formatCount } from "wal-replicator/command-line";
import { isRunning } from "../daemon/process-identity.ts";
import {
  type RepairAnswer,
  repairLookMs,
  requestRepair,
  takeAnswer,
} from "../daemon/repair-request.ts";
import { readStatusFile } from "../daemon/status-file.ts";
import type { FilesVerification } from "./files-verification.ts";

/** What could be done about what was found. */
export interface RepairPlan {
  /** Contents that may be stored again from the files here. */
  readonly blobs: Parameters<typeof repairBlobs>[0]["blobs"];
  /** Files of the database are bad: a new snapshot makes the newest state safe again. */
  readonly needsSnapshot: boolean;
}

export interface Repair {
  readonly blobs: RepairResult;
  /** Null: none was needed. */
  readonly snapshot: RepairAnswer | { readonly txid: null; readonly message: string } | null;
}

/**
 * What can be repaired from here: contents whose file is still here with the same bytes, and the newest state of the database, by a full copy of it
 * from the daemon that runs here. Moments that are lost stay lost; so do records of epochs, manifests and proofs. A lease and the pointer are
 * written again by themselves. Pure.
 */
export function planRepair(database: ReplicaVerification, files: FilesVerification): RepairPlan {
  return {
    blobs: files.bad
      .filter(({ path }) => path !== null)
      .map(({ object, paths, size }) => ({ sha256: object, size: size ?? 0, paths })),
    needsSnapshot: database.problems.some(
      ({ kind, minTxid, maxTxid }) =>
        kind === "not-restored" || minTxid !== null || maxTxid !== null,
    ),
  };
}

/** As a question; undefined: nothing can be done. */
export function describeRepairPlan({ blobs, needsSnapshot }: RepairPlan): string | undefined {
  const parts = [
    ...(blobs.length === 0
      ? []
      : [`store ${formatCount(blobs.length, "content")} again from the files here`]),
    ...(needsSnapshot ? ["have the daemon here store a new copy of the whole database"] : []),
  ];
  if (parts.length === 0) return undefined;
  const text = parts.join(", and ");
  return `${text[0]?.toUpperCase()}${text.slice(1)}? Nothing that is good is replaced.`;
}

/** @throws errors of the store as they are. */
export async function repair(
  plan: RepairPlan,
  options: {
    readonly store: ObjectStore;
    readonly roots: readonly SyncRoot[];
    readonly database: string;
    readonly signal: AbortSignal;
  },
): Promise<Repair> {
  const { store, roots, database, signal } = options;
  const blobs = await repairBlobs({ store, roots, blobs: plan.blobs, signal });
  return { blobs, snapshot: plan.needsSnapshot ? await askDaemon(database, signal) : null };
}

async function askDaemon(database: string, signal: AbortSignal): Promise<Repair["snapshot"]> {
  const lives = (): boolean => {
    const status = readStatusFile(database);
    return status !== undefined && isRunning(status.daemon);
  };
  if (!lives()) {
    const message = `no daemon runs on ${database}: start it, and run this again beside it`;
    return { txid: null, message };
  }
  const id = await requestRepair(database);
  for (;;) {
    const answer = takeAnswer(database, id);
    if (answer !== undefined) return answer;
    if (!lives()) return { txid: null, message: "the daemon has ended before it answered" };
    await sleep(repairLookMs / 4, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

export function describeRepair({ blobs, snapshot }: Repair): string[] {
  return [
    ...blobs.repaired.map(({ path }) => `repaired ${path}: it is stored again`),
    ...blobs.left.map(({ sha256, why }) => `not repaired ${sha256}: ${why}`),
    ...(snapshot === null
      ? []
      : [
          snapshot.txid === null
            ? `not repaired: there is no new copy of the database: ${snapshot.message}`
            : `repaired the newest state of the database: a whole copy of TXID ${snapshot.txid} is stored; ${snapshot.message}. What was lost before it stays lost`,
        ]),
  ];
}
