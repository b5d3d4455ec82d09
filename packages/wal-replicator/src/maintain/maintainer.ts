import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Catalog, ReplicaFile } from "../replica/catalog.ts";
import { type LocalLtxFile, writeTimelineFile } from "../replica/replica.ts";
import { snapshotLevel } from "../replica/replica-layout.ts";
import { describeFailure } from "../ship/describe-failure.ts";
import { type CompactDeps, compact } from "./compact.ts";
import type { MaintenanceEvent, MaintenanceWork } from "./events-of-maintenance.ts";
import {
  type CompactionJob,
  compactionLevels,
  nextCompactionMs,
  planCompaction,
} from "./plan-compaction.ts";
import { isSnapshotDue } from "./plan-snapshot.ts";
import type { MaintenancePolicy } from "./policy.ts";

export interface MaintainerDeps extends CompactDeps {
  /** What is known of the timeline, listed once: whoever ships adds to it, the maintainer and the retention add and remove. */
  readonly catalog: Catalog;
  readonly policy: MaintenancePolicy;
  /** Writes a full copy of the newest state that is captured and stored to `snapshot.tmp` in the directory. Who gets it removes it. */
  readonly makeSnapshot: (directory: string, signal: AbortSignal) => Promise<LocalLtxFile>;
  /** The maintainer's alone: created when it is needed. What a killed life has left there, `*.tmp`, is removed first. */
  readonly scratchDirectory: string;
  /** Removes what nobody can ask for any more. Called every five minutes, and after each snapshot. */
  readonly retain: (signal: AbortSignal) => Promise<void>;
  /** Milliseconds since the Unix epoch, by the store's clock as far as it is known. */
  readonly now: () => number;
  readonly emit: (event: MaintenanceEvent) => void;
  /** Errors that no repetition can mend: somebody took over, or writes into our timeline. */
  readonly isFatal: (error: unknown) => boolean;
}

/** A part of the work that fails by itself, and that the others do not wait for. */
interface Part {
  readonly work: MaintenanceWork;
  /** Null for what is no compaction. */
  readonly level: number | null;
}

interface Failure {
  readonly sinceMs: number;
  /** Told once, until another one follows. */
  readonly code: string;
  readonly pauseMs: number;
  readonly retryMs: number;
}

const snapshotPart: Part = { work: "snapshot", level: null };
const retentionPart: Part = { work: "retention", level: null };

/** Between two looks for what time alone makes due: a snapshot, and what may be removed. If nothing is, they make no request. */
const lookIntervalMs = 300_000;
const backoffMsMin = 1_000;
const backoffMsMax = 300_000;

/**
 * Keeps a timeline small and quick to restore: merges levels, makes snapshots, and has removed what nobody can ask for any more. It holds no lock
 * of the database, no upload waits for it, and it writes nothing but whole new files; what a crash interrupts, the next life does.
 */
export class Maintainer {
  readonly #deps: MaintainerDeps;
  readonly #failures = new Map<string, Failure>();
  /** By level, what was sent to the store and not confirmed. */
  readonly #tried = new Map<number, CompactionJob>();
  #isScratchClear = false;
  /** When it was last found that nothing is to be merged. */
  #plannedMs = 0;
  /** When a part was last attempted. */
  readonly #attemptedMs = new Map<string, number>();
  #requested: PromiseWithResolvers<ReplicaFile> | undefined;

  constructor(deps: MaintainerDeps) {
    this.#deps = deps;
  }

  /**
   * Has the next step make a snapshot, whatever the policy says.
   *
   * @returns the stored file; the one that is there already if nothing was captured since. Rejects if the attempt fails, or that step is aborted.
   */
  requestSnapshot(): Promise<ReplicaFile> {
    this.#requested ??= Promise.withResolvers();
    return this.#requested.promise;
  }

