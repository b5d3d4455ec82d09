import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  chooseManifest,
  listManifests,
  type PruneResult,
  prune,
  readManifest,
} from "@vaultwarden-stream/file-sync";
import { BlobWriter, ManifestLog } from "@vaultwarden-stream/file-sync/internals";
import { isNotFound, type ObjectStore, ObjectStoreError } from "@vaultwarden-stream/object-store";
import { formatTxid } from "wal-replicator";
import {
  type Catalog,
  type EpochMode,
  type EpochRecord,
  formatLtxKey,
  type LocalLtxFile,
  lineOf,
  listTimeline,
  Maintainer,
  type MaintenanceEvent,
  type MaintenancePolicy,
  offeredInstants,
  type ReplicaFile,
  type ReplicaRoot,
  Retainer,
  type RetentionEvent,
  type TimelineFiles,
  type TimelinePosition,
  timelinePrefix,
  toTxid,
  writeTimelineFile,
} from "wal-replicator/internals";
import type { CapturedState, Line } from "./line.ts";
import { encodeChange, type PageChange } from "./model-database.ts";
import type { ModelVault } from "./model-vault.ts";
import { hour, type VirtualClock } from "./virtual-clock.ts";

/** What outlives a process on its machine. */
export interface Machine {
  readonly line: Line;
  readonly vault: ModelVault;
  /** What is captured and not stored yet, oldest first. */
  readonly spool: CapturedState[];
  /** The newest TXID that the store has confirmed; 0: none. */
  storedTxid: number;
  /** A full copy of what is captured by now. */
  readonly fullCopy: () => {
    readonly change: PageChange;
    readonly rollingChecksum: string;
    readonly timestampMs: number;
  };
}

export interface DaemonOptions {
  readonly machine: Machine;
  readonly record: EpochRecord;
  readonly mode: EpochMode;
  /** By who asks: the same store behind faults and counts. */
  readonly storeFor: (
    asker: "ship" | "maintain" | "retain" | "files" | "prune" | "start",
  ) => ObjectStore;
  readonly policy: MaintenancePolicy;
  readonly clock: VirtualClock;
  /** Of this process alone. */
  readonly directory: string;
  readonly keepsCopies: boolean;
  readonly proven: () => readonly { readonly timeline: string; readonly txid: number }[];
  readonly emit: (event: MaintenanceEvent | RetentionEvent) => void;
  /** Called at the maintainer's crash points; throws to kill. */
  readonly at: (point: string) => void;
}

export const prefix = "vault/";
export const timelinesUnder = "db/";
const copiesMax = 256;
/** Well above the hour for which a pusher trusts a blob that it sent and nobody names yet. */
export const pruneGraceMs: number = 3 * hour;

/**
 * One life of the process that streams a vault: ships, maintains, pushes files. The shipper and the capture are models; what maintains is the
 * engine's own, and so are the writers of blobs and manifests.
 */
export class Daemon {
  readonly machine: Machine;
  readonly record: EpochRecord;
  readonly catalog: Catalog;
  readonly policy: MaintenancePolicy;
  readonly #options: DaemonOptions;
  readonly #maintainer: Maintainer;
  readonly #copies = new Map<number, LocalLtxFile>();
  #shipping: Promise<boolean> | undefined;
  #files: { readonly blobs: BlobWriter; readonly log: ManifestLog } | undefined;

