import { FileSyncError } from "./errors.ts";
import { errnoOf } from "./scan.ts";

/** Meant for `catch`: says which path could not be used, and why. Errors of ours pass unwrapped. */
export function rootUnusable(path: string): (cause: unknown) => never {
  return (cause) => {
    if (cause instanceof FileSyncError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FileSyncError("ROOT_UNUSABLE", `${path} cannot be used: ${why}`, hintFor(cause), {
      cause,
    });
  };
}

function hintFor(cause: unknown): string {
  switch (errnoOf(cause)) {
    case "ENOSPC":
    case "EDQUOT":
      return "Make room on this file system, and start again: what is complete is kept.";
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return "Let the user of this process write there, and start again.";
    case "EXDEV":
      return "Choose places on one file system, in one mount.";
    case "EBUSY":
      return "It is a mount of its own: mount the directory that holds it instead.";
    default:
      return "See what lies at this path; nothing that was there has been lost.";
  }
}
