/**
 * What a start does, decided from both sides before anything is written anywhere. Only the rows that exist so far: what happens to a
 * database that is there is decided by the engine, which compares positions under its anchor.
 *
 * An error of the store is never an input: whoever could not look must not ask.
 */
export interface StartInput {
  readonly database: "present" | "missing";
  /** Captured files in the spool that the store may not have. */
  readonly waitingFiles: number;
  /** What a complete look at the store found; undefined if the database is there, so that nobody looked. */
  readonly store: StoreState | undefined;
}

export type StoreState =
  /** Not one object: never used. */
  | { readonly kind: "unused" }
  /** Somebody of ours wrote there before. */
  | { readonly kind: "used" }
  /** Objects, and none of them ours. */
  | { readonly kind: "foreign"; readonly example: string };

export type StartPlan =
  | { readonly action: "replicate"; readonly why: string }
  | { readonly action: "create-empty"; readonly why: string }
  | { readonly action: "restore"; readonly why: string }
  | { readonly action: "stop"; readonly why: string; readonly next: string };

export function planStart({ database, waitingFiles, store }: StartInput): StartPlan {
  if (database === "present") {
    return { action: "replicate", why: "there is a database" };
  }
  if (store === undefined) {
    return {
      action: "stop",
      why: "there is no database, and nobody looked into the store",
      next: "this is a mistake of ours: please report it",
    };
  }
  if (waitingFiles > 0) {
    return {
      action: "stop",
      why: `the database is gone, but ${waitingFiles} captured files beside it may be missing in the store`,
      next: "put the database back; or, to go on with what the store has, move the directory with those files away and start again",
    };
  }
  switch (store.kind) {
    case "used":
      return { action: "restore", why: "there is no database here, and the store has been used" };
    case "unused":
      return {
        action: "create-empty",
        why: "there is no database here and the store was never used: a first run",
      };
    case "foreign":
      return {
        action: "stop",
        why: `there is no database here, and the store holds something that is not ours (${store.example})`,
        next: "name an empty directory, or the one that was used before",
      };
  }
}
