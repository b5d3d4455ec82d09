import type { ReplicationEvent } from "../events.ts";
import type {
  Position,
  ReplicateOptions,
  ReplicationStatus,
  StopOptions,
  StopResult,
} from "../replication.ts";
import type { TransferredError } from "./error-transfer.ts";

/**
 * What the host and its helper process say to each other, over the child's IPC channel with `serialization: "advanced"`,
 * which carries bigints. The first message to the helper is `start`; the helper answers it with `started` or `start-failed`.
 * Every request has an id of the host's, and exactly one answer, unless the helper dies first: then the host asks its successor again.
 */

/** The options of a stream that mean something in another process. */
export type HelperOptions = Omit<
  ReplicateOptions,
  "home" | "Database" | "store" | "onEvent" | "signal" | "helperPath"
>;

export type ToHelper =
  | { readonly type: "start"; readonly options: HelperOptions }
  | ({ readonly type: "request"; readonly id: number } & HelperRequest)
  /** The host no longer waits for this answer. */
  | { readonly type: "cancel"; readonly id: number };

export type HelperRequest =
  | { readonly verb: "flush" }
  | { readonly verb: "status" }
  | { readonly verb: "snapshot" }
  | { readonly verb: "stop"; readonly options: StopOptions };

export type HelperAnswer = Position | ReplicationStatus | StopResult;

export type FromHelper =
  | { readonly type: "started" }
  | { readonly type: "start-failed"; readonly error: TransferredError }
  | { readonly type: "event"; readonly event: ReplicationEvent }
  | { readonly type: "answer"; readonly id: number; readonly value: HelperAnswer }
  | { readonly type: "refusal"; readonly id: number; readonly error: TransferredError }
  /** The stream ended by itself, with the error that ended it. The helper exits. */
  | { readonly type: "failed"; readonly error: TransferredError };

/**
 * How long a helper whose host has died, or that was told to end by SIGTERM, tries to store the tail. What does not fit waits
 * in the spool. A host that starts again meanwhile waits that long for the spool.
 */
export const orphanTimeoutMs = 10_000;
