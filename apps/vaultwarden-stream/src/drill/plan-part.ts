import type { FileEntry, ManifestEntry } from "@vaultwarden-stream/file-sync";

/** Which contents a drill restores and compares. */
export interface FilesPart {
  /** By digest; each content once, as one of the files that have it. */
  readonly chosen: readonly FileEntry[];
  readonly bytes: number;
  readonly n: number;
  readonly t: number;
  /** Where the next drill goes on; null: from the beginning. */
  readonly upTo: string | null;
}

/** The contents of entries, each once, by digest. Pure. */
export function contentsOf(entries: readonly ManifestEntry[]): FileEntry[] {
  const contents = new Map<string, FileEntry>();
  for (const entry of entries) {
    if (entry.kind === "file" && !contents.has(entry.sha256)) contents.set(entry.sha256, entry);
  }
  return [...contents.values()].sort((a, b) => (a.sha256 < b.sha256 ? -1 : 1));
}

/**
 * The part of the contents whose turn it is: in the order of their digests, which has nothing to do with when they came, from the one behind
 * `after` on, as many as fit. At least one, or what is larger than the budget would never be compared. So all that stay are compared in a round
 * of `t` drills, whatever comes and goes meanwhile. Pure.
 *
 * @param contents - as `contentsOf` has them.
 */
export function planPart(
  contents: readonly FileEntry[],
  bytesMax: number,
  after: string | null,
): FilesPart {
  const behind = contents.findIndex(({ sha256 }) => after !== null && sha256 > after);
  const start = behind === -1 ? 0 : behind;
  const end = endOfPart(contents, start, bytesMax);
  const chosen = contents.slice(start, end);
  const before = countParts(contents.slice(0, start), bytesMax);
  return {
    chosen,
    bytes: chosen.reduce((sum, { size }) => sum + size, 0),
    n: before + 1,
    t: before + 1 + countParts(contents.slice(end), bytesMax),
    upTo: end === contents.length ? null : (chosen.at(-1)?.sha256 ?? null),
  };
}

function endOfPart(contents: readonly FileEntry[], start: number, bytesMax: number): number {
  let bytes = contents[start]?.size ?? 0;
  let end = Math.min(start + 1, contents.length);
  for (; end < contents.length; end += 1) {
    bytes += contents[end]?.size ?? 0;
    if (bytes > bytesMax) break;
  }
  return end;
}

function countParts(contents: readonly FileEntry[], bytesMax: number): number {
  let count = 0;
  for (let start = 0; start < contents.length; start = endOfPart(contents, start, bytesMax)) {
    count += 1;
  }
  return count;
}
