/**
 * Named places between two durable steps, where a crash leaves the most interesting state. Tests kill the process there;
 * in production nothing listens.
 */
type CrashPoint =
  /** The epoch object exists; nothing local says so yet. */
  | "epoch-taken"
  /** The spool names the timeline; nothing is captured for it. */
  | "timeline-entered"
  /** Frames are read and encoded into a temporary file that nothing refers to. */
  | "captured-not-durable"
  /** The LTX file is complete and durable in the spool; memory does not know yet. */
  | "spooled"
  /** Waiting files are merged into a temporary file that nothing refers to. */
  | "merge-written"
  /** The merged file is durable in the spool, beside those that it replaces. */
  | "merge-published"
  /** The barrier is held: the application's writers wait. */
  | "barrier-held"
  /** A checkpoint has moved frames; the anchor has not rotated behind it. */
  | "checkpointed"
  /** The store has confirmed the file; the spool does not know yet. */
  | "stored-not-marked"
  /** The spool knows; older files are not removed yet. */
  | "marked"
  /** Files of a level are merged into a temporary file; nothing of it is stored. */
  | "compaction-written"
  /** The store has confirmed the merged file; memory does not know yet. */
  | "compaction-stored"
  /** A snapshot lies in a temporary file; nothing of it is stored. */
  | "snapshot-written"
  /** The store has confirmed the snapshot; memory does not know yet. */
  | "snapshot-stored"
  /** Some of the files that nobody can ask for any more are deleted; memory does not know yet, and the others are there. */
  | "retention-deleted"
  /** The base of a timeline that branched off lies in a temporary file; nothing of it is stored. */
  | "base-written"
  /** The store has confirmed the base; memory does not know yet. */
  | "base-stored"
  /** Everything is stored; the state is not saved and the epoch not released. */
  | "flushed"
  /** The state is saved; the epoch is not released. */
  | "state-saved"
  /** The epoch is released; the process still lives. */
  | "released";

export type CrashPointListener = (point: CrashPoint) => void;