  /** Lists the timeline. @throws what the store throws; then there is no process. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const root = rootOf(options.storeFor("start"));
    return new Daemon(options, await listTimeline(root, options.record.timeline));
  }

  private constructor(options: DaemonOptions, catalog: Catalog) {
    const { machine, record, mode, policy, clock, directory, proven, emit, at } = options;
    this.#options = options;
    this.machine = machine;
    this.record = record;
    this.catalog = catalog;
    this.policy = policy;
    mkdirSync(join(directory, "copies"), { recursive: true });
    const beforeWrite = async () => ({ record, mode });
    const retainer = new Retainer({
      root: rootOf(options.storeFor("retain")),
      catalog,
      policy,
      beforeWrite,
      proven: async () => proven().map(({ timeline, txid }) => ({ timeline, txid: toTxid(txid) })),
      now: () => clock.machineMs,
      at,
      emit,
    });
    this.#maintainer = new Maintainer({
      root: rootOf(options.storeFor("maintain")),
      catalog,
      policy,
      beforeWrite,
      localCopy: ({ maxTxid }: ReplicaFile) => this.#copies.get(Number(maxTxid)),
      makeSnapshot: (into) => this.#makeSnapshot(into),
      scratchDirectory: join(directory, "maintenance"),
      retain: (signal: AbortSignal) => retainer.retain(signal),
      now: () => clock.engineMs,
      at,
      emit: (event: MaintenanceEvent) => {
        if (event.type === "compacted" && event.level === 1)
          this.#dropCopies(Number(event.maxTxid));
        emit(event);
      },
      // Killed: by the simulation.
      isFatal: (error: unknown) =>
        ["FOREIGN_WRITE", "KILLED"].includes(String((error as { code?: unknown }).code)),
    });
  }

  /** Sends what waits, in order, one after the other whoever asks. @returns whether all of it is stored. */
  async ship(): Promise<boolean> {
    this.#shipping ??= this.#shipAll().finally(() => {
      this.#shipping = undefined;
    });
    return await this.#shipping;
  }

  async #shipAll(): Promise<boolean> {
    const { machine } = this;
    for (let next = machine.spool[0]; next !== undefined; next = machine.spool[0]) {
      if (!(await this.#shipOne(next))) return false;
      machine.spool.shift();
      machine.storedTxid = next.txid;
    }
    return true;
  }

  /** @returns when to look again, by the engine's clock. */
  async maintain(): Promise<number> {
    return await this.#maintainer.step(new AbortController().signal);
  }

  /**
   * A full copy at level 9: what a timeline that branched off needs to be restored alone.
   *
   * @returns false as long as the timeline has nothing of its own: the copy would be its only file.
   */
  async storeBase(): Promise<boolean> {
    const { record, mode, storeFor, directory } = this.#options;
    const { line, storedTxid } = this.machine;
    if (line.last < line.first || storedTxid < line.last) return false;
    const file = await this.#makeSnapshot(directory);
    try {
      this.catalog.add(await writeTimelineFile(rootOf(storeFor("ship")), record, mode, file, 9));
    } finally {
      rmSync(file.path, { force: true });
    }
    return true;
  }

  /** Stores the vault's files as they are now. @throws what the store throws. */
  async pushFiles(): Promise<true> {
    const { machine, record } = this;
    const { clock, storeFor } = this.#options;
    const time = new Date(clock.engineMs);
    this.#files ??= await this.#openFiles(storeFor("files"));
    const { blobs, log } = this.#files;
    const sent = { blobs: 0, bytes: 0 };
    for (const digest of new Set(machine.vault.tree.values())) {
      const content = machine.vault.content(digest);
      if (!(await blobs.put(digest, content, undefined))) continue;
      sent.blobs += 1;
      sent.bytes += content.length;
    }
    const entries = machine.vault.entries();
    const txid = formatTxid(toTxid(Math.max(1, machine.line.last)));
    const { timeline, epoch } = record;
    await log.commit({ timeline, epoch, txid, time, entries }, sent, undefined);
    blobs.setNamed(log.entries);
    return true;
  }

  /** As the vault's daemon does it once a day. @returns what it said. */
  async pruneFiles(force: boolean): Promise<PruneResult> {
    const { clock, policy, storeFor } = this.#options;
    const store = storeFor("prune");
    const { line } = this.machine;
    const timelines = new Map<string, TimelineFiles>();
    for (const { line: part } of line.lineage()) {
      const { files } = await listTimeline(rootOf(store), part.name);
      timelines.set(part.name, { timeline: part.name, parent: positionOf(part), files });
    }
    const offered = offeredInstants(lineOf(line.name, timelines), policy, clock.machineMs);
    return await prune({
      store,
      lineages: [lineageOf(line)],
      moments: offered.map(({ at }) => at),
      precisions: policy.keepMs.map((keepMs, level) => ({
        keepMs,
        windowMs: policy.levelIntervalsMs[level - 1] ?? 0,
      })),
      isNamedElsewhere: () => true,
      graceMs: pruneGraceMs,
      force,
      now: () => new Date(clock.machineMs),
    });
  }

  async #openFiles(store: ObjectStore) {
    const { clock } = this.#options;
    const refs = await listManifests(store);
    const ref = chooseManifest(refs, lineageOf(this.machine.line));
    const newest = ref && (await readManifest(store, ref));
    const clocks = { now: () => new Date(clock.machineMs), nowMs: () => clock.nowMs };
    const blobs = new BlobWriter(store, clocks);
    const log = new ManifestLog({ store, onEvent: () => undefined }, newest);
    blobs.setNamed(log.entries);
    return { blobs, log };
  }

  /** @returns false if it has to be tried again. */
  async #shipOne(state: CapturedState): Promise<boolean> {
    const { rollingChecksum, timestampMs, change } = state;
    const txid = toTxid(state.txid);
    const name = { minTxid: txid, maxTxid: txid, rollingChecksum };
    const bytes = encodeChange(change, { ...name, timestampMs });
    try {
      if (!this.#options.keepsCopies && (await this.#putNew(state, bytes))) return true;
      await this.#putAsEngine(name, bytes);
      return true;
    } catch (error) {
      if (!(error instanceof ObjectStoreError) || isNotFound(error)) throw error;
      return false;
    }
  }

  /** Without the way over a file, which is most of what a simulated upload costs. @returns false if there is something under the key. */
  async #putNew(
    { txid, timestampMs, rollingChecksum }: CapturedState,
    bytes: Uint8Array,
  ): Promise<boolean> {
    const { storeFor, record, mode } = this.#options;
    const { timeline, nonce } = record;
    const parts = { level: 0, minTxid: toTxid(txid), maxTxid: toTxid(txid) };
    const key = prefix + timelinePrefix(timelinesUnder, timeline) + formatLtxKey(parts, "s3");
    const createdAt = new Date(timestampMs);
    const metadata = { "rolling-checksum": rollingChecksum, "epoch-nonce": nonce };
    const put = { timestamp: createdAt, metadata };
    const store = storeFor("ship");
    if (mode.kind === "detected") await store.put(key, bytes, put);
    else if ((await store.putIfAbsent(key, bytes, put)) === "exists") return false;
    this.catalog.add({ ...parts, timeline, key, size: bytes.length, createdAt });
    return true;
  }

  /** From a file, which stays as the spool's copy. */
  async #putAsEngine(name: LocalLtxFile["name"], bytes: Uint8Array): Promise<void> {
    const { storeFor, record, mode, keepsCopies, directory } = this.#options;
    const txid = Number(name.maxTxid);
    const path = join(directory, "copies", `${txid}.ltx`);
    writeFileSync(path, bytes);
    const file = { path, size: bytes.length, name };
    try {
      this.catalog.add(await writeTimelineFile(rootOf(storeFor("ship")), record, mode, file));
    } catch (error) {
      rmSync(path);
      throw error;
    }
    this.#copies.set(txid, file);
    this.#dropCopies(txid - (keepsCopies ? copiesMax : 0));
  }

  #dropCopies(upTo: number): void {
    for (const [txid, { path }] of this.#copies) {
      if (txid > upTo) break;
      rmSync(path, { force: true });
      this.#copies.delete(txid);
    }
  }

  async #makeSnapshot(directory: string): Promise<LocalLtxFile> {
    const { machine } = this;
    // As the engine does: only what is stored already.
    if (machine.spool.length > 0 && !(await this.ship())) throw new Error("not all is stored yet");
    const { change, rollingChecksum, timestampMs } = machine.fullCopy();
    const name = { minTxid: toTxid(1), maxTxid: toTxid(machine.line.last), rollingChecksum };
    const bytes = encodeChange(change, { ...name, timestampMs });
    const path = join(directory, "snapshot.tmp");
    writeFileSync(path, bytes);
    return { path, size: bytes.length, name };
  }
}

export function rootOf(store: ObjectStore): ReplicaRoot {
  return { store, prefix, timelinesUnder };
}

/** Where a line branched off, as records have it. */
export function positionOf({ parent }: Pick<Line, "parent">): TimelinePosition | null {
  return parent === undefined ? null : { timeline: parent.line.name, txid: toTxid(parent.txid) };
}

/** The line as manifests are chosen by it. */
export function lineageOf(line: Line): { timeline: string; upToTxid: string | undefined }[] {
  return [...line.lineage()].map(({ line: { name }, upTo }) => ({
    timeline: name,
    upToTxid: Number.isFinite(upTo) ? formatTxid(toTxid(Math.max(1, upTo))) : undefined,
  }));
}
