import { FileSyncError } from "./errors.ts";
import type { DirectoryEntry, FileEntry, ManifestEntry } from "./manifest.ts";
import { parentOf, rootNameOf, safePath } from "./safe-path.ts";
import type { SyncRoot } from "./sync-root.ts";

/** What lies where a tree is built, and which live files may serve as sources. Both by the paths of manifests. */
export interface PresentTree {
  readonly building: ReadonlyMap<string, PresentEntry>;
  /** Only files whose digest is known. */
  readonly live: ReadonlyMap<string, { readonly size: number; readonly sha256: string }>;
}

export type PresentEntry =
  | {
      readonly kind: "file";
      readonly mode: number;
      readonly mtimeMs: number;
      readonly size: number;
      /** Undefined: it was not read, since nothing of its size is wanted there. */
      readonly sha256: string | undefined;
    }
  | { readonly kind: "directory"; readonly mode: number }
  /** A link, a socket, a device: never followed, opened or kept. */
  | { readonly kind: "other" };

/** How what lies in `building` becomes what the entries say. Empty lists: it is so already. */
export interface PullPlan {
  /** Below `building` only. A directory goes with all that is in it, and its contents are not listed. */
  readonly remove: readonly string[];
  /** Parents first. */
  readonly makeDirectories: readonly DirectoryEntry[];
  readonly contents: readonly PullContent[];
  /** In place with the right bytes, but with another mode or time. */
  readonly mend: readonly ManifestEntry[];
  /** Files that are in place with the right bytes, those to mend included. */
  readonly keep: readonly FileEntry[];
  /** All directories, parents first. */
  readonly directories: readonly DirectoryEntry[];
  readonly fetchBytes: number;
  readonly copyBytes: number;
  readonly keepBytes: number;
}

/** Bytes that are to be written under one or more names. They come from the store at most once. */
export interface PullContent {
  readonly sha256: string;
  readonly size: number;
  readonly source:
    | { readonly place: "store" }
    | { readonly place: "building" | "live"; readonly path: string };
  readonly files: readonly [FileEntry, ...FileEntry[]];
}

export function isEmptyPull({ remove, makeDirectories, contents, mend }: PullPlan): boolean {
  return remove.length + makeDirectories.length + contents.length + mend.length === 0;
}

/** What a file's permission bits become: without the owner that they were given by, set-user-ID and its kin mean nothing good. */
export function modeToSet({ kind, mode }: ManifestEntry): number {
  return kind === "file" ? mode & 0o777 : mode;
}

/** Directories on the way to a file that no entry names, since the caller asked for a part. */
const impliedDirectoryMode = 0o755;

/**
 * @param entries - a manifest's, or a part of them, in any order.
 * @throws {FileSyncError} `PATH_UNSAFE` if they cannot be one tree inside of these roots; nothing may be written then.
 */
export function planPull(
  entries: readonly ManifestEntry[],
  roots: readonly SyncRoot[],
  { building, live }: PresentTree,
): PullPlan {
  const wanted = buildWantedTree(entries, roots);
  const removed = planRemovals(wanted, building);
  const isInPlace = (entry: ManifestEntry): boolean => isAsWanted(entry, building.get(entry.path));

  const directories = [...wanted.values()].filter((entry) => entry.kind === "directory");
  const files = [...wanted.values()].filter((entry) => entry.kind === "file");
  const keep = files.filter(isInPlace);
  const sources = new Map<string, PullContent["source"]>();
  for (const [path, { sha256 }] of live) sources.set(sha256, { place: "live", path });
  for (const { path, sha256 } of keep) sources.set(sha256, { place: "building", path });
  const contents = gatherContents(
    files.filter((entry) => !isInPlace(entry)),
    sources,
  );
  return {
    remove: removed,
    makeDirectories: directories.filter((entry) => !isInPlace(entry)),
    contents,
    mend: [...directories, ...keep].filter((entry) => {
      const present = building.get(entry.path);
      return present !== undefined && isInPlace(entry) && !hasAttributes(entry, present);
    }),
    keep,
    directories,
    fetchBytes: sum(contents.map((content) => (isFetched(content) ? content.size : 0))),
    copyBytes: sum(contents.map((content) => content.size * copyCount(content))),
    keepBytes: sum(keep.map(({ size }) => size)),
  };
}

