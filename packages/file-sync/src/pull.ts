import { realpath } from "node:fs/promises";
import { isAbsolute, relative, resolve, sep } from "node:path";
import { LimitedStore, type ObjectStore } from "@vaultwarden-stream/object-store";
import { type BadEntry, buildTree, type PullProgress } from "./build-tree.ts";
import { FileSyncError } from "./errors.ts";
import { rootUnusable } from "./file-errors.ts";
import { lookAtPlaces, type TreePlace } from "./look-at-tree.ts";
import type { ManifestEntry } from "./manifest.ts";
import { type PullPlan, planPull } from "./plan-pull.ts";
import { errnoOf } from "./scan.ts";
import type { SyncRoot } from "./sync-root.ts";

export interface PullOptions {
  readonly store: ObjectStore;
  /** What shall be there: a manifest's entries, or those of them that are wanted. */
  readonly entries: readonly ManifestEntry[];
  readonly roots: readonly SyncRoot[];
  /**
   * Where a root's tree is built: absolute, beside what it will replace, and nothing but builds of ours. What is there already and is wanted
   * stays; what is not is removed. The directory that holds it must exist.
   */
  readonly building: (root: SyncRoot) => string;
  /** Where a living copy of a root may be: files of the same bytes are copied from there instead of fetched. Only read. */
  readonly reuse?: (root: SyncRoot) => string | undefined;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: PullProgress) => void;
  /** Requests under way at once, from 1. Each takes a few hundred kilobytes of memory, whatever the file's size. Default 8. */
  readonly parallel?: number;
  /** Told where the pull is, for tests that kill it there. */
  readonly at?: (point: string) => void;
}

export interface PullResult {
  /** Files that came from the store. */
  readonly fetched: number;
  /** Files that were copied from the living tree, or from another one with the same bytes. */
  readonly copied: number;
  /** Files that were there already, from a pull that did not get to its end. */
  readonly kept: number;
  /** Bytes that came from the store. */
  readonly fetchedBytes: number;
  /** By path. Everything else is in place. */
  readonly bad: readonly BadEntry[];
}

const parallelDefault = 8;

/**
 * Builds the trees that the entries describe, beside the living ones. A pull that failed or was killed is begun again with the
 * same `building`, and goes on from what is complete there.
 *
 * Durability point: when it resolves, everything but what is named as bad survives a power cut, with its mode and time.
 *
 * @throws {FileSyncError} `PATH_UNSAFE`: the entries are no tree inside of the roots, and nothing was written. `ROOT_UNUSABLE`: the file system
 *   refuses.
 * @throws {ObjectStoreError} if the store fails otherwise than by not having a blob.
 */
export async function pullTree(options: PullOptions): Promise<PullResult> {
  const { store, signal, onProgress, at } = options;
  const { plan, places, parallel } = await lookAndPlan(options, true);
  // Each content takes one request, and its body is read before anything else is asked for.
  const limited = new LimitedStore(store, parallel);
  const build = { store: limited, places, parallel, signal, onProgress, at };
  const { fetched, copied, fetchedBytes, bad } = await buildTree(plan, build);
  return { fetched, copied, kept: plan.keep.length, fetchedBytes, bad };
}

/** What a pull would do now. Nothing is written, and the store is not asked. @throws as `pullTree`. */
export async function previewPull(options: PullOptions): Promise<PullPlan> {
  return (await lookAndPlan(options, false)).plan;
}

async function lookAndPlan(
  { entries, roots, building, reuse, signal, parallel = parallelDefault }: PullOptions,
  prepare: boolean,
): Promise<{
  readonly plan: PullPlan;
  readonly places: readonly TreePlace[];
  readonly parallel: number;
}> {
  const places = roots.map((root) => ({
    name: root.name,
    building: building(root),
    live: reuse?.(root),
  }));
  for (const [index, root] of roots.entries()) await checkIsBeside(root, places[index]?.building);
  const files = entries.filter((entry) => entry.kind === "file");
  const present = await lookAtPlaces(places, files, { parallel, signal, prepare });
  return { plan: planPull(entries, roots, present), places, parallel };
}

/** A build removes what is not wanted, so the living tree must not be in it, nor be it. */
async function checkIsBeside({ name, path }: SyncRoot, building = ""): Promise<void> {
  const [live, built] = [await resolveLinks(path), await resolveLinks(building)];
  const way = relative(built, live);
  if (way === ".." || way.startsWith(`..${sep}`) || isAbsolute(way)) return;
  throw new FileSyncError(
    "ROOT_UNUSABLE",
    `${building} is no place to build ${name} in: its living tree ${path} is there`,
    "Choose a directory beside it, which nothing else uses.",
  );
}

async function resolveLinks(path: string): Promise<string> {
  return await realpath(path).catch((error: unknown) =>
    errnoOf(error) === "ENOENT" ? resolve(path) : rootUnusable(path)(error),
  );
}
