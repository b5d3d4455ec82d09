import {
  chooseManifest,
  earlierManifests,
  type FileEntry,
  type Lineage,
  laterManifests,
  listManifests,
  type ManifestEntry,
  type ManifestRef,
  readManifest,
} from "@vaultwarden-stream/file-sync";
import type { ObjectStore } from "@vaultwarden-stream/object-store";
import type { VaultRows } from "../files/vault-rows.ts";

/** The files of a recovery point (architecture.md D6). */
export interface ChosenFiles {
  /** The lineage's newest manifest not after the moment; undefined: no files were stored by then. */
  readonly manifest: ManifestRef | undefined;
  /** In a manifest's order. */
  readonly entries: readonly ManifestEntry[];
  /** What the database's rows name in the roots: path → size. */
  readonly rows: VaultRows;
  /**
   * Files that the manifest lacked, with the row's size, and another one had: mostly a later one, since the database is stored within a second
   * and a file perhaps later; or an earlier one, since a file may be deleted before its row.
   */
  readonly fromOthers: readonly string[];
  /** Files of rows that no manifest of the lineage has with the row's size. */
  readonly missing: readonly string[];
}

export interface WantedFiles {
  /** Timelines from the restored one back, each up to where the next one branched off. */
  readonly lineage: Lineage;
  /** The moment of the restore; undefined: the newest. */
  readonly at: Date | undefined;
  readonly rows: VaultRows;
  /** Names of the roots that are restored. */
  readonly roots: ReadonlySet<string>;
  readonly signal?: AbortSignal;
}

/** Beyond so many, a file that a row names is not looked for any more. */
const otherManifestsMax = 200;

/** @throws errors of the store, and `MANIFEST_INVALID`, as they are: a manifest that cannot be read is not an absent one. */
export async function chooseFiles(store: ObjectStore, wanted: WantedFiles): Promise<ChosenFiles> {
  const { lineage, at, roots, signal } = wanted;
  const request = signal === undefined ? {} : { signal };
  const refs = (
    await Promise.all(lineage.map(({ timeline }) => listManifests(store, { timeline, ...request })))
  ).flat();
  const rows = new Map([...wanted.rows].filter(([path]) => roots.has(rootOf(path))));
  const ref = chooseManifest(refs, lineage, at);
  const entries = new Map<string, ManifestEntry>();
  if (ref !== undefined) {
    const { entries: all } = await readManifest(store, ref, request);
    for (const entry of all) if (roots.has(rootOf(entry.path))) entries.set(entry.path, entry);
  }
  const lacking = new Map([...rows].filter(([path, size]) => !hasFile(entries, path, size)));
  const fromOthers: string[] = [];
  const others = alternately(
    laterManifests(refs, lineage, ref),
    ref === undefined ? [] : earlierManifests(refs, lineage, ref),
  );
  for (const candidate of others.slice(0, otherManifestsMax)) {
    if (lacking.size === 0) break;
    const manifest = await readManifest(store, candidate, request);
    for (const entry of filesIn(manifest.entries, lacking)) {
      entries.set(entry.path, entry);
      addParents(entries, manifest.entries, entry.path);
      lacking.delete(entry.path);
      fromOthers.push(entry.path);
    }
  }
  return {
    manifest: ref,
    entries: [...entries.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1)),
    rows,
    fromOthers: fromOthers.toSorted(),
    missing: [...lacking.keys()].toSorted(),
  };
}

/** The nearest of either side first, so that neither side is never reached. */
function alternately<T>(later: readonly T[], earlier: readonly T[]): T[] {
  const mixed: T[] = [];
  for (let index = 0; index < Math.max(later.length, earlier.length); index += 1) {
    mixed.push(...later.slice(index, index + 1), ...earlier.slice(index, index + 1));
  }
  return mixed;
}

function* filesIn(entries: readonly ManifestEntry[], lacking: VaultRows): Generator<FileEntry> {
  for (const entry of entries) {
    if (entry.kind === "file" && lacking.get(entry.path) === entry.size) yield entry;
  }
}

/** The directories that a file lies in, as the same manifest has them. */
function addParents(
  into: Map<string, ManifestEntry>,
  from: readonly ManifestEntry[],
  path: string,
): void {
  for (const entry of from) {
    if (entry.kind === "directory" && path.startsWith(`${entry.path}/`) && !into.has(entry.path)) {
      into.set(entry.path, entry);
    }
  }
}

function hasFile(entries: ReadonlyMap<string, ManifestEntry>, path: string, size: number): boolean {
  const entry = entries.get(path);
  return entry?.kind === "file" && entry.size === size;
}

/** The root's name in a manifest's path. */
export function rootOf(path: string): string {
  return path.split("/", 1)[0] ?? "";
}
