/** Trees for tests: made up with all that names, modes and contents can be, put into a store, written to a disk, read back. */
import { createHash } from "node:crypto";
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ObjectStore } from "@vaultwarden-stream/object-store";
import fc from "fast-check";
import { blobKey } from "./blob-key.ts";
import type { ManifestEntry } from "./manifest.ts";
import type { SyncRoot } from "./sync-root.ts";

/** By manifest path: a directory, or a file with its content. */
export type TestTree = ReadonlyMap<string, TestNode>;

export interface TestNode {
  readonly mode: number;
  /** Undefined: a directory. */
  readonly content?: Uint8Array;
  readonly mtimeMs?: number;
}

export function digest(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

export function entriesOf(tree: TestTree): ManifestEntry[] {
  return [...tree]
    .map(([path, { mode, content, mtimeMs = 0 }]): ManifestEntry => {
      if (content === undefined) return { kind: "directory", path, mode };
      const sha256 = digest(content);
      return { kind: "file", path, mode, mtimeMs, size: content.length, sha256 };
    })
    .toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

export async function putBlobs(store: ObjectStore, tree: TestTree): Promise<void> {
  for (const { content } of tree.values()) {
    if (content !== undefined) await store.put(blobKey(digest(content)), content);
  }
}

/** What lies at `base`, whatever it is, as entries of a manifest. Nothing of the code under test has a part in it. */
export function readTree(name: string, base: string): ManifestEntry[] {
  const found: ManifestEntry[] = [];
  const read = (path: string, location: string): void => {
    const stats = lstatSync(location, { bigint: true, throwIfNoEntry: false });
    if (stats === undefined) return;
    const mode = Number(stats.mode & 0o7777n);
    if (stats.isDirectory()) {
      found.push({ kind: "directory", path, mode });
      for (const child of readdirSync(location)) read(`${path}/${child}`, join(location, child));
      return;
    }
    if (!stats.isFile()) throw new Error(`${location} is neither file nor directory`);
    const content = readFileSync(location);
    const mtimeMs = Number(stats.mtimeNs / 1_000_000n);
    const sha256 = digest(content);
    found.push({ kind: "file", path, mode, mtimeMs, size: content.length, sha256 });
  };
  read(name, base);
  return found.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/** Writes a tree below `base`, without times. */
export function writeTree(base: string, tree: TestTree): void {
  const sorted = [...tree].toSorted(([a], [b]) => (a < b ? -1 : 1));
  const locate = (path: string): string => join(base, ...path.split("/").slice(1));
  for (const [path, { content }] of sorted) {
    if (content === undefined) mkdirSync(locate(path), { recursive: true });
    else writeFileSync(locate(path), content);
  }
  for (const [path, { mode }] of sorted.toReversed()) chmodSync(locate(path), mode);
}

const oddNames = [
  ".hidden",
  "..double",
  "...",
  "new\nline",
  "tab\tand space ",
  "\u00e9 composed",
  "e\u0301 composed",
  "😀",
  "-rf",
  "back\\slash",
  "colon:quote\"'*?",
  "\u{fffd}",
  "a",
  "A",
  "a-",
  "x".repeat(255),
  "é".repeat(127),
];

const name = fc.oneof(
  fc.constantFrom(...oddNames),
  fc
    .string({ unit: "binary", minLength: 1, maxLength: 12 })
    .filter((text) => text.isWellFormed() && !/[/\0]/.test(text) && text !== "." && text !== ".."),
);

/** Nobody but root comes back to a directory that its owner may not enter. */
const needed = process.getuid?.() === 0 ? 0 : 0o700;
const content = fc.oneof(
  fc.constantFrom(new Uint8Array(), new Uint8Array([1]), new Uint8Array(70_000).fill(7)),
  fc.uint8Array({ maxLength: 200 }),
);

/** A tree of the root `name`, the root's own directory included. */
export function anyTree(rootName: string): fc.Arbitrary<TestTree> {
  const node = fc.record({
    names: fc.array(name, { minLength: 1, maxLength: 4 }),
    isDirectory: fc.boolean(),
    mode: fc.integer({ min: 0, max: 0o777 }).map((mode) => mode | needed),
    mtimeMs: fc.integer({ min: 0, max: 4_000_000_000_000 }),
    content,
  });
  return fc.array(node, { maxLength: 12 }).map((nodes) => {
    const tree = new Map<string, TestNode>([[rootName, { mode: 0o755 }]]);
    for (const { names, isDirectory, mode, mtimeMs, content: bytes } of nodes) {
      addNode(tree, rootName, names, isDirectory ? { mode } : { mode, mtimeMs, content: bytes });
    }
    return tree;
  });
}

/** Unless something else has its name, or a file is in its way. */
function addNode(
  tree: Map<string, TestNode>,
  rootName: string,
  names: readonly string[],
  node: TestNode,
): void {
  const paths = names.map((_, index) => [rootName, ...names.slice(0, index + 1)].join("/"));
  const path = paths.at(-1) ?? "";
  if (tree.has(path) || paths.some((above) => tree.get(above)?.content !== undefined)) return;
  for (const above of paths.slice(0, -1)) {
    if (!tree.has(above)) tree.set(above, { mode: 0o750 });
  }
  tree.set(path, node);
}

export function directoryRoot(rootName: string, path: string): SyncRoot {
  return { name: rootName, kind: "directory", path };
}
