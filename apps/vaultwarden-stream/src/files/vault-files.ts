import { existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Change,
  chooseManifest,
  type FilePusher,
  type FilePusherStatus,
  FileSyncError,
  type FileSyncEvent,
  listManifests,
  type Manifest,
  type ManifestRef,
  manifestKey,
  openFilePusher,
  type PruneResult,
  PushLoop,
  type PushOutcome,
  pullTree,
  type RootWatch,
  readManifest,
  type SyncRoot,
  swapTrees,
  type Verdict,
  watchRoots,
} from "@vaultwarden-stream/file-sync";
import type { ObjectStore } from "@vaultwarden-stream/object-store";
import { asidePath, type ReplicaListing, ReplicationError } from "wal-replicator";
import { lineageOf } from "../restore/lineage.ts";
import { isRestoreName, treePlaces } from "../restore/tree-places.ts";
import { contentChecks } from "./check-content.ts";
import { FilePrune } from "./file-prune.ts";
import { judgeChanges } from "./judge-changes.ts";
import { createSigningKey } from "./signing-key.ts";
import type { StreamPlace, StreamPlaceTracker } from "./stream-place.ts";
import { UnfinishedFiles } from "./unfinished-files.ts";
import { rootNames } from "./vault-roots.ts";
import { readVaultRows } from "./vault-rows.ts";

export interface VaultFilesOptions {
  /** What is kept in the store; may be empty. */
  readonly roots: readonly SyncRoot[];
  /** Absolute paths that are never looked into. */
  readonly exclude: readonly string[];
  readonly store: ObjectStore;
  /** What the store holds of the database: asked only where this timeline and its parent have no manifest. */
  readonly listReplica: (signal: AbortSignal) => Promise<ReplicaListing>;
  readonly database: string;
  readonly stateDirectory: string;
  readonly lookIntervalMs: number;
  /** How far back moments can be asked for, in milliseconds; older manifests, and blobs that nothing names, are deleted. */
  readonly retentionMs: number;
  /** The stored key may be replaced by another one. */
  readonly acceptsNewKey: boolean;
  readonly place: StreamPlaceTracker;
  readonly onEvent: (event: FileSyncEvent) => void;
  /** Something was deleted that no moment needs any more, or could not be. */
  readonly onPruned: (result: PruneResult | { readonly error: unknown }) => void;
  /** After each look, and whenever one fails. */
  readonly onLook: (state: VaultFilesState) => void;
}

export interface VaultFilesState extends FilePusherStatus {
  readonly roots: number;
  /** Key of the newest manifest of our line. */
  readonly manifest: string | undefined;
}

/** What the end could not do. */
export type UnstoredFiles = { readonly paths: readonly string[]; readonly why: string } | undefined;

/**
 * The vault's files, from its start to its end: the key is there and stored before the server is started, what changes is stored soon after, and
 * the last state goes to the store before the epoch is released. A store that is away delays files and stops nothing.
 */
export class VaultFiles {
  readonly #options: VaultFilesOptions;
  /** Of our line; null: not asked yet. */
  #base: Manifest | undefined | null = null;
  #newest: ManifestRef | undefined;
  #pusher: FilePusher | undefined;
  #loop: PushLoop | undefined;
  #running: Promise<void> | undefined;
  #watch: RootWatch | undefined;
  readonly #prune: FilePrune;
  #isPruneDue = false;
  readonly #unfinished = new UnfinishedFiles(() => performance.now());

  constructor(options: VaultFilesOptions) {
    this.#options = options;
    const { store, listReplica, retentionMs, onPruned } = options;
    const clocks = { now: () => new Date(), nowMs: () => performance.now() };
    this.#prune = new FilePrune({ store, listReplica, retentionMs, onPruned, ...clocks });
  }

