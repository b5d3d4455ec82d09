import type { ObjectStore } from "@vaultwarden-stream/object-store";
import type { FileSyncEvent, Note } from "./events.ts";
import type { Judge } from "./judge.ts";
import type { Manifest } from "./manifest.ts";
import type { ManifestRef } from "./manifest-key.ts";
import type { ContentCheck } from "./store-file.ts";
import type { SyncRoot } from "./sync-root.ts";

/** Where the next manifest belongs, as the host knows it. */
export interface PushPlace {
  readonly timeline: string;
  readonly epoch: number;
  /** 16 lower case hex digits: what the database has committed. */
  readonly txid: string;
}

/** Named places between two durable steps. Tests kill the process there; in production nothing listens. */
export type PushCrashPoint =
  /** A blob is in the store, and nothing names it. */
  | "blob-stored"
  /** All blobs are stored, and the manifest is not. */
  | "blobs-stored"
  /** The manifest counts; the pointer is the old one. */
  | "manifest-stored"
  /** The pointer is written; the digest cache is the old one. */
  | "pointer-stored"
  /** All is done. */
  | "cache-saved";

export interface FilePusherOptions {
  readonly store: ObjectStore;
  readonly roots: readonly SyncRoot[];
  /** Absolute paths that are never looked into. What the store has of them stays. */
  readonly exclude?: readonly string[];
  /** For the digest cache. Created with the first save; not below a root, unless excluded. */
  readonly stateDirectory: string;
  /** The newest manifest of our line; undefined if there is none. */
  readonly base: Manifest | undefined;
  readonly judge: Judge;
  /** By a root's name, or a path as in a manifest: run over the very bytes that would be stored. Files of up to 16 MiB. */
  readonly contentChecks?: ReadonlyMap<string, ContentCheck>;
  readonly now: () => Date;
  /** Monotonic, in milliseconds. */
  readonly nowMs: () => number;
  /** Rejects with the signal's reason. */
  readonly sleep: (delayMs: number, signal?: AbortSignal) => Promise<void>;
  readonly onEvent: (event: FileSyncEvent) => void;
  /** How long a file of which nothing is known has to look the same. Default 2,000. */
  readonly settleMs?: number;
  /** Default 4. */
  readonly uploadsMax?: number;
  /** What is stored together before a manifest names it; one larger file goes alone. Default 256 MiB. */
  readonly batchBytesMax?: number;
  readonly onCrashPoint?: (point: PushCrashPoint) => void;
}

export interface PushRequest {
  /** Asked before a look begins, and again before its manifest is written: if the host has moved by then, the push begins anew. */
  readonly place: () => PushPlace;
  readonly signal?: AbortSignal;
  /** The last one: nobody writes any more, so what only needs a second look gets it at once. */
  readonly final?: boolean;
}

export interface PushOutcome {
  /** The newest of those written; undefined if there was nothing to write. */
  readonly manifest: ManifestRef | undefined;
  /** Whether another look, later, may find more to store though no file changes: something waits, or was written just before it was read. */
  readonly needsLook: boolean;
}

export interface FilePusherStatus {
  /** What the newest manifest names. */
  readonly files: number;
  readonly bytes: number;
  readonly notes: readonly Note[];
  /** Paths that the last look found new or changed, and that no manifest has yet. */
  readonly unstored: readonly string[];
  /** When the last look began that ended without an error. */
  readonly lookedAt: Date | undefined;
  /** When the look of the newest manifest began. */
  readonly pushedAt: Date | undefined;
  /** Since when there has been something that the store does not have, apart from what is held or a problem. */
  readonly backlogSince: Date | undefined;
  /** What the last push failed with; undefined once one has succeeded. */
  readonly failure: unknown;
}

export interface FilePusher {
  /**
   * Looks, and stores what is new. One at a time: a call while another is under way waits for it, and looks anew.
   *
   * Durability point: when it resolves, what the status has no note about is in the store, as the look found it.
   *
   * @throws {ObjectStoreError}, `FileSyncError`, what `judge` and `place` throw, and the signal's reason. What was stored stays known.
   */
  push(request: PushRequest): Promise<PushOutcome>;
  status(): FilePusherStatus;
  /** Resolves when no push is under way. */
  close(): Promise<void>;
}
