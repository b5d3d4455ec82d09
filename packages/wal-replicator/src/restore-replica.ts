import { existsSync } from "node:fs";
import { rename } from "node:fs/promises";
import type { RetryNotice, StoreLocation } from "@vaultwarden-stream/object-store";
import type { Txid } from "./ltx/txid.ts";
import { openReplicaRoot } from "./open-replica-root.ts";
import { orSayOlder } from "./replica/older-replica.ts";
import { type RestoreProgress, type RestoreResult, restoreDatabase } from "./restore/restore.ts";
import { Spool, spoolDirectory } from "./ship/spool.ts";
import { noteNonces, readNonces } from "./ship/spool-nonces.ts";

export interface RestoreReplicaOptions {
  /** URL or path of the replica. A replica that stock Litestream wrote is restored too. */
  readonly replica: StoreLocation;
  /** Path of the database to make. */
  readonly target: string;
  /** The newest state before this time, along the head's lineage. Default: the newest. */
  readonly before?: Date;
  /** Exactly this state. */
  readonly txid?: Txid;
  /** This timeline instead of the head. */
  readonly timeline?: string;
  /** Replace what is at `target`. Nobody may have it open. Default: refuse. */
  readonly overwrite?: boolean;
  /** Run `integrity_check` in a process of its own, at low priority: for a host that other work must not wait in. Default: false. */
  readonly checksApart?: boolean;
  /** Prefix of the timelines below the replica's URL: "" (default), or for example "db/". */
  readonly timelinesUnder?: string;
  readonly onProgress?: (progress: RestoreProgress) => void;
  /** Called before a failed request is sent again. */
  readonly onRetry?: (notice: RetryNotice) => void;
  readonly signal?: AbortSignal;
}

/**
 * Restores a database, verified, and leaves beside it what a stream needs to go on from there: if this position is where its
 * timeline was released, the next stream continues the timeline; else it begins a new one that branches from here.
 *
 * What an earlier stream of the same target had captured and not shipped yet is kept aside, never deleted.
 *
 * @throws {ReplicationError} `SPOOL_IN_USE` if a stream of the target runs. @throws {ReplicaError} `REPLICA_UNSUPPORTED`, and
 *   as `restoreDatabase` does.
 */
export async function restore(options: RestoreReplicaOptions): Promise<RestoreResult> {
  const { replica, timelinesUnder = "", target, onRetry, ...rest } = options;
  const root = openReplicaRoot(replica, {
    timelinesUnder,
    ...(onRetry === undefined ? {} : { onRetry }),
  });
  const request = rest.signal === undefined ? {} : { signal: rest.signal };
  const directory = spoolDirectory(target);
  const before = existsSync(directory) ? await Spool.open(directory) : undefined;
  try {
    const nonces = before === undefined ? [] : await readNonces(before);
    const result = await orSayOlder(root, request, () =>
      restoreDatabase({
        ...rest,
        root,
        path: target,
        // The old position must not outlive the old database: a stream would take the restored one for its continuation.
        beforePublish: async () => before?.forget(),
      }),
    );
    if (before?.hasUnshipped === true) {
      await rename(directory, `${directory}.aside-${new Date().toISOString().replaceAll(":", "")}`);
    }
    before?.close();
    const isEarlier = (rest.before ?? rest.txid ?? rest.timeline) !== undefined;
    await savePosition(directory, result, isEarlier, nonces);
    return result;
  } finally {
    before?.close();
  }
}

/** A stock replica has no timeline that a stream of ours could continue or branch from. */
async function savePosition(
  directory: string,
  result: RestoreResult,
  isEarlier: boolean,
  nonces: readonly string[],
): Promise<void> {
  if (result.timeline === "") return;
  const spool = await Spool.open(directory);
  try {
    await spool.saveState({
      version: 1,
      timeline: result.timeline,
      position: {
        txid: result.txid,
        pageSize: result.pageSize,
        pageCount: result.pageCount,
        rollingChecksum: result.rollingChecksum,
      },
      storedTxid: result.txid,
      // Only where a moment was asked for: whoever takes the newest state and finds that the store went on meanwhile is behind.
      restored: isEarlier,
      generations: [],
    });
    await spool.savePageChecksums(result.txid, result.pageChecksums);
    // The epochs that were taken from here are ours after the restore too: without them we would wait for our own lease.
    if (nonces.length > 0) await noteNonces(spool, nonces);
  } finally {
    spool.close();
  }
}