/** All entries and the directories that they need, parents first. */
function buildWantedTree(
  entries: readonly ManifestEntry[],
  roots: readonly SyncRoot[],
): Map<string, ManifestEntry> {
  const kinds = new Map(roots.map(({ name, kind }) => [name, kind]));
  checkRoots(entries, kinds);
  const wanted = new Map<string, ManifestEntry>();
  for (const entry of entries) {
    // Any base will do: it is the path that is looked at.
    safePath("/", entry.path);
    if (wanted.has(entry.path)) throw refused(entry.path, "it is there twice");
    wanted.set(entry.path, entry);
  }
  for (const { path } of entries) {
    for (let above = parentOf(path); above !== undefined; above = parentOf(above)) {
      const found = wanted.get(above);
      if (found?.kind === "file") throw refused(path, `${JSON.stringify(above)} is a file`);
      if (found === undefined) {
        wanted.set(above, { kind: "directory", path: above, mode: impliedDirectoryMode });
      }
    }
  }
  for (const [name, kind] of kinds) {
    const found = wanted.get(name);
    if (found !== undefined && found.kind !== kind) throw refused(name, `its root is a ${kind}`);
  }
  // A directory's path is the beginning of all that is in it, so it sorts before them.
  return new Map([...wanted].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function checkRoots(
  entries: readonly ManifestEntry[],
  roots: ReadonlyMap<string, SyncRoot["kind"]>,
): void {
  const unknown = new Set(entries.map(({ path }) => rootNameOf(path)).filter((n) => !roots.has(n)));
  if (unknown.size === 0) return;
  const names = [...unknown].map((name) => JSON.stringify(name));
  throw new FileSyncError(
    "PATH_UNSAFE",
    `the manifest has files of ${names.slice(0, 10).join(", ")}${names.length > 10 ? ", …" : ""}, for which there is no place here`,
    "Restore with the settings and the version that wrote it, or without these. Nothing was changed.",
  );
}

/** Outermost paths only. */
function planRemovals(
  wanted: ReadonlyMap<string, ManifestEntry>,
  building: PresentTree["building"],
): string[] {
  const removed = new Set<string>();
  const paths = [...building.keys()].toSorted();
  for (const path of paths) {
    const above = parentOf(path);
    if (above !== undefined && removed.has(above)) {
      removed.add(path);
      continue;
    }
    const entry = wanted.get(path);
    if (entry === undefined || !isAsWanted(entry, building.get(path))) removed.add(path);
  }
  return paths.filter((path) => removed.has(path) && !removed.has(parentOf(path) ?? ""));
}

function isAsWanted(entry: ManifestEntry, present: PresentEntry | undefined): boolean {
  if (entry.kind === "directory") return present?.kind === "directory";
  return present?.kind === "file" && present.size === entry.size && present.sha256 === entry.sha256;
}

function hasAttributes(entry: ManifestEntry, present: PresentEntry): boolean {
  if (present.kind === "other" || present.mode !== modeToSet(entry)) return false;
  return entry.kind !== "file" || present.kind !== "file" || present.mtimeMs === entry.mtimeMs;
}

/** Files of the same bytes together. A digest with two sizes, which only a liar writes, is two contents. */
function gatherContents(
  files: readonly FileEntry[],
  sources: ReadonlyMap<string, PullContent["source"]>,
): PullContent[] {
  const byContent = new Map<string, [FileEntry, ...FileEntry[]]>();
  for (const file of files) {
    const key = `${file.sha256}:${file.size}`;
    const same = byContent.get(key);
    if (same === undefined) byContent.set(key, [file]);
    else same.push(file);
  }
  return [...byContent.values()].map((same) => {
    const { sha256, size } = same[0];
    return { sha256, size, source: sources.get(sha256) ?? { place: "store" }, files: same };
  });
}

function isFetched({ source }: PullContent): boolean {
  return source.place === "store";
}

/** The first name of what is fetched is no copy, all others are. */
function copyCount(content: PullContent): number {
  return content.files.length - (isFetched(content) ? 1 : 0);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function refused(path: string, why: string): FileSyncError {
  return new FileSyncError(
    "PATH_UNSAFE",
    `the entry ${JSON.stringify(path)} is refused: ${why}`,
    "No manifest of ours has such an entry: find out who wrote it. Nothing was changed.",
  );
}
