import { closeSync, constants, ftruncateSync, openSync, realpathSync } from "node:fs";
import { copyFile, mkdir, open, rm, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { ObjectStore } from "@vaultwarden-stream/object-store";
import { FileSyncError } from "./errors.ts";
import { rootUnusable } from "./file-errors.ts";
import { digestOfDescriptor, type TreePlace } from "./look-at-tree.ts";
import type { DirectoryEntry, FileEntry, ManifestEntry } from "./manifest.ts";
import { modeToSet, type PullContent, type PullPlan } from "./plan-pull.ts";
import { hasWrongBytes, isBadBlob, readBlob } from "./read-blob.ts";
import { runParallel } from "./run-parallel.ts";
import { parentOf, rootNameOf, safePath } from "./safe-path.ts";
import { errnoOf } from "./scan.ts";
import { settleDirectory, settleFile, writeAll } from "./settle-entry.ts";

/** An entry that is not there after a pull, though all else is. */
export interface BadEntry {
  readonly path: string;
  readonly kind: ManifestEntry["kind"];
  /** `BLOB_BAD`: the store lacks the bytes, or has others. `PATH_UNSAFE`: this file system cannot have the name, or has it already for another. */
  readonly code: "BLOB_BAD" | "PATH_UNSAFE";
  /** A sentence for people. */
  readonly why: string;
}

export interface PullProgress {
  /** In place or bad. */
  readonly files: number;
  readonly filesTotal: number;
  /** Written or found in place, also of files that are not complete. */
  readonly bytes: number;
  readonly bytesTotal: number;
}

/** So many files are opened, synced and settled for each request that may be under way: else requests wait for the disk. */
const filesPerRequest = 3;

export interface BuildOptions {
  readonly store: ObjectStore;
  readonly places: readonly TreePlace[];
  readonly parallel: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: PullProgress) => void) | undefined;
  /** Told where the build is, for tests that kill it there. */
  readonly at?: ((point: string) => void) | undefined;
}

export interface BuildOutcome {
  readonly fetched: number;
  readonly copied: number;
  readonly fetchedBytes: number;
  readonly bad: readonly BadEntry[];
}

/** What file systems say of a name that they cannot have; `EEXIST`, where we looked before, of one that is to them the same as another's. */
const nameErrors = new Set(["EEXIST", "ENAMETOOLONG", "EILSEQ", "EINVAL"]);

/**
 * Executes a plan below `building`, and nowhere else.
 *
 * Files are written under their own names: it is the whole tree that is temporary, and whoever finds one that was not finished looks
 * at every byte of it before he believes it. Everything is synced with its mode and time before its directory is.
 */
export async function buildTree(plan: PullPlan, options: BuildOptions): Promise<BuildOutcome> {
  return await new TreeBuilder(plan, options).build();
}

class TreeBuilder {
  readonly #plan: PullPlan;
  readonly #options: BuildOptions;
  readonly #places: ReadonlyMap<string, TreePlace>;
  /** By root: where its tree is, with the links above it resolved. */
  readonly #realBases = new Map<string, string>();
  readonly #missingDirectories = new Set<string>();
  readonly #bad: BadEntry[] = [];
  #fetched = 0;
  #copied = 0;
  #fetchedBytes = 0;
  readonly #filesTotal: number;
  #files: number;
  #bytes: number;