  /**
   * Before the server starts: finds out what the store has, and sees to the key that signs logins. A stored one that is missing here is brought
   * back; where there is none at all, one is made and stored.
   *
   * @throws {ReplicationError} `START_REFUSED` if the key is missing here and the store does not say whether it has one: a new one would end every
   *   login. Any other failure of the store is an event, and tried again later.
   */
  async begin(signal: AbortSignal): Promise<void> {
    if (this.#options.roots.length === 0) return;
    const key = this.#options.roots.find(({ name }) => name === rootNames.rsaKey);
    const isKeyMissing = key !== undefined && !existsSync(key.path);
    try {
      await this.#open(signal);
    } catch (error) {
      signal.throwIfAborted();
      if (isKeyMissing) throw keyUnknown(key.path, error);
      this.#options.onEvent({ type: "failing", error, retryMs: 0 });
      return;
    }
    if (!isKeyMissing) return;
    if (await this.#bringBack(key, signal)) return;
    await createSigningKey(key.path);
    // Stored before anybody can log in with it.
    await this.#push(signal);
  }

  /** From now on changes are stored, soon after they are seen. */
  start(): void {
    const { roots, exclude, lookIntervalMs, onEvent } = this.#options;
    if (roots.length === 0) return;
    const loop = new PushLoop({
      push: async (signal) => {
        const outcome = await this.#push(signal);
        // Only if something was stored since the last time, so that idle is idle; and never at the end, which is in a hurry.
        if (this.#isPruneDue && (await this.#prune.runIfDue(this.#place().timeline, signal))) {
          this.#isPruneDue = false;
        }
        return outcome;
      },
      lookIntervalMs,
      nowMs: () => performance.now(),
      sleep: pause,
      onEvent: (event) => this.#say(event),
    });
    this.#loop = loop;
    this.#running = loop.run();
    const onFailing = (error: unknown): void => onEvent({ type: "watch-failing", error });
    watchRoots({ roots, exclude, onHint: () => loop.hint(), onFailing }).then((watch) => {
      this.#watch = watch;
    }, onFailing);
  }

  /** The database has changed: what waited for a row may be complete. */
  hint(): void {
    if ((this.#pusher?.status().notes.length ?? 0) > 0) this.#loop?.hint();
  }

  /**
   * After the server has ended: the last look and the last manifest. Nobody may write any more.
   *
   * @param signal - aborted when its time is over. @returns what is not in the store.
   */
  async finish(signal: AbortSignal): Promise<UnstoredFiles> {
    if (this.#options.roots.length === 0) return undefined;
    await this.stop();
    try {
      await this.#push(signal, true);
    } catch (error) {
      const why = signal.aborted ? "there was no time left" : (error as Error).message;
      return { paths: this.#listUnstored(), why };
    }
    const paths = this.#listUnstored();
    return paths.length === 0
      ? undefined
      : { paths, why: "they are not complete or cannot be read" };
  }

  /** Ends without a last push: somebody else has the store, or the start has failed. */
  async stop(): Promise<void> {
    this.#loop?.stop();
    await this.#watch?.close();
    await this.#running;
  }

  async #push(signal: AbortSignal, final = false): Promise<PushOutcome> {
    const pusher = await this.#open(signal);
    const outcome = await pusher.push({ place: () => this.#place(), signal, final });
    this.#report();
    return outcome;
  }

  /** Idempotent, and tried again until the store has said what it has. */
  async #open(signal: AbortSignal): Promise<FilePusher> {
    if (this.#pusher !== undefined) return this.#pusher;
    const { roots, exclude, store, stateDirectory } = this.#options;
    if (this.#base === null) this.#base = await this.#readBase(signal);
    this.#newest = this.#base;
    this.#pusher = await openFilePusher({
      store,
      roots,
      exclude: [...exclude, stateDirectory, ...(await leftByRestores(roots))],
      stateDirectory,
      base: this.#base,
      judge: async (changes) => this.#judge(changes),
      contentChecks,
      now: () => new Date(),
      nowMs: () => performance.now(),
      sleep: (ms, ending) => pause(ms, ending),
      onEvent: (event) => this.#say(event),
    });
    return this.#pusher;
  }

  /** The newest manifest of our line. */
  async #readBase(signal: AbortSignal): Promise<Manifest | undefined> {
    const { store, place, listReplica } = this.#options;
    const { timeline } = this.#place();
    const refs = await listManifests(store, { signal });
    if (refs.length === 0) return undefined;
    const { parent } = place;
    const nearest = [
      { timeline },
      ...(parent === undefined ? [] : [{ timeline: parent.timeline, upToTxid: parent.txid }]),
    ];
    const ref =
      chooseManifest(refs, nearest) ??
      chooseManifest(refs, lineageOf(await listReplica(signal), timeline));
    return ref && readManifest(store, ref, { signal });
  }

  #judge(changes: readonly Change[]): readonly Verdict[] {
    const { database, roots, acceptsNewKey } = this.#options;
    const config = roots.find(({ name }) => name === rootNames.configFile);
    const key = roots.find(({ name }) => name === rootNames.rsaKey);
    const neighbours = [database, ...(key === undefined ? [] : [key.path])];
    const isConfigDirectoryAlive =
      config !== undefined &&
      neighbours.some((path) => dirname(path) === dirname(config.path) && existsSync(path));
    return judgeChanges(changes, {
      rows: readVaultRows(database),
      isConfigDirectoryAlive,
      isAbandoned: (path, size) => this.#unfinished.isAbandoned(path, size),
      acceptsNewKey,
    });
  }

  /** @returns whether the store has it. */
  async #bringBack(key: SyncRoot, signal: AbortSignal): Promise<boolean> {
    const entry = this.#base?.entries.find(({ path }) => path === key.name);
    if (entry === undefined) return false;
    const { store, stateDirectory } = this.#options;
    const [place] = await treePlaces([key], asidePath("", new Date()));
    if (place === undefined) return false;
    const { incoming, aside } = place;
    const { bad } = await pullTree({
      store,
      entries: [entry],
      roots: [key],
      building: () => incoming,
      signal,
    });
    const [first] = bad;
    if (first !== undefined) {
      throw new FileSyncError(
        "BLOB_BAD",
        `${key.path} is missing, and the stored one cannot be used: ${first.why}`,
        "Put the key back from elsewhere. To let the vault make a new one, which ends every login, start it once with SYNC_INCLUDE_CONFIG=false.",
      );
    }
    const journal = join(stateDirectory, "key-swap.json");
    await swapTrees([{ live: key.path, incoming, aside }], { journal });
    await rm(journal, { force: true });
    return true;
  }

  #place(): StreamPlace {
    const { current } = this.#options.place;
    if (current !== undefined) return current;
    throw new ReplicationError(
      "STOPPED",
      "the vault's epoch is not taken yet, so its files cannot be stored",
      "They follow when the store has answered.",
    );
  }

  #say(event: FileSyncEvent): void {
    if (event.type === "pushed") {
      this.#newest = event.manifest;
      this.#isPruneDue = true;
    }
    this.#options.onEvent(event);
    this.#report();
  }

  #report(): void {
    const { roots, onLook } = this.#options;
    const status = this.#pusher?.status();
    if (status === undefined) return;
    const manifest = this.#newest && manifestKey(this.#newest);
    onLook({ ...status, roots: roots.length, manifest });
  }

  /** What is held is stored as it was. */
  #listUnstored(): string[] {
    const status = this.#pusher?.status();
    if (status === undefined) return [];
    const noted = status.notes.filter(({ kind }) => kind !== "held").map(({ path }) => path);
    return [...new Set([...status.unstored, ...noted])].toSorted();
  }
}

/** What a restore keeps inside a root that is a mount point. */
async function leftByRestores(roots: readonly SyncRoot[]): Promise<string[]> {
  const found: string[] = [];
  for (const { kind, path } of roots) {
    if (kind !== "directory" || !existsSync(path)) continue;
    for (const name of await readdir(path)) if (isRestoreName(name)) found.push(join(path, name));
  }
  return found;
}

async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}

function keyUnknown(path: string, cause: unknown): ReplicationError {
  return new ReplicationError(
    "START_REFUSED",
    `${basename(path)}, which signs logins, is missing here, and the store does not say whether it has it: ${(cause as Error).message}`,
    "Start again when the store answers: a new key would end every login.",
    { cause },
  );
}
