/** What one look of `doctor` has shown. */
export interface Finding {
  /** What was looked at: `store`, `clock`. */
  readonly check: string;
  /** `note` is advice; `warning` works for now; with a `problem` the vault does not run, or is not safe. `skipped`: it could not be looked at. */
  readonly outcome: "ok" | "note" | "warning" | "problem" | "skipped";
  readonly message: string;
  /** What to do; null if all is well. */
  readonly remedy: string | null;
}

export function ok(check: string, message: string): Finding {
  return { check, outcome: "ok", message, remedy: null };
}
