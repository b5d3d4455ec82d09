/**
 * What a push does, decided from what the look found, what the newest manifest says, and the evidence.
 *
 * The rule behind all of it: what the store has is given up only for a reason. A file that is gone from a living directory goes
 * with evidence, or after two looks. A root that is missing, empty, or another directory than before is a disaster rather than a
 * deletion: unless there is evidence for each file that is gone, nothing of that root changes in the store. Other roots go on.
 */
import type { Comparison, EntryMap, SightedChange } from "./compare-tree.ts";
import type { Note } from "./events.ts";
import type { Verdict } from "./judge.ts";
import type { FileEntry, ManifestEntry } from "./manifest.ts";
import { rootNameOf } from "./safe-path.ts";
import type { FileSighting, RootIdentity, RootScan } from "./scan.ts";

export interface PushEvidence {
  /** For each of the comparison's changes, in their order. */
  readonly verdicts: readonly Verdict[];
  /** Whether a changed or removed file has looked the same twice, with the stated time in between. */
  readonly isSettled: (path: string) => boolean;
  /** Which directory each root was, when last all was well with it. */
  readonly rootIdentities: ReadonlyMap<string, RootIdentity>;
}

export interface PushPlan {
  /** Files to store, the smallest first: many small ones then do not wait for a large one. */
  readonly files: readonly FileSighting[];
  /** Entries of the newest manifest that stay in the next one, whatever lies at their path. */
  readonly kept: readonly ManifestEntry[];
  /** What goes into the next manifest as the look found it. */
  readonly present: readonly ManifestEntry[];
  readonly notes: readonly Note[];
  /** Whether something only needs a second look. */
  readonly isSettling: boolean;
  /** Roots with which all is well: what they are now is what they are compared with from now on. */
  readonly soundRoots: readonly string[];
}

export function planPush(
  base: EntryMap,
  scans: readonly RootScan[],
  { present, changes, unseen }: Comparison,
  { verdicts, isSettled, rootIdentities }: PushEvidence,
): PushPlan {
  const disasters = findDisasters(scans, changes, verdicts, rootIdentities);
  const files: FileSighting[] = [];
  const kept: ManifestEntry[] = [...unseen];
  const notes: Note[] = [...disasters.values()];
  let isSettling = false;

  for (const entry of base.values()) if (disasters.has(rootNameOf(entry.path))) kept.push(entry);
  for (const [index, { change, file }] of changes.entries()) {
    const { path, previous } = change;
    if (disasters.has(rootNameOf(path))) continue;
    const verdict = verdicts[index] ?? "unknown";
    if (verdict === "complete" || (verdict === "unknown" && isSettled(path))) {
      if (file !== undefined) files.push(file);
      // Until its blob is stored, what was there before stays.
      continue;
    }
    if (previous !== undefined) kept.push(previous);
    if (verdict === "unknown") isSettling = true;
    notes.push(toNote(path, verdict));
  }
  return {
    files: files.toSorted((a, b) => a.identity.size - b.identity.size),
    kept,
    present: present.filter(({ path }) => !disasters.has(rootNameOf(path))),
    notes,
    isSettling,
    soundRoots: scans
      .filter(({ root, state }) => state === "present" && !disasters.has(root.name))
      .map(({ root }) => root.name),
  };
}

/** The smallest files of a plan, up to so many bytes together, and at least one. The rest follows in the next manifest. */
export function firstBatch(files: readonly FileSighting[], bytesMax: number): FileSighting[] {
  let bytes = 0;
  const end = files.findIndex(({ identity }, index) => {
    bytes += identity.size;
    return index > 0 && bytes > bytesMax;
  });
  return end < 0 ? [...files] : files.slice(0, end);
}

/**
 * The entries of the next manifest, in its order: what is kept, and what was found or stored as far as it fits beside that.
 *
 * @returns also the paths for which there was no place, since something that is kept is a file above or a directory at them.
 */
