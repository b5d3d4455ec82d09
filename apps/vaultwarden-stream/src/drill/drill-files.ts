import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import {
  compareManifests,
  type FileEntry,
  FileSyncError,
  type Lineage,
  listManifests,
  type ManifestRef,
  manifestKey,
  pullTree,
  readPointer,
  type SyncRoot,
  verifyBlobs,
} from "@vaultwarden-stream/file-sync";
import type { ObjectStore } from "@vaultwarden-stream/object-store";
import { formatCount } from "wal-replicator/command-line";
import { vaultPathsIn, vaultRoots } from "../files/vault-roots.ts";
import { readVaultRows, type VaultRows } from "../files/vault-rows.ts";
import { chooseFiles } from "../restore/choose-files.ts";
import { contentsOf, planPart } from "./plan-part.ts";
import type { ProvenFiles } from "./proof.ts";
import type { Scratch } from "./scratch.ts";

export interface DrillFilesOptions {
  readonly store: ObjectStore;
  readonly lineage: Lineage;
  /** The restored database. */
  readonly database: string;
  readonly include: Parameters<typeof vaultRoots>[1];
  readonly scratch: Scratch;
  /** Restored in one drill, at most. One larger file goes alone. */
  readonly bytesMax: number;
  /** Digest of the last content that the drill before compared. */
  readonly after: string | null;
  readonly onProgress: (bytesDone: number, bytesTotal: number) => void;
  readonly signal: AbortSignal;
}

/** So many bad files are named. */
const namedMax = 20;

/**
 * The files of the newest recovery point: those that a restore would choose are all there, with the size that they have to have, and those whose
 * turn it is are restored and read again from the disk.
 *
 * @returns what was compared, and what is bad.
 * @throws errors of the store, `NoRoom`, `MANIFEST_INVALID` as they are.
 */
export async function drillFiles(
  options: DrillFilesOptions,
): Promise<{ readonly files: ProvenFiles; readonly bad: readonly string[] }> {
  const { store, lineage, scratch, signal } = options;
  const beganMs = performance.now();
  const roots = vaultRoots(vaultPathsIn(join(scratch.directory, "vault")), options.include);
  // Before the listing, which has to have what it names.
  const pointed = await pointedManifest(store, signal);
  const chosen = await chooseFiles(store, {
    lineage,
    at: undefined,
    rows: await rowsOf(options.database),
    roots: new Set(roots.map(({ name }) => name)),
    signal,
  });
  const bad: string[] = [];
  const lost = pointed && (await isLost(store, pointed, lineage, signal));
  if (lost) {
    bad.push(`the newest manifest, ${manifestKey(pointed)}, is not there: the files are older`);
  }
  const contents = contentsOf(chosen.entries);
  const presence = await verifyBlobs({ store, entries: contents, readData: false, signal });
  bad.push(...presence.bad.map(({ path, why }) => `${path}: ${why}`));
  const missing = new Set(presence.bad.map(({ sha256 }) => sha256));

  const part = planPart(contents, options.bytesMax, options.after);
  await scratch.require(part.bytes, "a part of the files");
  const built = join(scratch.directory, "built");
  await mkdir(built, { mode: 0o700 });
  const directories = chosen.entries.filter(({ kind }) => kind === "directory");
  const wanted = part.chosen.filter(({ sha256 }) => !missing.has(sha256));
  const entries = [...directories, ...wanted].sort((a, b) => (a.path < b.path ? -1 : 1));
  const pulled = await pullTree({
    store,
    entries,
    roots,
    building: ({ name }) => join(built, name),
    onProgress: ({ bytes, bytesTotal }) => options.onProgress(bytes, bytesTotal),
    signal,
  });
  bad.push(...pulled.bad.map(({ path, why }) => `${path}: ${why}`));
  const unbuilt = new Set(pulled.bad.map(({ path }) => path));
  const compared: FileEntry[] = [];
  for (const entry of wanted) {
    signal.throwIfAborted();
    if (unbuilt.has(entry.path)) continue;
    if ((await digestOf(placeOf(built, entry.path, roots))) === entry.sha256) compared.push(entry);
    else bad.push(`${entry.path}: what was restored has other bytes`);
  }
  return {
    files: {
      manifest: chosen.manifest === undefined ? null : manifestKey(chosen.manifest),
      total: contents.length,
      totalBytes: sizeOf(contents),
      compared: compared.length,
      comparedBytes: sizeOf(compared),
      part: { n: part.n, t: part.t },
      comparedUpTo: part.upTo,
      missing: chosen.missing,
      durationMs: Math.round(performance.now() - beganMs),
    },
    bad: shorten(bad, compared.length, part.chosen.length),
  };
}

/** Whatever the reason: what was not compared is not proved. */
function shorten(bad: readonly string[], compared: number, wanted: number): readonly string[] {
  if (bad.length === 0 && compared < wanted) {
    return [`of ${formatCount(wanted, "file")} only ${compared} could be compared`];
  }
  const more = bad.length - namedMax;
  return more <= 0 ? bad : [...bad.slice(0, namedMax), `and ${more} more`];
}

/** A pointer that cannot be read costs nothing, and `verify` names it. */
async function pointedManifest(
  store: ObjectStore,
  signal: AbortSignal,
): Promise<ManifestRef | undefined> {
  try {
    return await readPointer(store, { signal });
  } catch (error) {
    if (error instanceof FileSyncError) return undefined;
    throw error;
  }
}

/** Whether the manifest that was written last is gone: one of our line, and none newer has come. */
async function isLost(
  store: ObjectStore,
  pointed: ManifestRef,
  lineage: Lineage,
  signal: AbortSignal,
): Promise<boolean> {
  const { timeline } = pointed;
  if (!lineage.some((step) => step.timeline === timeline)) return false;
  const listed = await listManifests(store, { timeline, signal });
  return listed.every((ref) => compareManifests(ref, pointed) < 0);
}

async function rowsOf(database: string): Promise<VaultRows> {
  try {
    return readVaultRows(database);
  } finally {
    // A read-only connection makes them for a WAL-mode database, and leaves them behind.
    for (const suffix of ["-wal", "-shm"]) await rm(`${database}${suffix}`, { force: true });
  }
}

/** Where a file of a manifest was built: a root's name, and for directories the path below it. */
function placeOf(built: string, path: string, roots: readonly SyncRoot[]): string {
  const root = roots.find(({ name }) => path === name || path.startsWith(`${name}/`));
  return join(built, ...(root?.kind === "file" ? [root.name] : path.split("/")));
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

function sizeOf(files: readonly FileEntry[]): number {
  return files.reduce((bytes, { size }) => bytes + size, 0);
}