  constructor(plan: PullPlan, options: BuildOptions) {
    this.#plan = plan;
    this.#options = options;
    this.#places = new Map(options.places.map((place) => [place.name, place]));
    this.#filesTotal = plan.contents.reduce(
      (total, { files }) => total + files.length,
      plan.keep.length,
    );
    this.#files = plan.keep.length;
    this.#bytes = plan.keepBytes;
  }

  async build(): Promise<BuildOutcome> {
    const { remove, makeDirectories, contents, mend } = this.#plan;
    const { parallel, signal, at } = this.#options;
    for (const path of remove) {
      const location = this.#locate(path);
      await rm(location, { recursive: true }).catch(rootUnusable(location));
    }
    this.#resolveBases();
    at?.("removed");
    for (const directory of makeDirectories) {
      signal?.throwIfAborted();
      await this.#makeDirectory(directory);
    }
    at?.("directories-made");
    this.#tellProgress();
    await runParallel(contents, parallel * filesPerRequest, signal, (content, either) =>
      this.#writeContent(content, either),
    );
    at?.("files-written");
    const files = mend.filter((entry) => entry.kind === "file");
    await runParallel(files, parallel, signal, (file) => this.#mendFile(file));
    await this.#finishDirectories();
    at?.("built");
    return {
      fetched: this.#fetched,
      copied: this.#copied,
      fetchedBytes: this.#fetchedBytes,
      bad: this.#bad.toSorted((a, b) => (a.path < b.path ? -1 : 1)),
    };
  }

  #locate(path: string): string {
    return safePath(this.#place(path).building, path);
  }

  #place(path: string): TreePlace {
    const place = this.#places.get(rootNameOf(path));
    if (place === undefined) throw new RangeError(`no place for ${path}`);
    return place;
  }

  #resolveBases(): void {
    const { directories, keep, contents } = this.#plan;
    const entries = [...directories, ...keep, ...contents.flatMap(({ files }) => files)];
    // A root of which nothing is wanted need not have a place.
    for (const name of new Set(entries.map(({ path }) => rootNameOf(path)))) {
      const { building } = this.#place(name);
      this.#realBases.set(name, join(realPathOf(dirname(building)), basename(building)));
    }
  }

  /**
   * Whatever lies on the way, the directory is where its name says: no link leads elsewhere, and it is not another one's whose name this
   * file system takes for the same.
   */
  #checkDirectory(path: string | undefined): void {
    if (path === undefined) return;
    const base = this.#realBases.get(rootNameOf(path));
    const location = this.#locate(path);
    const real = realPathOf(location);
    if (base !== undefined && real === safePath(base, path)) return;
    throw new FileSyncError(
      "PATH_UNSAFE",
      `${location} leads to ${real}, and nothing is written there`,
      "Something else than this program writes where a restore is being built: find it, and start again.",
    );
  }

  async #makeDirectory(directory: DirectoryEntry): Promise<void> {
    const { bad } = await this.#tryName(directory, (location) => mkdir(location, 0o700));
    if (bad === undefined) return;
    this.#missingDirectories.add(directory.path);
    this.#bad.push(bad);
  }

  async #writeContent(content: PullContent, signal: AbortSignal): Promise<void> {
    let { source } = content;
    let badBlob: string | undefined;
    for (const file of content.files) {
      const bad =
        badBlob === undefined
          ? await this.#writeFile(file, source, signal)
          : badEntry(file, "BLOB_BAD", badBlob);
      if (bad === undefined) source = { place: "building", path: file.path };
      else this.#bad.push(bad);
      if (bad?.code === "BLOB_BAD") badBlob = bad.why;
      this.#files += 1;
      this.#tellProgress();
    }
  }

  async #writeFile(
    file: FileEntry,
    source: PullContent["source"],
    signal: AbortSignal,
  ): Promise<BadEntry | undefined> {
    // Fails on whatever is there, a link included.
    const created = await this.#tryName(file, async (location) => openSync(location, "wx+", 0o600));
    if (created.bad !== undefined) return created.bad;
    const location = this.#locate(file.path);
    this.#options.at?.("file-created");
    let descriptor = created.made;
    try {
      if (source.place === "store" || !(await this.#copy(file, source, descriptor, location))) {
        if (source.place !== "store") descriptor = await startAgain(descriptor, location);
        await this.#fetch(file, descriptor, location, signal);
      }
      this.#options.at?.("file-written");
      await settleFile(descriptor, file).catch(rootUnusable(location));
      return undefined;
    } catch (error) {
      if (!isBadBlob(error)) throw error;
      await unlink(location).catch(rootUnusable(location));
      return badEntry(file, "BLOB_BAD", error.message);
    } finally {
      closeSync(descriptor);
    }
  }

  /** Creates something new under the entry's name. @returns what `create` does, or why this name cannot be had here. */
  async #tryName<T>(
    entry: ManifestEntry,
    create: (location: string) => Promise<T>,
  ): Promise<{ readonly made: T; readonly bad?: undefined } | { readonly bad: BadEntry }> {
    const above = parentOf(entry.path);
    if (above !== undefined && this.#missingDirectories.has(above)) {
      return { bad: badEntry(entry, "PATH_UNSAFE", `its directory ${above} could not be made`) };
    }
    this.#checkDirectory(above);
    const location = this.#locate(entry.path);
    try {
      return { made: await create(location) };
    } catch (error) {
      const errno = errnoOf(error) ?? "";
      if (!nameErrors.has(errno)) return rootUnusable(location)(error);
      const why =
        errno === "EEXIST"
          ? "this file system takes its name for that of another entry"
          : `this file system cannot have its name (${errno})`;
      return { bad: badEntry(entry, "PATH_UNSAFE", why) };
    }
  }

  /** @returns false if the copy has not the right bytes, whatever happened to its source: the store has them. */
  async #copy(
    { size, sha256 }: FileEntry,
    source: { readonly place: "building" | "live"; readonly path: string },
    descriptor: number,
    location: string,
  ): Promise<boolean> {
    const base = this.#place(source.path)[source.place];
    if (base === undefined) return false;
    try {
      // Never a hard link: the application writes into its files.
      await copyFile(safePath(base, source.path), location, constants.COPYFILE_FICLONE);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === "ENOSPC" || errno === "EDQUOT") return rootUnusable(location)(error);
      return false;
    }
    const copy = await digestOfDescriptor(descriptor).catch(rootUnusable(location));
    if (copy.size !== size || copy.sha256 !== sha256) return false;
    this.#copied += 1;
    this.#bytes += size;
    return true;
  }

  /** A body that came over garbled is asked for once more, before the blob is called bad. */
  async #fetch(
    file: FileEntry,
    descriptor: number,
    location: string,
    signal: AbortSignal,
  ): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      let position = 0;
      try {
        for await (const chunk of readBlob(this.#options.store, file, { signal })) {
          await writeAll(descriptor, chunk, position).catch(rootUnusable(location));
          position += chunk.length;
          this.#fetchedBytes += chunk.length;
          this.#bytes += chunk.length;
          this.#tellProgress();
          this.#options.at?.("chunk-written");
        }
        this.#fetched += 1;
        return;
      } catch (error) {
        this.#bytes -= position;
        if (attempt === 2 || !hasWrongBytes(error)) throw error;
        atOnce(location, () => ftruncateSync(descriptor));
      }
    }
  }

  async #mendFile(file: FileEntry): Promise<void> {
    const location = this.#locate(file.path);
    try {
      await using handle = await open(location, constants.O_RDONLY | constants.O_NOFOLLOW);
      await settleFile(handle.fd, file);
    } catch (error) {
      rootUnusable(location)(error);
    }
  }

  /** The deepest first: a directory's final mode may shut us out of it. Then the names of the trees themselves. */
  async #finishDirectories(): Promise<void> {
    const { parallel, signal } = this.#options;
    const byDepth: DirectoryEntry[][] = [];
    for (const directory of this.#plan.directories) {
      if (this.#missingDirectories.has(directory.path)) continue;
      const depth = directory.path.split("/").length;
      byDepth[depth] ??= [];
      byDepth[depth].push(directory);
    }
    for (const directories of byDepth.toReversed()) {
      await runParallel(directories ?? [], parallel, signal, async (directory) => {
        await settleDirectory(this.#locate(directory.path), modeToSet(directory));
      });
    }
    for (const base of this.#realBases.values()) await settleDirectory(dirname(base), undefined);
  }

  #tellProgress(): void {
    const { keepBytes, copyBytes, fetchBytes } = this.#plan;
    this.#options.onProgress?.({
      files: this.#files,
      filesTotal: this.#filesTotal,
      bytes: this.#bytes,
      bytesTotal: keepBytes + copyBytes + fetchBytes,
    });
  }
}

function atOnce<T>(location: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    return rootUnusable(location)(error);
  }
}

function realPathOf(location: string): string {
  return atOnce(location, () => realpathSync.native(location));
}

/** After a copy that failed: it may have left anything, or have removed its target, as Node does. The old descriptor is closed if this resolves. */
async function startAgain(descriptor: number, location: string): Promise<number> {
  await rm(location, { force: true }).catch(rootUnusable(location));
  const again = atOnce(location, () => openSync(location, "wx+", 0o600));
  closeSync(descriptor);
  return again;
}

function badEntry({ path, kind }: ManifestEntry, code: BadEntry["code"], why: string): BadEntry {
  return { path, kind, code, why };
}
