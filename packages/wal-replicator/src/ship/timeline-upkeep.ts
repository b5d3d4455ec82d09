import { join } from "node:path";
import { invariant, ReplicationError } from "../errors.ts";
import type { MaintenanceEvent } from "../maintain/events-of-maintenance.ts";
import { Maintainer } from "../maintain/maintainer.ts";
import type { MaintenancePolicy } from "../maintain/policy.ts";
import { Retainer } from "../maintain/retain.ts";
import type { Catalog, ReplicaFile } from "../replica/catalog.ts";
import type { TimelinePosition } from "../replica/epoch-record.ts";
import type { LocalLtxFile } from "../replica/replica.ts";
import { snapshotLevel } from "../replica/replica-layout.ts";
import type { MaintenanceFailure, MaintenanceStatus } from "../replication.ts";
import { lastProven } from "../verify/proofs.ts";
import { storeBase } from "./base.ts";
import type { Holding } from "./claim.ts";
import { describeFailure } from "./describe-failure.ts";
import { MaintenanceLoop } from "./maintenance-loop.ts";
import { defaultSpoolCopyPolicy } from "./plan-spool-copies.ts";
import { raceAbort } from "./race-abort.ts";
import type { SessionDeps } from "./session-deps.ts";
import { type SnapshotDeps, type SnapshotFile, SnapshotMaker } from "./snapshot.ts";
import type { Spool } from "./spool.ts";

export interface TimelineUpkeepDeps {
  readonly world: SessionDeps;
  readonly spool: Spool;
  readonly snapshots: SnapshotDeps;
  /** Writes a file of the timeline, once the epoch is proved to be ours still. */
  readonly put: (file: LocalLtxFile, level: number, signal: AbortSignal) => Promise<ReplicaFile>;
  /** To be awaited before anything is written or deleted. Throws `Fenced`, or the store's error. */
  readonly beforeWrite: (signal: AbortSignal) => Promise<Holding>;
  /** Positions at which the database was found sound: to be kept as what drills have proved. */
  readonly sound: () => readonly TimelinePosition[];
  /** Errors that no repetition can mend: somebody took over, or writes into our timeline. */
  readonly isFatal: (error: unknown) => boolean;
}

/**
 * What a session does for its timeline besides shipping: the base of one that branched off, and, while it holds a writer's epoch, maintenance.
 * No capture, no upload and no end waits for any of it.
 */
export class TimelineUpkeep {
  readonly #deps: TimelineUpkeepDeps;
  readonly #snapshots: SnapshotMaker;
  /** The newest snapshot that was made, wherever it is. */
  #snapshot: SnapshotFile["name"] | undefined;
  readonly #failures = new Map<string, MaintenanceFailure>();
  #lastCompactedAtMs: number | undefined;
  #lastSnapshotAtMs: number | undefined;
  /** Waits for a capture or an upload, which are none of its own. */
  #waitCount = 0;
  #running:
    | {
        readonly maintainer: Maintainer;
        readonly loop: MaintenanceLoop;
        readonly retainer: Retainer;
      }
    | undefined;
  /** What drills have proved, as the store said last. */
  #proven: { readonly askedMs: number; readonly points: readonly TimelinePosition[] } | undefined;

