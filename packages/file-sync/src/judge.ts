import type { FileEntry } from "./manifest.ts";

/** A file whose content is another than the newest manifest says, or that the one of them has and the other lacks. */
export interface Change {
  readonly kind: "added" | "changed" | "removed";
  /** As in a manifest. */
  readonly path: string;
  /** Bytes, as the look found it. Not for `removed`. */
  readonly size?: number;
  /** What the newest manifest has. Not for `added`. */
  readonly previous?: FileEntry;
}

/** What is known of a change from elsewhere: for a vault, from its rows. */
export type Verdict =
  /** It may go as it is. */
  | "complete"
  /** Nothing is known: it goes once it looked the same twice, some time apart. */
  | "unknown"
  /** Not yet: what the newest manifest has stays in the next one. */
  | { readonly wait: string }
  /** It contradicts what is known: what the newest manifest has stays, and the state says why. */
  | { readonly keep: string };

/** @returns a verdict for each change, in their order. Rejects if it cannot tell: then nothing is pushed. */
export type Judge = (changes: readonly Change[]) => Promise<readonly Verdict[]>;
