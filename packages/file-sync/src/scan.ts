/**
 * One look at the roots: every directory and regular file, without opening any.
 *
 * Nothing that is found ends the look. What cannot be stored is named in `problems`; what could not be seen is named in `unseen` as
 * well, and that is never the same as "not there": whoever compares keeps what the store has at and below such a path. What
 * vanishes between two system calls is simply not there.
 */
import { isUtf8 } from "node:buffer";
import type { BigIntStats } from "node:fs";
import { lstat, readdir, realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { runBounded } from "./bounded.ts";
import { type FileIdentity, identityOf } from "./change-test.ts";
import type { Note } from "./events.ts";
import { isManifestPath } from "./manifest.ts";
import type { SyncRoot } from "./sync-root.ts";

export interface FileSighting {
  readonly kind: "file";
  /** As in a manifest. */
  readonly path: string;
  /** Absolute. */
  readonly location: string;
  /** Permission bits. */
  readonly mode: number;
  readonly identity: FileIdentity;
}

export interface DirectorySighting {
  readonly kind: "directory";
  readonly path: string;
  readonly mode: number;
}

export interface RootScan {
  readonly root: SyncRoot;
  /** `unseen`: it is there, or may be, and cannot be read. */
  readonly state: "present" | "missing" | "unseen";
  /** Which directory or file this is; undefined if it could not be seen. */
  readonly identity: RootIdentity | undefined;
  /** The root's own first, the others in no order. */
  readonly sightings: readonly (FileSighting | DirectorySighting)[];
  readonly problems: readonly Note[];
  /** Paths, as in a manifest, at and below which nothing is known. */
  readonly unseen: readonly string[];
}

export interface RootIdentity {
  /** Undefined if it is of an earlier run: devices are numbered anew at a mount. */
  readonly device: bigint | undefined;
  readonly inode: bigint;
}

export interface ScanOptions {
  /** Absolute paths that are passed over, with all below them. */
  readonly exclude: ReadonlySet<string>;
  readonly signal?: AbortSignal | undefined;
}

/** Enough to keep the thread pool busy. */
const directoriesAtOnce = 16;
const statsAtOnce = 256;

interface Directory {
  readonly path: string;
  readonly location: string;
}

export async function scanRoot(root: SyncRoot, options: ScanOptions): Promise<RootScan> {
  const scan = new Scan(options);
  let stats: BigIntStats;
  let location: string;
  try {
    location = await realpath(root.path);
    stats = await lstat(location, { bigint: true });
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return { ...scan.result(), root, state: "missing" };
    scan.miss(root.name, explain(error));
    return { ...scan.result(), root, state: "unseen" };
  }
  const isAsNamed = root.kind === "directory" ? stats.isDirectory() : stats.isFile();
  if (!isAsNamed) {
    scan.miss(root.name, `${root.path} is not a ${root.kind}`);
    return { ...scan.result(), root, state: "unseen" };
  }
  scan.add(root.name, location, stats);
  await scan.run();
  // The root itself went away, or could not be listed: nothing is known of what is below it.
  const state = scan.isVanished(root.name)
    ? "missing"
    : scan.isUnseen(root.name)
      ? "unseen"
      : "present";
  const identity = { device: stats.dev, inode: stats.ino };
  return { ...scan.result(), root, state, identity };
}

class Scan {
  readonly #options: ScanOptions;
  readonly #sightings: (FileSighting | DirectorySighting)[] = [];
  readonly #problems: Note[] = [];
  readonly #unseen = new Set<string>();
  readonly #vanished = new Set<string>();
  #directories: Directory[] = [];

  constructor(options: ScanOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    while (this.#directories.length > 0) {
      const level = this.#directories;
      this.#directories = [];
      await runBounded(level, { countMax: directoriesAtOnce }, (directory) =>
        this.#read(directory),
      );
    }
  }

  add(path: string, location: string, stats: BigIntStats): void {
    const mode = Number(stats.mode & 0o7777n);
    if (stats.isDirectory()) {
      this.#sightings.push({ kind: "directory", path, mode });
      this.#directories.push({ path, location });
    } else if (stats.isFile()) {
      this.#sightings.push({ kind: "file", path, location, mode, identity: identityOf(stats) });
    } else {
      const kind = stats.isSymbolicLink() ? "a symbolic link" : "no regular file or directory";
      this.miss(path, `it is ${kind}, and only those are stored`);
    }
  }

  /** Something is there that cannot be stored or seen. */
  miss(path: string, reason: string): void {
    this.#problems.push({ kind: "problem", path, reason });
    this.#unseen.add(path);
  }

  isUnseen(path: string): boolean {
    return this.#unseen.has(path);
  }

  isVanished(path: string): boolean {
    return this.#vanished.has(path);
  }

  result(): Pick<RootScan, "identity" | "sightings" | "problems" | "unseen"> {
    return {
      identity: undefined,
      sightings: this.#sightings,
      problems: this.#problems,
      unseen: [...this.#unseen],
    };
  }

  async #read(directory: Directory): Promise<void> {
    this.#options.signal?.throwIfAborted();
    let names: Buffer[];
    try {
      names = await readdir(directory.location, { encoding: "buffer" });
    } catch (error) {
      if (errnoOf(error) === "ENOENT") this.#vanished.add(directory.path);
      else this.miss(directory.path, explain(error));
      return;
    }
    for (let at = 0; at < names.length; at += statsAtOnce) {
      const some = names.slice(at, at + statsAtOnce);
      await Promise.all(some.map((name) => this.#look(directory, name)));
    }
  }

  async #look(directory: Directory, bytes: Buffer): Promise<void> {
    if (!isUtf8(bytes)) {
      this.miss(`${directory.path}/${escapeBytes(bytes)}`, "its name is not UTF-8");
      return;
    }
    const name = bytes.toString();
    const path = `${directory.path}/${name}`;
    const location = `${directory.location}/${name}`;
    if (this.#options.exclude.has(location)) {
      this.#unseen.add(path);
      return;
    }
    try {
      const stats = await lstat(location, { bigint: true });
      if (isManifestPath(path)) this.add(path, location, stats);
      else this.miss(path, "its path is too long");
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") this.miss(path, explain(error));
    }
  }
}

/** The names under which a scan would come across the paths: with the links in the directories above them resolved. */
export async function resolveExcluded(paths: readonly string[]): Promise<ReadonlySet<string>> {
  const resolved = paths.map(async (path) => {
    // What is not there yet cannot be resolved, nor come across.
    const parent = await realpath(dirname(path)).catch(() => dirname(path));
    return [path, join(parent, basename(path))];
  });
  return new Set((await Promise.all(resolved)).flat());
}

export function errnoOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

/** Why a file cannot be seen or read, for a note beside its path. */
export function explain(error: unknown): string {
  const errno = errnoOf(error);
  if (errno === "EACCES" || errno === "EPERM") return "this process may not read it";
  if (errno === "ENAMETOOLONG") return "its path is too long";
  return error instanceof Error ? error.message : String(error);
}

function escapeBytes(bytes: Buffer): string {
  const characters = Array.from(bytes, (byte) =>
    byte >= 0x20 && byte < 0x7f
      ? String.fromCharCode(byte)
      : `\\x${byte.toString(16).padStart(2, "0")}`,
  );
  return characters.join("");
}
