import type { Change } from "./judge.ts";
import type { DirectoryEntry, FileEntry, ManifestEntry } from "./manifest.ts";
import { rootNameOf } from "./safe-path.ts";
import type { DirectorySighting, FileSighting, RootScan } from "./scan.ts";

/** What a look found, held against the newest manifest. */
export interface Comparison {
  /** As they are now: directories, and files whose content the manifest has. */
  readonly present: readonly ManifestEntry[];
  /** Files of the manifest's size that have to be read to tell whether they have its content. */
  readonly unread: readonly FileSighting[];
  readonly changes: readonly SightedChange[];
  /** Entries of the manifest of which the look could tell nothing. They stay. */
  readonly unseen: readonly ManifestEntry[];
}

export interface SightedChange {
  readonly change: Change;
  /** Undefined if it was removed. */
  readonly file: FileSighting | undefined;
}

export type EntryMap = ReadonlyMap<string, ManifestEntry>;

/** @param digestOf - undefined as long as it is not known for certain what the file's bytes are. */
export function compareTree(
  base: EntryMap,
  scans: readonly RootScan[],
  digestOf: (file: FileSighting) => string | undefined,
): Comparison {
  const present: ManifestEntry[] = [];
  const unread: FileSighting[] = [];
  const changes: SightedChange[] = [];
  const unseen: ManifestEntry[] = [];
  const kinds = new Map<string, ManifestEntry["kind"]>();

  for (const sighting of scans.flatMap(({ sightings }) => sightings)) {
    kinds.set(sighting.path, sighting.kind);
    if (sighting.kind === "directory") {
      present.push(toDirectoryEntry(sighting));
      continue;
    }
    const previous = fileOf(base.get(sighting.path));
    const isSameSize = previous?.size === sighting.identity.size;
    const sha256 = isSameSize ? digestOf(sighting) : undefined;
    if (isSameSize && sha256 === undefined) unread.push(sighting);
    else if (isSameSize && sha256 === previous.sha256)
      present.push(toFileEntry(sighting, previous.sha256));
    else changes.push({ change: toChange(sighting, previous), file: sighting });
  }

  const isUnseen = unseenPaths(scans);
  for (const entry of base.values()) {
    if (kinds.get(entry.path) === entry.kind) continue;
    if (isUnseen(entry.path)) unseen.push(entry);
    else if (entry.kind === "file") {
      changes.push({
        change: { kind: "removed", path: entry.path, previous: entry },
        file: undefined,
      });
    }
  }
  return { present, unread, changes, unseen };
}

/** @returns whether the look could tell nothing of a path: it, or something above it, was not seen, or its root was not looked at. */
export function unseenPaths(scans: readonly RootScan[]): (path: string) => boolean {
  const roots = new Set(scans.map(({ root }) => root.name));
  const unseen = new Set(scans.flatMap((scan) => scan.unseen));
  return (path) => {
    if (!roots.has(rootNameOf(path))) return true;
    for (let end = path.length; end > 0; end = path.lastIndexOf("/", end - 1)) {
      if (unseen.has(path.slice(0, end))) return true;
    }
    return false;
  };
}

export function toFileEntry({ path, mode, identity }: FileSighting, sha256: string): FileEntry {
  return {
    kind: "file",
    path,
    mode,
    mtimeMs: toMtimeMs(identity.mtimeNs),
    size: identity.size,
    sha256,
  };
}

function toDirectoryEntry({ path, mode }: DirectorySighting): DirectoryEntry {
  return { kind: "directory", path, mode };
}

function toChange({ path, identity }: FileSighting, previous: FileEntry | undefined): Change {
  const { size } = identity;
  return previous === undefined
    ? { kind: "added", path, size }
    : { kind: "changed", path, size, previous };
}

function fileOf(entry: ManifestEntry | undefined): FileEntry | undefined {
  return entry?.kind === "file" ? entry : undefined;
}

/** Rounded down, also before 1970, and within what a manifest can hold: some file systems take any 64 bits for a time. */
function toMtimeMs(mtimeNs: bigint): number {
  const floor = mtimeNs >= 0n ? mtimeNs / 1_000_000n : -((-mtimeNs + 999_999n) / 1_000_000n);
  const max = BigInt(Number.MAX_SAFE_INTEGER);
  return Number(floor > max ? max : floor < -max ? -max : floor);
}
