import type { Txid } from "./ltx/txid.ts";
import { openReplicaRoot } from "./open-replica-root.ts";
import { orSayOlder } from "./replica/older-replica.ts";
import { readRestorePlan } from "./restore/read-plan.ts";
import type { RestoreReplicaOptions } from "./restore-replica.ts";

export type PreviewRestoreOptions = Pick<
  RestoreReplicaOptions,
  "replica" | "timelinesUnder" | "before" | "txid" | "timeline" | "onRetry" | "signal"
>;

/** What a restore with the same options would bring back now. */
export interface RestorePreview {
  /** In which the position lies: the head or the named one, or an ancestor of it. */
  readonly timeline: string;
  readonly txid: Txid;
  /** When that state was captured. */
  readonly at: Date;
  readonly fileCount: number;
  /** To download. */
  readonly bytes: number;
}

/**
 * Plans a restore without carrying it out: reads no LTX file and writes nothing.
 *
 * @throws {ReplicaError} as `restore` does before it reads a file. Errors of the store pass unwrapped.
 */
export async function previewRestore(options: PreviewRestoreOptions): Promise<RestorePreview> {
  const { replica, before, txid, timeline, signal } = options;
  const root = openReplicaRoot(replica, options);
  const request = signal === undefined ? {} : { signal };
  const plan = await orSayOlder(root, request, () =>
    readRestorePlan(root, { before, txid, timeline }, request),
  );
  return {
    timeline: plan.timeline,
    txid: plan.txid,
    at: plan.createdAt,
    fileCount: plan.files.length,
    bytes: plan.files.reduce((bytes, { size }) => bytes + size, 0),
  };
}
