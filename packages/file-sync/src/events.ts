import type { ManifestRef } from "./manifest-key.ts";

/** Something about one path that an operator may want to know, as long as it lasts. */
export interface Note {
  /**
   * `waiting`: not stored yet, and nobody has to do anything. `held`: what the store has is kept, though the directory says otherwise.
   * `problem`: cannot be stored as it is.
   */
  readonly kind: "waiting" | "held" | "problem";
  /** As in a manifest; a root's name stands for all of it. Bytes that are no UTF-8 are written `\xNN`. */
  readonly path: string;
  readonly reason: string;
}

/** What the push side tells its host, for its log and its state. Nothing here logs. */
export type FileSyncEvent =
  /** The manifest is durable: everything that it names counts as stored. */
  | {
      readonly type: "pushed";
      readonly manifest: ManifestRef;
      readonly added: number;
      readonly changed: number;
      readonly removed: number;
      /** Blobs that were sent for it, and their bytes. */
      readonly blobs: number;
      readonly bytes: number;
    }
  /** Once, when it is found, or found for another reason. */
  | { readonly type: "noted"; readonly note: Note }
  /** It is over. */
  | { readonly type: "cleared"; readonly note: Note }
  /** The manifest counts all the same; the pointer is written again with the next look. */
  | { readonly type: "pointer-failing"; readonly error: unknown }
  /** The next start reads more files than it would have to. */
  | { readonly type: "cache-failing"; readonly error: unknown }
  /** A push failed; the loop tries again after the pause. */
  | { readonly type: "failing"; readonly error: unknown; readonly retryMs: number }
  | { readonly type: "recovered" }
  /** Changes are found by interval only, for as long as this lasts. */
  | { readonly type: "watch-failing"; readonly error: unknown };