export function assembleEntries(
  base: EntryMap,
  kept: readonly ManifestEntry[],
  found: readonly ManifestEntry[],
): { readonly entries: readonly ManifestEntry[]; readonly displaced: readonly string[] } {
  const entries = new Map<string, ManifestEntry>();
  for (const entry of kept) {
    entries.set(entry.path, entry);
    for (const above of directoriesAbove(entry.path)) {
      const before = base.get(above);
      if (before?.kind === "directory" && !entries.has(above)) entries.set(above, before);
    }
  }
  const displaced: string[] = [];
  for (const entry of found.toSorted(byPath)) {
    const there = entries.get(entry.path);
    const parent = entry.path.lastIndexOf("/");
    const isParentThere =
      parent < 0 || entries.get(entry.path.slice(0, parent))?.kind === "directory";
    const isFree =
      there === undefined || (there.kind === "directory" && entry.kind === "directory");
    if (isParentThere && isFree) entries.set(entry.path, entry);
    else displaced.push(entry.path);
  }
  return { entries: [...entries.values()].toSorted(byPath), displaced };
}

/** How many files were added, changed and removed between two states. A change of times or modes alone is none. */
export function countChanges(
  base: EntryMap,
  entries: readonly ManifestEntry[],
): { readonly added: number; readonly changed: number; readonly removed: number } {
  let [added, changed, same] = [0, 0, 0];
  for (const entry of entries) {
    if (entry.kind !== "file") continue;
    const before = base.get(entry.path);
    if (before?.kind !== "file") added += 1;
    else if (before.sha256 === entry.sha256) same += 1;
    else changed += 1;
  }
  const fileCount = [...base.values()].filter(({ kind }) => kind === "file").length;
  return { added, changed, removed: fileCount - same - changed };
}

export function haveSameEntries(base: EntryMap, entries: readonly ManifestEntry[]): boolean {
  return base.size === entries.length && entries.every((entry) => isSameEntry(base, entry));
}

function isSameEntry(base: EntryMap, entry: ManifestEntry): boolean {
  const before = base.get(entry.path);
  if (before?.kind !== entry.kind || before.mode !== entry.mode) return false;
  return entry.kind === "directory" || isSameFile(before as FileEntry, entry);
}

function isSameFile(a: FileEntry, b: FileEntry): boolean {
  return a.sha256 === b.sha256 && a.size === b.size && a.mtimeMs === b.mtimeMs;
}

function findDisasters(
  scans: readonly RootScan[],
  changes: readonly SightedChange[],
  verdicts: readonly Verdict[],
  rootIdentities: ReadonlyMap<string, RootIdentity>,
): ReadonlyMap<string, Note> {
  const unexplained = new Map<string, string[]>();
  for (const [index, { change }] of changes.entries()) {
    if (change.kind !== "removed" || verdicts[index] === "complete") continue;
    const name = rootNameOf(change.path);
    const gone = unexplained.get(name) ?? [];
    gone.push(change.path);
    unexplained.set(name, gone);
  }
  const disasters = new Map<string, Note>();
  for (const scan of scans) {
    const { name, path } = scan.root;
    const gone = unexplained.get(name);
    const doubt = gone === undefined ? undefined : doubtOf(scan, rootIdentities.get(name));
    if (gone === undefined || doubt === undefined) continue;
    const first = JSON.stringify(gone[0]);
    const reason = `${path} ${doubt}, and nothing says that its files were deleted, of which the store has ${gone.length} more (${first} is one): all of it stays in the store as it was`;
    disasters.set(name, { kind: "held", path: name, reason });
  }
  return disasters;
}

/** Why what is gone from a root may not have been deleted. */
function doubtOf(scan: RootScan, before: RootIdentity | undefined): string | undefined {
  if (scan.state === "missing") return "is missing";
  if (!scan.sightings.some(({ kind }) => kind === "file")) return "has no file in it";
  if (before === undefined || scan.identity === undefined) return undefined;
  const isOther =
    before.inode !== scan.identity.inode ||
    (before.device !== undefined && before.device !== scan.identity.device);
  // A file is often replaced by another of its name.
  return isOther && scan.root.kind === "directory" ? "is another directory than before" : undefined;
}

function toNote(path: string, verdict: Exclude<Verdict, "complete">): Note {
  if (verdict === "unknown") {
    return { kind: "waiting", path, reason: "it has to look the same once more" };
  }
  return "wait" in verdict
    ? { kind: "waiting", path, reason: verdict.wait }
    : { kind: "held", path, reason: verdict.keep };
}

function* directoriesAbove(path: string): Generator<string, void, undefined> {
  for (let end = path.indexOf("/"); end >= 0; end = path.indexOf("/", end + 1)) {
    yield path.slice(0, end);
  }
}

function byPath(a: ManifestEntry, b: ManifestEntry): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}
