import type { FilesStatus } from "../daemon/status-file.ts";
import type { VaultFilesState } from "./vault-files.ts";

/** What the status file says of the files. */
export function toFilesStatus(state: VaultFilesState): FilesStatus {
  const { notes, failure, lookedAt, pushedAt, backlogSince, manifest } = state;
  const held = notes.filter(({ kind }) => kind === "held");
  const waiting = notes.filter(({ kind }) => kind === "waiting");
  const [first] = held.length > 0 ? held : waiting;
  const isStored = failure === undefined && backlogSince === undefined;
  return {
    state:
      failure !== undefined ? "failing" : held.length > 0 ? "held" : isStored ? "ok" : "waiting",
    reason:
      failure !== undefined
        ? (failure as Error).message
        : first && `${first.path}: ${first.reason}`,
    roots: state.roots,
    files: state.files,
    bytes: state.bytes,
    backlogSince: backlogSince?.toISOString() ?? null,
    storedAsOf: isStored ? (lookedAt?.toISOString() ?? null) : null,
    waiting: waiting.length,
    held: held.length,
    problems: notes
      .filter(({ kind }) => kind !== "waiting")
      .map(({ path, reason }) => ({ path, why: reason })),
    lastLook: lookedAt?.toISOString() ?? null,
    lastPush: pushedAt?.toISOString() ?? null,
    manifest: manifest ?? null,
  };
}
