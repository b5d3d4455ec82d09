import type { UseSpan } from "@vaultwarden-stream/file-sync";

/** What `verify` has found out about the vault's files in the store. */
export interface FilesVerification {
  /** Keys of the manifests that are kept, each of which was read. */
  readonly manifests: readonly string[];
  /** Contents that they need, each once: those that are there as they have to be, as far as was looked. */
  readonly found: number;
  /** Those that are not there. */
  readonly lost: number;
  /** Those that are not what was written. */
  readonly damaged: number;
  /** Contents in the store that no manifest names yet, or any more. */
  readonly uploading: number;
  /** Files that the daemon here has seen and not stored yet; null: none runs here. */
  readonly delayed: number | null;
  /** Of the contents, by the manifests. */
  readonly bytes: number;
  /** Contents whose bytes were read and compared. */
  readonly read: number;
  readonly bytesRead: number;
  /** Where reading stopped because the time was over; the next run on this machine goes on there by itself. Null: it did not stop. */
  readonly stoppedAt: string | null;
  readonly bad: readonly BadObject[];
}

export interface BadObject {
  /** SHA-256 of a content, or the key of another object. */
  readonly object: string;
  /** A file that needs the content; null for what is no content. */
  readonly path: string | null;
  /** All of them. */
  readonly paths: readonly string[];
  /** Of the content, as it has to be; null for what is no content. */
  readonly size: number | null;
  /** `missing`, `wrong-size`, `wrong-bytes`, or a sentence. */
  readonly why: string;
  /** When it is needed: a restore to these moments lacks it. Empty: it costs no moment. */
  readonly costs: readonly UseSpan[];
  /** Why it costs nothing; null where `costs` says what it costs. */
  readonly note: string | null;
}

/** Proofs of restore drills. */
export interface ProofsVerification {
  readonly count: number;
  /** When a restore was last proved; null: never. */
  readonly lastProved: string | null;
  readonly bad: readonly BadObject[];
}

/** An object that is no content. */
export function badObject(
  object: string,
  why: string,
  costs: readonly UseSpan[] | { readonly nothing: string },
): BadObject {
  const note = "nothing" in costs ? costs.nothing : null;
  return {
    object,
    path: null,
    paths: [],
    size: null,
    why,
    costs: "nothing" in costs ? [] : costs,
    note,
  };
}