  /**
   * Does all that is due, one thing after the other. To be called again at the time that it returns, and when a file was stored; not while
   * another step is under way. What fails is told, tried again with growing pauses, and keeps no other part from its work.
   *
   * @returns when to look again, in milliseconds since the Unix epoch; in the past if something has come due meanwhile.
   * @throws what is fatal; the signal's reason once it is aborted.
   */
  async step(signal: AbortSignal): Promise<number> {
    await this.#compact(signal);
    await this.#snapshot(signal);
    await this.#retain(signal);
    return this.#nextMs();
  }

  async #compact(signal: AbortSignal): Promise<void> {
    const { catalog, policy, now } = this.#deps;
    for (;;) {
      const levels = compactionLevels(policy).filter(
        (level) => !this.#isPaused({ work: "compaction", level }),
      );
      const nowMs = now();
      const job = this.#triedJob(levels) ?? planCompaction(catalog, policy, nowMs, levels);
      if (job === undefined) {
        this.#plannedMs = nowMs;
        // What failed may not be there to be done any more: its files were repaired, or removed.
        for (const level of levels) this.#onDone({ work: "compaction", level });
        return;
      }
      const part: Part = { work: "compaction", level: job.level };
      await this.#attempt(part, signal, () => this.#runJob(job, signal));
    }
  }

  /**
   * A job that may have been carried out is repeated just as it was until its outcome is known: one with another source more would put a
   * file beside it that overlaps it.
   */
  #triedJob(levels: readonly number[]): CompactionJob | undefined {
    const { catalog } = this.#deps;
    for (const level of levels) {
      const job = this.#tried.get(level);
      if (job === undefined) continue;
      const known = new Set(catalog.level(level - 1));
      if (job.files.every((file) => known.has(file))) return job;
      this.#tried.delete(level); // its sources were removed since, as only happens once they are beyond the retention
    }
    return undefined;
  }

  async #runJob(job: CompactionJob, signal: AbortSignal): Promise<void> {
    await this.#clearScratch();
    const { level, minTxid, maxTxid, files } = job;
    const stored = await compact(this.#deps, job, signal, () => this.#tried.set(level, job));
    this.#tried.delete(level);
    this.#deps.catalog.add(stored);
    this.#deps.emit({
      type: "compacted",
      level,
      minTxid,
      maxTxid,
      key: stored.key,
      files: files.length,
      bytesBefore: files.reduce((bytes, { size }) => bytes + size, 0),
      bytes: stored.size,
    });
  }

  async #snapshot(signal: AbortSignal): Promise<void> {
    const requested = this.#requested;
    if (requested === undefined && !this.#isTime(snapshotPart)) return;
    this.#requested = undefined;
    const { catalog, policy, now } = this.#deps;
    try {
      const failure = await this.#attempt(snapshotPart, signal, async () => {
        await this.#clearScratch(); // also where nothing is due: a snapshot of a killed life is large
        if (requested === undefined && !isSnapshotDue(catalog, policy, now())) return;
        const file = await this.#storeSnapshot(signal);
        this.#attemptedMs.delete(nameOf(retentionPart));
        requested?.resolve(file);
      });
      if (failure !== undefined) requested?.reject(failure);
    } catch (error) {
      requested?.reject(error);
      throw error;
    }
  }

  async #storeSnapshot(signal: AbortSignal): Promise<ReplicaFile> {
    const { root, catalog, scratchDirectory, makeSnapshot, beforeWrite, at, emit } = this.#deps;
    const file = await makeSnapshot(scratchDirectory, signal);
    try {
      const { maxTxid } = file.name;
      const known = catalog.level(snapshotLevel).find((other) => other.maxTxid === maxTxid);
      if (known !== undefined) return known;
      at("snapshot-written");
      const { record, mode } = await beforeWrite(signal);
      const stored = await writeTimelineFile(root, record, mode, file, snapshotLevel, { signal });
      at("snapshot-stored");
      catalog.add(stored);
      emit({ type: "snapshot-stored", txid: maxTxid, key: stored.key, bytes: stored.size });
      return stored;
    } finally {
      await rm(file.path, { force: true });
    }
  }

  async #retain(signal: AbortSignal): Promise<void> {
    if (!this.#isTime(retentionPart)) return;
    await this.#attempt(retentionPart, signal, () => this.#deps.retain(signal));
  }

  /** Performs a part of the work. @returns what it failed by, if that passes; undefined: it is done. */
  async #attempt(part: Part, signal: AbortSignal, perform: () => Promise<void>): Promise<unknown> {
    signal.throwIfAborted();
    this.#attemptedMs.set(nameOf(part), this.#deps.now());
    try {
      await perform();
    } catch (error) {
      signal.throwIfAborted();
      if (this.#deps.isFatal(error)) throw error;
      this.#onFailed(part, error);
      return error;
    }
    this.#onDone(part);
    return undefined;
  }

  #onDone(part: Part): void {
    const failure = this.#failures.get(nameOf(part));
    if (failure === undefined) return;
    this.#failures.delete(nameOf(part));
    const failedForMs = this.#deps.now() - failure.sinceMs;
    this.#deps.emit({ type: "maintenance-recovered", ...part, failedForMs });
  }

  #onFailed(part: Part, error: unknown): void {
    const { now, emit } = this.#deps;
    const before = this.#failures.get(nameOf(part));
    const { code, message } = describeFailure(error);
    const { hint } = error as { hint?: string };
    const nowMs = now();
    const sinceMs = before?.sinceMs ?? nowMs;
    const pauseMs =
      before === undefined ? backoffMsMin : Math.min(2 * before.pauseMs, backoffMsMax);
    this.#failures.set(nameOf(part), { code, sinceMs, pauseMs, retryMs: nowMs + pauseMs });
    if (before?.code === code) return;
    emit({ type: "maintenance-failing", ...part, code, message, hint, sinceMs });
  }

  #isPaused(part: Part): boolean {
    const failure = this.#failures.get(nameOf(part));
    return failure !== undefined && isAhead(failure.retryMs, this.#deps.now(), failure.pauseMs);
  }

  /** Whether a part that has no other sign of work is to be looked at. */
  #isTime(part: Part): boolean {
    if (this.#failures.has(nameOf(part))) return !this.#isPaused(part);
    const attemptedMs = this.#attemptedMs.get(nameOf(part));
    if (attemptedMs === undefined) return true;
    return !isAhead(attemptedMs + lookIntervalMs, this.#deps.now(), lookIntervalMs);
  }

  #nextMs(): number {
    const { catalog, policy, now } = this.#deps;
    const nowMs = now();
    const looks = [snapshotPart, retentionPart].map(
      (part) => (this.#attemptedMs.get(nameOf(part)) ?? nowMs) + lookIntervalMs,
    );
    const retries = [...this.#failures.values()].map(({ retryMs }) => retryMs);
    // From then on: what has come due since was not seen by that plan.
    return Math.min(nextCompactionMs(catalog, policy, this.#plannedMs), ...looks, ...retries);
  }

  async #clearScratch(): Promise<void> {
    if (this.#isScratchClear) return;
    const { scratchDirectory } = this.#deps;
    await mkdir(scratchDirectory, { recursive: true, mode: 0o700 });
    for (const name of await readdir(scratchDirectory)) {
      if (name.endsWith(".tmp")) await rm(join(scratchDirectory, name), { force: true });
    }
    this.#isScratchClear = true;
  }
}

function nameOf({ work, level }: Part): string {
  return `${work} ${level ?? ""}`;
}

/** Whether a time lies ahead of us. One that lies further ahead than it can is of a clock that was set back since. */
function isAhead(timeMs: number, nowMs: number, aheadMsMax: number): boolean {
  return timeMs > nowMs && timeMs - nowMs <= aheadMsMax;
}