  constructor(deps: TimelineUpkeepDeps) {
    this.#deps = deps;
    const { pass, storedSoFar } = deps.snapshots;
    this.#snapshots = new SnapshotMaker({
      ...deps.snapshots,
      pass: () => this.#waitFor(pass()),
      storedSoFar: (signal) => this.#waitFor(storedSoFar(signal)),
    });
  }

  /** A step of the maintenance is under way, and it is its own turn. */
  get isMaintaining(): boolean {
    return this.#running?.loop.isUnderWay === true && this.#waitCount === 0;
  }

  /** Where maintenance builds its files. */
  get scratchDirectory(): string {
    return join(this.#deps.spool.directory, "maintenance");
  }

  /** @returns undefined if this stream does no maintenance. */
  get status(): MaintenanceStatus | undefined {
    if (this.#deps.world.maintenance === undefined) return undefined;
    return {
      failures: [...this.#failures.values()],
      lastCompactedAtMs: this.#lastCompactedAtMs,
      lastSnapshotAtMs: this.#lastSnapshotAtMs,
      retentionHeld: this.#running?.retainer.held,
    };
  }

  /** Something was stored: there may be work, which is not urgent, and less of it is made if some more comes first. */
  wake(): void {
    const [intervalMs = 0] = this.#deps.world.maintenance?.levelIntervalsMs ?? [];
    this.#running?.loop.wake(intervalMs / 10);
  }

  /** Stores the base of the timeline, trying until the signal is aborted. @throws what is fatal. */
  storeBase(signal: AbortSignal): Promise<void> {
    const { world, spool, put, isFatal } = this.#deps;
    return storeBase(
      {
        makeSnapshot: (directory, until) => this.#makeSnapshot(directory, until),
        put: (file, until) => put(file, snapshotLevel, until),
        directory: join(spool.directory, spool.state?.timeline ?? ""),
        at: world.at,
        sleep: world.sleep,
        onStored: ({ name, size }, key) => {
          world.emit({ type: "base-stored", txid: name.maxTxid, key, bytes: size });
        },
        onFailing: (error) => world.emit({ type: "base-failing", ...describeFailure(error) }),
        isFatal,
      },
      signal,
    );
  }

  /** Maintains the timeline until the signal is aborted, which ends a merge at once. @throws what is fatal. */
  async maintain(catalog: Catalog, signal: AbortSignal): Promise<void> {
    const { world, spool } = this.#deps;
    const { maintenance: policy } = world;
    if (policy === undefined || signal.aborted) return;
    await spool.keepCopies(defaultSpoolCopyPolicy);
    const retainer = this.#retainer(catalog, policy);
    const maintainer = this.#maintainer(catalog, policy, retainer);
    const loop = new MaintenanceLoop({
      step: async (until) => {
        const nextMs = await maintainer.step(until);
        const covered = catalog.level(1).at(-1);
        if (covered !== undefined) await spool.dropCopies(covered.maxTxid);
        return nextMs;
      },
      now: world.now,
      sleep: world.sleep,
    });
    this.#running = { maintainer, loop, retainer };
    try {
      await loop.run(signal);
    } finally {
      this.#running = undefined;
    }
  }

  /**
   * Has maintenance store a snapshot of the newest stored state now.
   *
   * @returns what it is of. @throws {ReplicationError} `OPTIONS_CONFLICT` where nothing is maintained; the signal's reason.
   */
  async storeSnapshot(signal: AbortSignal): Promise<SnapshotFile["name"]> {
    if (this.#running === undefined) {
      throw new ReplicationError(
        "OPTIONS_CONFLICT",
        "this stream makes no snapshots: it does no maintenance, or holds no epoch at present",
        "Ask again once `status()` names an epoch, of a stream whose option `maintenance` is not false.",
      );
    }
    const { maintainer, loop } = this.#running;
    const requested = maintainer.requestSnapshot();
    loop.wake(0);
    const { maxTxid } = await raceAbort(requested, signal);
    // Also where it lay in the store already: it was made, and found there.
    const snapshot = this.#snapshot;
    invariant(snapshot?.maxTxid === maxTxid, "a stored snapshot was made here");
    return snapshot;
  }

  #retainer(catalog: Catalog, policy: MaintenancePolicy): Retainer {
    const { world, beforeWrite } = this.#deps;
    return new Retainer({
      root: world.retryingReplica,
      catalog,
      policy,
      beforeWrite,
      proven: (signal) => this.#provenPoints(policy, signal),
      now: world.now,
      at: world.at,
      emit: world.emit,
    });
  }

  /** Nothing younger than the grace time is deleted: asked as often, what was proved meanwhile is known in time. */
  async #provenPoints(
    { graceMs }: MaintenancePolicy,
    signal: AbortSignal,
  ): Promise<readonly TimelinePosition[]> {
    const { world, sound } = this.#deps;
    const askedMs = world.now();
    if (this.#proven === undefined || Math.abs(askedMs - this.#proven.askedMs) >= graceMs) {
      const proven = await lastProven(world.retryingReplica, { signal });
      this.#proven = { askedMs, points: proven === undefined ? [] : [proven] };
    }
    return [...this.#proven.points, ...sound()];
  }

  #maintainer(catalog: Catalog, policy: MaintenancePolicy, retainer: Retainer): Maintainer {
    const { world, spool, beforeWrite, isFatal } = this.#deps;
    return new Maintainer({
      root: world.retryingReplica,
      catalog,
      policy,
      beforeWrite,
      localCopy: ({ level, minTxid, maxTxid }) =>
        level === 0 ? spool.localCopy(minTxid, maxTxid) : undefined,
      makeSnapshot: (directory, signal) => this.#makeSnapshot(directory, signal),
      scratchDirectory: this.scratchDirectory,
      retain: (signal) => retainer.retain(signal),
      now: world.now,
      at: world.at,
      emit: (event) => this.#onEvent(event),
      isFatal,
    });
  }

  async #waitFor(others: Promise<void>): Promise<void> {
    this.#waitCount += 1;
    try {
      await others;
    } finally {
      this.#waitCount -= 1;
    }
  }

  async #makeSnapshot(directory: string, signal: AbortSignal): Promise<SnapshotFile> {
    const file = await this.#snapshots.make(directory, signal);
    this.#snapshot = file.name;
    return file;
  }

  #onEvent(event: MaintenanceEvent): void {
    const nowMs = this.#deps.world.now();
    if (event.type === "compacted") this.#lastCompactedAtMs = nowMs;
    if (event.type === "snapshot-stored") this.#lastSnapshotAtMs = nowMs;
    if (event.type === "maintenance-failing") {
      const { work, level, code, message, sinceMs } = event;
      this.#failures.set(`${work} ${level}`, { work, level, code, message, sinceMs });
    }
    if (event.type === "maintenance-recovered") {
      this.#failures.delete(`${event.work} ${event.level}`);
    }
    this.#deps.world.emit(event);
  }
}
