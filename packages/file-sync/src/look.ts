import { runBounded } from "./bounded.ts";
import { type Comparison, compareTree, type EntryMap, unseenPaths } from "./compare-tree.ts";
import { digestFile, FileUnreadError } from "./digest.ts";
import { cacheOwner, loadDigestCache, saveDigestCache } from "./digest-cache.ts";
import type { Note } from "./events.ts";
import { KnownFiles } from "./known-files.ts";
import { type PushPlan, planPush } from "./plan-push.ts";
import type { FilePusherOptions } from "./push-types.ts";
import { rootNameOf } from "./safe-path.ts";
import {
  type FileSighting,
  type RootIdentity,
  type RootScan,
  resolveExcluded,
  scanRoot,
} from "./scan.ts";
import { rememberDigest } from "./store-file.ts";

const settleMsUsual = 2_000;
const readsMax = 4;

/**
 * Looks at the roots, and plans what to push. Owns what is remembered from look to look: files and their digests, since when a file
 * has been gone, and which directory each root was. The first and the last of these survive a restart.
 */
export class Looker {
  readonly #options: FilePusherOptions;
  readonly #owner: string;
  readonly known: KnownFiles;
  readonly #rootIdentities: Map<string, RootIdentity>;
  readonly #goneSinceMs = new Map<string, number>();
  #isIdentityChanged = false;

  private constructor(
    options: FilePusherOptions,
    owner: string,
    known: KnownFiles,
    rootIdentities: ReadonlyMap<string, RootIdentity>,
  ) {
    this.#options = options;
    this.#owner = owner;
    this.known = known;
    this.#rootIdentities = new Map(rootIdentities);
  }

  static async open(options: FilePusherOptions): Promise<Looker> {
    const owner = cacheOwner(options.store.properties.location, options.roots);
    const cache = await loadDigestCache(options.stateDirectory, owner);
    const { files = [], rootIdentities = new Map() } = cache ?? {};
    return new Looker(options, owner, new KnownFiles(files), rootIdentities);
  }

  get settleMs(): number {
    return this.#options.settleMs ?? settleMsUsual;
  }

  /** @param base - what the newest manifest says. */
  async look(base: EntryMap, signal: AbortSignal | undefined): Promise<PushPlan> {
    const { roots, exclude = [], nowMs } = this.#options;
    const lookMs = nowMs();
    const scanOptions = { exclude: await resolveExcluded(exclude), signal };
    const scans = await Promise.all(roots.map((root) => scanRoot(root, scanOptions)));
    const files = scans.flatMap(({ sightings }) => sightings.filter(isFile));
    this.known.look(files, lookMs, unseenPaths(scans));

    const { comparison, notes } = await this.#compare(base, scans, signal);
    const plan = await this.#plan(base, scans, comparison, lookMs);
    this.#takeRoots(scans, plan.soundRoots);
    const problems = scans.flatMap((scan) => scan.problems);
    return { ...plan, notes: [...problems, ...notes, ...plan.notes] };
  }

  /** Durable when it resolves, if there was something to save. @returns whether there was. */
  async save(): Promise<boolean> {
    if (!this.known.isChanged && !this.#isIdentityChanged) return false;
    this.#isIdentityChanged = false;
    await saveDigestCache(this.#options.stateDirectory, this.#owner, {
      files: this.known.takeCertain(),
      rootIdentities: this.#rootIdentities,
    });
    return true;
  }

  /** Reads those files of which nothing else tells whether they are the manifest's. */
  async #compare(
    base: EntryMap,
    scans: readonly RootScan[],
    signal: AbortSignal | undefined,
  ): Promise<{ readonly comparison: Comparison; readonly notes: readonly Note[] }> {
    const digests = new Map<string, string>();
    const notes: Note[] = [];
    const digestOf = (file: FileSighting): string | undefined =>
      digests.get(file.path) ?? this.known.certainDigest(file);
    const deps = { known: this.known, clocks: this.#options };
    const first = compareTree(base, scans, digestOf);
    if (first.unread.length === 0) return { comparison: first, notes };
    await runBounded(first.unread, { countMax: readsMax }, async (file) => {
      try {
        const read = async () => ({ sha256: await digestFile(file, signal) });
        digests.set(file.path, (await rememberDigest(file, deps, read)).sha256);
      } catch (error) {
        if (!(error instanceof FileUnreadError)) throw error;
        notes.push({ kind: error.kind, path: file.path, reason: error.message });
      }
    });
    const comparison = compareTree(base, scans, digestOf);
    // What could not be read stays as the manifest has it.
    const unseen = comparison.unread.flatMap(({ path }) => base.get(path) ?? []);
    return { comparison: { ...comparison, unseen: [...comparison.unseen, ...unseen] }, notes };
  }

  async #plan(
    base: EntryMap,
    scans: readonly RootScan[],
    comparison: Comparison,
    lookMs: number,
  ): Promise<PushPlan> {
    const changes = comparison.changes.map(({ change }) => change);
    const gone = changes.flatMap(({ kind, path }) => (kind === "removed" ? path : []));
    this.#noteGone(gone, lookMs);
    const verdicts = changes.length === 0 ? [] : await this.#options.judge(changes);
    if (verdicts.length !== changes.length) {
      throw new RangeError(`${verdicts.length} verdicts on ${changes.length} changes`);
    }
    const sinceMs = (path: string) => this.#goneSinceMs.get(path) ?? this.known.seenMs(path);
    return planPush(base, scans, comparison, {
      verdicts,
      isSettled: (path) => lookMs - sinceMs(path) >= this.settleMs,
      rootIdentities: this.#rootIdentities,
    });
  }

  /** A file that a look in between has seen is gone since later. */
  #noteGone(paths: readonly string[], lookMs: number): void {
    const before = new Map(this.#goneSinceMs);
    this.#goneSinceMs.clear();
    for (const path of paths) this.#goneSinceMs.set(path, before.get(path) ?? lookMs);
  }

  #takeRoots(scans: readonly RootScan[], soundRoots: readonly string[]): void {
    for (const { root, identity } of scans) {
      if (identity === undefined || !soundRoots.includes(root.name)) continue;
      const before = this.#rootIdentities.get(root.name);
      if (before?.inode !== identity.inode) this.#isIdentityChanged = true;
      this.#rootIdentities.set(root.name, identity);
    }
    // Only looks into a living directory count as looks at what is gone from it.
    for (const path of this.#goneSinceMs.keys()) {
      if (!soundRoots.includes(rootNameOf(path))) this.#goneSinceMs.delete(path);
    }
  }
}

function isFile(sighting: RootScan["sightings"][number]): sighting is FileSighting {
  return sighting.kind === "file";
}
