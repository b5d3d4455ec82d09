import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ManifestEntry } from "./manifest.ts";
import { assembleEntries, countChanges, firstBatch, haveSameEntries } from "./plan-push.ts";
import type { FileSighting } from "./scan.ts";
import { anyTree, entriesOf } from "./test-tree.ts";

function toMap(entries: readonly ManifestEntry[]): Map<string, ManifestEntry> {
  return new Map(entries.map((entry) => [entry.path, entry]));
}

describe("the entries of the next manifest", () => {
  test("hold all that is kept, each path once and in order, and every parent is a directory", () => {
    const property = fc.property(
      anyTree("files"),
      anyTree("files"),
      fc.func(fc.boolean()),
      (before, now, isKept) => {
        const base = toMap(entriesOf(before));
        const kept = [...base.values()].filter(({ kind, path }) => kind === "file" && isKept(path));
        const found = entriesOf(now);
        const { entries, displaced } = assembleEntries(base, kept, found);
        const result = toMap(entries);
        const paths = entries.map(({ path }) => path);
        expect(paths).toEqual([...new Set(paths)].toSorted((a, b) => (a < b ? -1 : 1)));
        for (const path of paths) {
          const end = path.lastIndexOf("/");
          if (end >= 0) expect(result.get(path.slice(0, end))?.kind).toBe("directory");
        }
        for (const entry of kept) expect(result.get(entry.path)).toEqual(entry);
        // A file may be kept as it was although it is found as it is now.
        for (const entry of found) {
          const isThere = result.get(entry.path)?.kind === entry.kind;
          expect(isThere || displaced.includes(entry.path)).toBe(true);
        }
        if (kept.length === 0) {
          expect(displaced).toEqual([]);
          expect(entries).toEqual(found);
        }
      },
    );
    fc.assert(property);
  });
});

test("states are the same if no entry differs in anything", () => {
  const file = { kind: "file", path: "a/b", mode: 1, mtimeMs: 2, size: 3, sha256: "ab" } as const;
  const directory = { kind: "directory", path: "a", mode: 1 } as const;
  const base = toMap([directory, file]);
  expect(haveSameEntries(base, [directory, file])).toBe(true);
  for (const change of [
    { mode: 2 },
    { mtimeMs: 3 },
    { size: 4 },
    { sha256: "cd" },
    { path: "b" },
  ]) {
    expect(haveSameEntries(base, [directory, { ...file, ...change }])).toBe(false);
  }
  expect(haveSameEntries(base, [{ ...directory, mode: 2 }, file])).toBe(false);
  expect(haveSameEntries(base, [directory])).toBe(false);
  expect(haveSameEntries(base, [directory, { ...directory, path: "a/b" }])).toBe(false);
});

test("changes are counted by content", () => {
  const file = (path: string, sha256: string) =>
    ({ kind: "file", path, mode: 0, mtimeMs: 0, size: 0, sha256 }) as const;
  const base = toMap([file("same", "1"), file("changed", "1"), file("gone", "1")]);
  const next = [{ ...file("same", "1"), mode: 7 }, file("changed", "2"), file("new", "1")];
  expect(countChanges(base, next)).toEqual({ added: 1, changed: 1, removed: 1 });
});

test.each([
  [[], 10, 0],
  [[11, 12], 10, 1],
  [[4, 6, 1], 10, 2],
  [[4, 5], 10, 2],
] as const)(
  "of files of %j bytes and %i at most, the first %i go together",
  (sizes, max, count) => {
    const files = sizes.map((size) => ({ identity: { size } }) as FileSighting);
    expect(firstBatch(files, max)).toEqual(files.slice(0, count));
  },
);
