import type { TimelineRole } from "../list-replica.ts";
import type { Txid } from "../ltx/txid.ts";
import type { ChainSegment, LevelGap } from "./plan-chain.ts";
import type { InstantsLost } from "./plan-costs.ts";

export interface ReplicaVerification {
  /** URL of the store, without credentials. */
  readonly location: string;
  /** Nothing is damaged or lost, and the trial restore was proved, or was not asked for. */
  readonly isSound: boolean;
  readonly head: string | null;
  readonly timelines: readonly TimelineVerification[];
  readonly problems: readonly VerifyProblem[];
  readonly fileCount: number;
  readonly bytes: number;
  /** Read to their end. */
  readonly filesRead: number;
  readonly bytesRead: number;
  /** Where reading stopped because the time was over: the next run goes on from there with `startAt`. Null: it did not stop. */
  readonly stoppedAt: string | null;
  /** Null: none was asked for, or only branches have files. */
  readonly restore: TrialRestore | null;
}

export interface TimelineVerification {
  readonly timeline: string;
  readonly role: TimelineRole;
  readonly fileCount: number;
  readonly bytes: number;
  /** Ascending. */
  readonly segments: readonly ChainSegment[];
  /** Lacking in one level and present in another: no data is lost, and states in between are. */
  readonly thinned: readonly LevelGap[];
}

export interface VerifyProblem {
  /** `damaged`: an object is not what was written. `lost`: it is not there, or TXIDs are not. `not-restored`: the trial restore has failed. */
  readonly kind: "damaged" | "lost" | "not-restored";
  /** Null: nobody knows which, or it is about none. */
  readonly timeline: string | null;
  /** Of the bad object, or where the restore has failed. Null: what is missing has no name any more. */
  readonly key: string | null;
  readonly level: number | null;
  readonly minTxid: Txid | null;
  readonly maxTxid: Txid | null;
  readonly message: string;
  /** Empty: no instant. */
  readonly costs: readonly InstantsLost[];
  /** What it costs instead, or why it costs nothing; null where `costs` says it, or nobody knows. */
  readonly note: string | null;
}

export type TrialRestore =
  | {
      readonly outcome: "proved";
      readonly timeline: string;
      readonly txid: Txid;
      readonly at: Date;
      readonly bytes: number;
      readonly rollingChecksum: string;
      /** Whether the replica had one recorded, and it was the same. */
      readonly isRollingChecksumProved: boolean;
    }
  | { readonly outcome: "failed"; readonly message: string }
  /** Nothing was found out: this machine has no room for it, say. */
  | { readonly outcome: "inconclusive"; readonly message: string };
