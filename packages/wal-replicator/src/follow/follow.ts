import { setTimeout as sleep } from "node:timers/promises";
import type { RetryNotice, StoreLocation } from "@vaultwarden-stream/object-store";
import type { Txid } from "../ltx/txid.ts";
import { openReplicaRoot } from "../open-replica-root.ts";
import type { RestoreProgress } from "../restore/restore.ts";
import type { FollowEvent } from "./follow-events.ts";
import { RunningFollower } from "./follower.ts";

export interface FollowOptions {
  /** URL or path of the replica. One that stock Litestream writes is followed too. */
  readonly replica: StoreLocation;
  /** Prefix of the timelines below the replica's URL: "" (default), or for example "db/". */
  readonly timelinesUnder?: string;
  /** Path of the copy. Beside it, `.<name>-follow/` holds what the follower needs to go on; a restore needs room for the database once more. */
  readonly output: string;
  /** Between two looks for something new, in milliseconds; each is one request. Default 1000. */
  readonly pollIntervalMs?: number;
  /** This timeline and no other. Default: the head, whoever writes it. */
  readonly timeline?: string;
  /** Replace what is at `output` if it is no copy that was followed before. Nobody may have it open. Default: refuse. */
  readonly overwrite?: boolean;
  /** Aborts the first restore. A running follower is ended with `stop()`. */
  readonly signal?: AbortSignal;
  /** Called for every event, in order. An error thrown in it is the host's own and ends the process. */
  readonly onEvent?: (event: FollowEvent) => void;
  /** Of whole restores. */
  readonly onProgress?: (progress: RestoreProgress) => void;
  /** Called before a failed request is sent again. */
  readonly onRetry?: (notice: RetryNotice) => void;
}

export interface FollowStatus {
  /** `opening`: there is no copy to read yet, or it is being looked at. `blocked`: readers hold the copy. `failing`: see `failure`. */
  readonly state: "opening" | "following" | "restoring" | "blocked" | "failing" | "stopped";
  /** Undefined: there is no copy yet. */
  readonly timeline: string | undefined;
  readonly txid: Txid | undefined;
  /** Of the newest commit in the copy. */
  readonly at: Date | undefined;
  /** For how long it has not been known that the copy is as new as the replica, in milliseconds. About the poll interval if all is well. */
  readonly lagMs: number;
  readonly failure: { readonly code: string; readonly message: string } | undefined;
}

export interface FollowEnd {
  readonly timeline: string;
  readonly txid: Txid;
  readonly at: Date;
  /** Of the whole database, 16 hex digits. */
  readonly rollingChecksum: string;
  /**
   * Whether the file is now, byte for byte, what a restore of this TXID gives. False if readers kept it for too long: then its header is
   * still that of a followed copy, in rollback-journal mode. It is sound in both cases.
   */
  readonly isVerbatim: boolean;
}

/** A copy that follows a replica. Whoever gets none from `done` or `stop` has no copy that is known to be sound. */
export interface Follower {
  status(): FollowStatus;

  /** Resolves when there is a copy that can be read; after that it only gets newer, or is restored anew. Rejects if there will be none. */
  readonly ready: Promise<void>;

  /** Resolves after `stop()`; rejects with the error that ended the follower by itself. */
  readonly done: Promise<FollowEnd | undefined>;

  /** Ends after the transaction that is under way, and leaves a copy that can be followed on. Idempotent. */
  stop(): Promise<FollowEnd | undefined>;
}

/**
 * Keeps a copy of a database as new as its replica: restores it if it is not there, then applies what arrives, in one transaction each. At any
 * moment the copy is a state that the database was in, for every reader with SQLite's ordinary locks and a busy timeout; a kill anywhere
 * changes nothing about that. Nothing else may write into it, and in this process nobody but connections of the same SQLite may open it.
 *
 * It goes over to the timeline of whoever takes over, from the TXID where that one branched off. What the copy has beyond it, and what cannot be
 * continued, is replaced by a whole restore, in one transaction too.
 *
 * A store that fails, a damaged file, a full disk, and readers that hold the copy are reported and waited for. `done` rejects with what needs
 * somebody: `COPY_CHANGED`, `COPY_IN_USE`; and before there is a copy, with whatever a restore rejects with.
 */
export function follow(options: FollowOptions): Follower {
  const { replica, timelinesUnder = "" } = options;
  let follower: RunningFollower | undefined;
  const onRetry = (notice: RetryNotice): void => {
    options.onRetry?.(notice);
    follower?.noteRetry(notice.error);
  };
  follower = new RunningFollower(options, {
    root: openReplicaRoot(replica, { timelinesUnder, onRetry }),
    now: Date.now,
    nowMs: () => performance.now(),
    sleep: async (ms, signal) => {
      await sleep(ms, undefined, { signal }).catch(() => {}); // aborted: the caller looks at its signal
    },
    at: () => {},
  });
  return follower;
}
