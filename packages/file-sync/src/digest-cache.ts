/**
 * What survives a restart: the digests of files that are certain, and which directory each root was.
 *
 * One file, replaced as a whole: a line of JSON that says what it is for, with the SHA-256 of the rest; then one JSON line a file.
 * It saves reading and nothing else. Missing, cut, garbled, of another store or other roots, it is as if it were not there.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { isDigest } from "./blob-key.ts";
import { writeWhole } from "./durable-file.ts";
import type { CachedFile } from "./known-files.ts";
import { isManifestPath } from "./manifest.ts";
import type { RootIdentity } from "./scan.ts";
import type { SyncRoot } from "./sync-root.ts";

export interface DigestCache {
  readonly files: readonly CachedFile[];
  /** By the root's name. */
  readonly rootIdentities: ReadonlyMap<string, RootIdentity>;
}

const fileName = "digest-cache.jsonl";
const version = 1;
/** Two million files. More is not ours. */
const bytesMax = 512 * 1024 * 1024;

/** @param owner - whose cache this is: the store and the roots. @returns undefined if there is none that can be used. */
export async function loadDigestCache(
  stateDirectory: string,
  owner: string,
): Promise<DigestCache | undefined> {
  const path = join(stateDirectory, fileName);
  try {
    if ((await stat(path)).size > bytesMax) return undefined;
    return decodeDigestCache(await readFile(path), owner);
  } catch {
    // No failure here may stop a start, and none does harm: every file is read once.
    return undefined;
  }
}

/** Durable when it resolves. @throws what the file system says; the cache is then as it was. */
export async function saveDigestCache(
  stateDirectory: string,
  owner: string,
  cache: DigestCache,
): Promise<void> {
  await mkdir(stateDirectory, { recursive: true, mode: 0o700 });
  await writeWhole(join(stateDirectory, fileName), encodeDigestCache(owner, cache));
}

export function cacheOwner(location: string, roots: readonly SyncRoot[]): string {
  const names = roots.map(({ name, kind, path }) => [name, kind, path]);
  return createHash("sha256")
    .update(JSON.stringify([location, names]))
    .digest("hex");
}

export function encodeDigestCache(
  owner: string,
  { files, rootIdentities }: DigestCache,
): Uint8Array {
  const roots = [...rootIdentities].map(([name, { inode }]) => [name, `${inode}`]);
  const lines = files.map(({ path, sha256, identity: { size, mtimeNs, ctimeNs, inode } }) =>
    JSON.stringify([path, sha256, size, `${mtimeNs}`, `${ctimeNs}`, `${inode}`]),
  );
  const body = `${[JSON.stringify(roots), ...lines].join("\n")}\n`;
  const head = JSON.stringify({ version, owner, sha256: digestOf(body) });
  return Buffer.from(`${head}\n${body}`);
}

/** @returns undefined if the bytes are not a cache of this owner, whole and as it was written. */
export function decodeDigestCache(bytes: Uint8Array, owner: string): DigestCache | undefined {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString();
  const headEnd = text.indexOf("\n");
  if (headEnd < 0) return undefined;
  const head: unknown = JSON.parse(text.slice(0, headEnd));
  const body = text.slice(headEnd + 1);
  const expected = { version, owner, sha256: digestOf(body) };
  if (JSON.stringify(head) !== JSON.stringify(expected)) return undefined;
  const [roots, ...files] = body
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown);
  return {
    rootIdentities: new Map((roots as [string, string][]).map(toRootIdentity)),
    files: (files as [string, string, number, string, string, string][]).map(toCachedFile),
  };
}

function toRootIdentity([name, inode]: [string, string]): [string, RootIdentity] {
  return [name, { device: undefined, inode: BigInt(inode) }];
}

function toCachedFile([path, sha256, size, mtimeNs, ctimeNs, inode]: [
  string,
  string,
  number,
  string,
  string,
  string,
]): CachedFile {
  if (!isManifestPath(path) || !isDigest(sha256)) throw new Error(`not a file of a cache: ${path}`);
  return {
    path,
    sha256,
    identity: { size, mtimeNs: BigInt(mtimeNs), ctimeNs: BigInt(ctimeNs), inode: BigInt(inode) },
  };
}

function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
