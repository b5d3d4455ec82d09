import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import {
  chmod,
  chown,
  type FileHandle,
  lstat,
  mkdir,
  open,
  readdir,
  rename,
  rm,
  stat,
} from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { ReplicaError } from "../replica/replica-error.ts";

/** A file that a database is written to. */
export interface OpenTarget {
  /** Of the target, for messages. */
  readonly path: string;
  readonly handle: FileHandle;
}

/**
 * The database while it is restored: `<target>.restore-<random>.tmp` beside the target, so that a rename can put it in place.
 *
 * Owns the temporary file until `publish` or `discard`. The target is first touched in `publish`. What a killed restore of the same
 * target left is removed at the start; should that one still run, it fails at its end with the target as it was.
 */
export class RestoreFile {
  readonly path: string;
  readonly temporaryPath: string;
  readonly handle: FileHandle;
  readonly #overwrite: boolean;
  #isOpen = true;
  #isPublished = false;

  private constructor(path: string, temporaryPath: string, handle: FileHandle, overwrite: boolean) {
    this.path = path;
    this.temporaryPath = temporaryPath;
    this.handle = handle;
    this.#overwrite = overwrite;
  }

  /** @throws {ReplicaError} `TARGET_EXISTS`, `TARGET_UNWRITABLE` */
  static async create(target: string, overwrite: boolean): Promise<RestoreFile> {
    const path = resolve(target);
    await refuseExisting(path, overwrite);
    return coded(path, async () => {
      await mkdir(dirname(path), { recursive: true });
      await removeLeftovers(path);
      const temporaryPath = `${path}.restore-${randomBytes(8).toString("hex")}.tmp`;
      const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
      const handle = await open(temporaryPath, flags, 0o600);
      return new RestoreFile(path, temporaryPath, handle, overwrite);
    });
  }

  /** Makes the content durable, and closes the handle: the file may be opened by others then. */
  async sync(): Promise<void> {
    await coded(this.path, async () => {
      await this.handle.sync();
      await this.#close();
    });
  }

  /**
   * Puts the file in the target's place. Durability point: when it resolves, the target survives a power cut.
   * A WAL of the file that lay there before would be replayed into the new one, so it goes first.
   *
   * @param before - called when nothing but the replacement itself is left to do. If it throws, the target stays.
   * @throws {ReplicaError} `TARGET_EXISTS` if a file appeared there meanwhile, `TARGET_UNWRITABLE`
   */
  async publish(before?: () => Promise<void>): Promise<void> {
    await refuseExisting(this.path, this.#overwrite);
    await before?.();
    await coded(this.path, async () => {
      await inheritAccess(this.path, this.temporaryPath);
      for (const suffix of ["-wal", "-shm", "-journal"])
        await rm(`${this.path}${suffix}`, { force: true });
      await rename(this.temporaryPath, this.path);
      this.#isPublished = true;
      await using directory = await open(dirname(this.path), constants.O_RDONLY);
      await directory.sync();
    });
  }

  /** Removes the temporary file unless it was published. Idempotent. */
  async discard(): Promise<void> {
    await this.#close();
    if (!this.#isPublished) await rm(this.temporaryPath, { force: true });
  }

  async #close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.handle.close();
  }
}

/** Who could open the replaced file can open the new one. Without one it stays private: it holds secrets. */
export async function inheritAccess(from: string, to: string): Promise<void> {
  const replaced = await stat(from).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (replaced === undefined) return;
  await chmod(to, replaced.mode & 0o777);
  await chown(to, replaced.uid, replaced.gid).catch((error: NodeJS.ErrnoException) => {
    // Only root gives files away; the owner is then who restores, as with any copy.
    if (error.code !== "EPERM") throw error;
  });
}

/** Runs file operations; their errors are about the target. */
export async function coded<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toTargetError(path, error);
  }
}

function toTargetError(path: string, cause: unknown): unknown {
  const { code, syscall } = cause as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined) return cause;
  return new ReplicaError("TARGET_UNWRITABLE", `the database cannot be written to ${path}`, {
    path,
    hint: hintByErrno[code] ?? "Look at the file system that the target lies on.",
    cause,
  });
}

const hintByErrno: Readonly<Record<string, string>> = {
  ENOSPC: "Free some space: a restore needs room for the whole database beside what is there.",
  EDQUOT: "Raise the quota: a restore needs room for the whole database beside what is there.",
  EACCES: "Run it as a user who may write in the target's directory.",
  EPERM: "Run it as a user who may write in the target's directory.",
  EROFS: "The target's file system is read-only: choose another target.",
  ENOENT:
    "Something removed the unfinished file, perhaps a second restore of the same target: run one at a time.",
};

async function refuseExisting(path: string, overwrite: boolean): Promise<void> {
  let isFile: boolean;
  try {
    isFile = (await lstat(path)).isFile();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw toTargetError(path, error);
  }
  if (isFile && overwrite) return;
  throw new ReplicaError(
    "TARGET_EXISTS",
    `there is ${isFile ? "a file" : "something that is no file"} at ${path}`,
    {
      path,
      hint: isFile
        ? "Move it away, choose another target, or ask for it to be overwritten."
        : "Choose a target that is no directory, link or device.",
    },
  );
}

async function removeLeftovers(path: string): Promise<void> {
  const directory = dirname(path);
  const prefix = `${basename(path)}.restore-`;
  for (const entry of await readdir(directory)) {
    if (
      !entry.startsWith(prefix) ||
      !/^[0-9a-f]{16}\.tmp(-wal|-shm)?$/.test(entry.slice(prefix.length))
    )
      continue;
    await rm(join(directory, entry), { force: true });
  }
}
