import { readdir, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";

/** Where a followed copy lies, and what the follower keeps beside it, on the same file system. */
export interface CopyPlace {
  /** The copy: a SQLite database. */
  readonly path: string;
  /** SQLite's own name for the rollback journal of the copy: what lies there, any SQLite rolls back. */
  readonly hotJournal: string;
  /** `.<name>-follow/`: all the rest, ours alone. */
  readonly directory: string;
  readonly lock: string;
  readonly state: string;
  /** A whole restored database, before it is published or applied. */
  readonly incoming: string;
  /** A journal that is being written, under a name that nobody rolls back. */
  readonly journal: string;
  /** The nth file of a batch; `merged` is all of them. */
  batchFile(index: number | "merged"): string;
}

export function copyPlace(output: string): CopyPlace {
  const path = resolve(output);
  const directory = join(dirname(path), `.${basename(path)}-follow`);
  return {
    path,
    hotJournal: `${path}-journal`,
    directory,
    lock: join(directory, "lock"),
    state: join(directory, "state.json"),
    incoming: join(directory, "incoming"),
    journal: join(directory, "journal"),
    batchFile: (index) => join(directory, `batch-${index}.ltx`),
  };
}

/** Removes what a killed follower left half done: whole databases, perhaps. For whoever holds the lock. */
export async function removeUnfinished({ directory, lock, state }: CopyPlace): Promise<void> {
  for (const entry of await readdir(directory)) {
    const path = join(directory, entry);
    if (path !== lock && path !== state) await rm(path, { force: true });
  }
}
