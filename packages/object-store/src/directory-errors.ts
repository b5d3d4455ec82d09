import { ObjectStoreError, type ObjectStoreErrorCode } from "./errors.ts";

const accessHint = "Give the user of this process read and write access to the directory.";
const spaceHint = "Free space or raise the quota on the file system of the directory.";
const handlesHint = "Raise the limit of open files (ulimit -n).";
const keyHint =
  "Another object occupies a part of the path: `a` and `a/b` cannot both exist in a directory.";
const linkHint =
  "The file system has no hard links, which create-if-absent needs. Use one that has them (ext4, xfs, btrfs, NFS).";
const vanishedHint =
  "A directory of the store was removed or unmounted while it was in use, and its objects with it. Put it back, or start again and store anew.";
const mountHint = "Look at the disk or the mount below the directory.";

interface Meaning {
  readonly code: ObjectStoreErrorCode;
  readonly hint: string;
}

/** Everything that is not listed is an I/O error: nothing is known about what happened. */
const meanings: Readonly<Record<string, Meaning>> = {
  EACCES: { code: "FORBIDDEN", hint: accessHint },
  EPERM: { code: "FORBIDDEN", hint: accessHint },
  EROFS: { code: "FORBIDDEN", hint: "The file system is mounted read-only." },
  ENOSPC: { code: "OUT_OF_SPACE", hint: spaceHint },
  EDQUOT: { code: "OUT_OF_SPACE", hint: spaceHint },
  ENOENT: { code: "UNREACHABLE", hint: vanishedHint },
  EMFILE: { code: "UNREACHABLE", hint: handlesHint },
  ENFILE: { code: "UNREACHABLE", hint: handlesHint },
  EISDIR: { code: "INVALID_ARGUMENT", hint: keyHint },
  ENOTDIR: { code: "INVALID_ARGUMENT", hint: keyHint },
  ENAMETOOLONG: { code: "INVALID_ARGUMENT", hint: "The path of the directory is too long." },
  EOPNOTSUPP: { code: "FORBIDDEN", hint: linkHint },
  ENOSYS: { code: "FORBIDDEN", hint: linkHint },
};

/** The `code` of an error of the operating system, undefined for every other error. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("syscall" in error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/**
 * Says what an error of the operating system means for a request. Absence (`ENOENT`) is the caller's to judge first: in a
 * directory that was there before, it means that the directory is gone.
 *
 * @returns the error to throw: what is no error of the operating system is handed back unchanged.
 */
export function explainFileError(error: unknown, operation: string, key: string): unknown {
  const errno = errnoOf(error);
  if (errno === undefined) return error;
  // Only link(2) answers EPERM for a reason other than access: a file system without hard links.
  const isLinkRefused = errno === "EPERM" && (error as NodeJS.ErrnoException).syscall === "link";
  const meaning = isLinkRefused ? { code: "FORBIDDEN" as const, hint: linkHint } : meanings[errno];
  return new ObjectStoreError(meaning?.code ?? "UNREACHABLE", (error as Error).message, {
    operation,
    key,
    hint: meaning?.hint ?? mountHint,
    cause: error,
  });
}
