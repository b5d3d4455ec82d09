import { existsSync } from "node:fs";
import { InvariantError, invariant, ReplicationError } from "../errors.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import { releaseEpoch } from "../replica/epoch.ts";
import { Fenced, LeaseKeeper } from "../replica/lease.ts";
import { type LocalLtxFile, writeTimelineFile } from "../replica/replica.ts";
import type { Position, ReplicationStatus, StopOptions, StopResult } from "../replication.ts";
import type { SqliteConnection } from "../sqlite/connection.ts";
import { databaseFileIdentity } from "../sqlite/database-file.ts";
import { type Salt, saltsEqual } from "../sqlite/salt.ts";
import { frameHeaderBytes } from "../sqlite/wal-frame.ts";
import { checkSource } from "../watch/check-source.ts";
import { SessionWatch } from "../watch/session-watch.ts";
import { readSourceCheck, writeSourceCheck } from "../watch/source-check-record.ts";
import { SourceChecker } from "../watch/source-checker.ts";
import type { Capture, Captured } from "./capture.ts";
import { Checkpointer, type CheckpointOutcome } from "./checkpointer.ts";
import { Claim, type Holding } from "./claim.ts";
import type { Connections } from "./connections.ts";
import { describeFailure } from "./describe-failure.ts";
import { mergeSpool } from "./merge-spool.ts";
import { PassLoop } from "./pass-loop.ts";
import { raceAbort } from "./race-abort.ts";
import type { SessionDeps } from "./session-deps.ts";
import { DatabaseReplaced, StartAgain, streamStopped } from "./session-ends.ts";
import { Shipper } from "./shipper.ts";
import { levelOf, type Spool, type SpoolFile, spoolFull } from "./spool.ts";
import { generationCountMax, type WalGeneration } from "./spool-state.ts";
import { TimelineUpkeep } from "./timeline-upkeep.ts";

export interface SessionParts {
  readonly deps: SessionDeps;
  /** In the timeline that the session writes into. */
  readonly spool: Spool;
  readonly connections: Connections;
  readonly capture: Capture;
  /** Undefined after a start without the store: `take` follows. */
  readonly holding: Holding | undefined;
  readonly take: (signal: AbortSignal) => Promise<Holding>;
  readonly firstPass: FirstPass;
  /** Else the timeline has one, or its first file is one. */
  readonly lacksBase: boolean;
}

type FirstPass = (reader: SqliteConnection) => Promise<Captured | undefined>;

/**
 * One life of the stream on one database file: wires anchor, capture, checkpoints, spool and uploads together, from the taken
 * epoch to its release. It owns the connections and the spool.
 */
export class Session {
  /** Settles when the session is over: resolves after `stop`, rejects with what ended it. */
  readonly ended: Promise<void>;
  readonly #deps: SessionDeps;
  readonly #spool: Spool;
  readonly #connections: Connections;
  readonly #capture: Capture;
  readonly #claim: Claim;
  readonly #timeline: string;
  readonly #checkpointer: Checkpointer;
  readonly #loop: PassLoop;
  readonly #shipper: Shipper;
  readonly #upkeep: TimelineUpkeep;
  readonly #watch: SessionWatch;
  readonly #sourceChecker: SourceChecker;
  readonly #loopDone: Promise<void>;
  readonly #shipperDone: Promise<void>;
  /** Resolves when a timeline that branched off has its base. */
  readonly #based: Promise<void> | undefined;
  /** The lease, the base, maintenance, and who watches over all of them. */
  readonly #backgroundDone: Promise<void>;
  readonly #closing = new AbortController();
  /** Aborted when the end begins: of what the end does not wait for. */
  readonly #ending = new AbortController();
  #firstPass: FirstPass | undefined;
  #isFailing = false;
  /** Why the epoch could not be taken yet. */
  #claimFailure: unknown;
  /** WAL generations that `state.json` does not say yet. */
  #begun: WalGeneration[] = [];
  #spoolFull:
    | { readonly code: string; readonly message: string; readonly sinceMs: number }
    | undefined;
  #writeLockHeldMsMax = 0;
  #failingReported: unknown;
  #stopping: Promise<StopResult> | undefined;
  readonly #end = Promise.withResolvers<void>();

  constructor(parts: SessionParts) {
    const { spool, connections, capture } = parts;
    this.#watch = new SessionWatch({
      deps: parts.deps,
      connections,
      capture,
      spool,
      storeFailure: () => this.#storeFailure,
      captureFailure: () => this.#spoolFull,
      isMaintaining: () => this.#upkeep.isMaintaining,
      scratchDirectory: () => this.#upkeep.scratchDirectory,
    });
    const deps = this.#watch.observe(parts.deps);
    this.#deps = deps;
    this.#spool = spool;
    this.#connections = connections;
    this.#capture = capture;
    invariant(spool.state !== undefined, "a session runs on an entered timeline");
    this.#timeline = spool.state.timeline;
    this.#firstPass = parts.firstPass;
    this.ended = this.#end.promise;
    this.ended.catch(() => {}); // whoever cares awaits it; an unhandled rejection would end the host
    const rotate = async (): Promise<void> => {
      await this.#rotate();
    };
    this.#checkpointer = new Checkpointer({
      policy: deps.checkpointPolicy,
      pageSize: connections.pageSize,
      control: connections.control,
      barrier: connections.barrier,
      rotate,
      walFrames: () => capture.walFrames,
      at: deps.at,
      nowMs: deps.nowMs,
    });
    this.#loop = new PassLoop({
      pass: () => this.#pass(),
      settle: () => this.#settle(),
      isTemporary: (error) => error instanceof ReplicationError && error.code === "SPOOL_FULL",
      onFailing: (error) => this.#onSpoolFull(error as ReplicationError),
      onRecovered: () => this.#onSpoolRecovered(),
      walPath: connections.walPath,
      intervalMs: deps.syncIntervalMs,
      nowMs: deps.nowMs,
    });
    this.#shipper = new Shipper({
      spool,
      put: (file, signal) => this.#put(file, levelOf(file), signal),
      now: deps.now,
      sleep: deps.sleep,
      at: deps.at,
      onStored: (file, key) => this.#onStored(file, key),
      onFailing: (error, sinceMs) => this.#onFailing(error, sinceMs),
      onRecovered: (failedForMs) => {
        this.#failingReported = undefined;
        deps.emit({ type: "store-recovered", failedForMs });
      },
    });
    let failingSinceMs: number | undefined;
    this.#claim = new Claim({
      holding: parts.holding,
      take: parts.take,
      makeKeeper: (holding) => this.#makeKeeper(holding),
      onTaken: (record) => {
        this.#claimFailure = undefined;
        this.#failingReported = undefined;
        deps.emit({ type: "epoch-taken", epoch: record.epoch, timeline: record.timeline });
        this.#shipper.wake();
      },
      whileHeld: ({ catalog }) => this.#upkeep.maintain(catalog, this.#ending.signal),
      onFailing: (error) => {
        this.#claimFailure = error;
        failingSinceMs ??= deps.now();
        this.#onFailing(error, failingSinceMs);
      },
      sleep: deps.sleep,
    });
    this.#upkeep = new TimelineUpkeep({
      world: deps,
      spool,
      snapshots: {
        capture,
        database: connections.database,
        walPath: connections.walPath,
        pageSize: connections.pageSize,
        openReader: () => connections.openReader(),
        pass: () => this.#loop.request(),
        storedSoFar: (signal) => this.#storedSoFar(signal),
        mergeCount: () => spool.mergeCount,
      },
      put: (file, level, signal) => this.#put(file, level, signal),
      beforeWrite: (signal) => this.#claim.beforeShip(signal),
      sound: () => this.#sourceChecker.protected,
      isFatal,
    });
    this.#sourceChecker = new SourceChecker({
      load: () => readSourceCheck(spool.directory),
      check: (signal) => checkSource(deps.databasePath, signal),
      position: () => this.#position(),
      save: (status) => writeSourceCheck(spool.directory, status),
      emit: deps.emit,
      policy: deps.sourceCheckPolicy,
      now: deps.now,
      sleep: deps.sleep,
    });
    // The first pass needs no change of the WAL to run. If it fails, the loop ends with the same error, or tries it again.
    this.#loop.request().catch(() => {});
    this.#loopDone = this.#loop.run();
    this.#shipperDone = this.#shipper.run(isFatal);
    const { signal } = this.#closing;
    const claimed = this.#claim.run(signal);
    this.#based = parts.lacksBase ? this.#upkeep.storeBase(signal) : undefined;
    this.#based?.catch(() => {}); // seen through what follows
    const watched = this.#watch.run(signal);
    const checked = this.#sourceChecker.run(this.#ending.signal);
    this.#backgroundDone = Promise.all([claimed, this.#based, watched, checked]).then(() => {});
    for (const part of [this.#loopDone, this.#shipperDone, this.#backgroundDone])
      part.catch((error) => void this.#fail(error));
  }

  async flush(signal: AbortSignal | undefined): Promise<Position> {
    signal?.throwIfAborted();
    await this.#loop.request();
    const position = this.#position();
    invariant(position !== undefined, "a pass leaves a position");
    const { mergeCount } = this.#spool;
    await this.#shipper.stored(position.txid, signal);
    if (mergeCount === this.#spool.mergeCount) return position;
    // What was captured under this TXID was merged into another one.
    const stored = this.#spool.files.findLast(({ name }) => name.state === "stored");
    invariant(stored !== undefined, "what was waited for is stored");
    return { ...position, txid: stored.name.maxTxid, rollingChecksum: stored.name.rollingChecksum };
  }

  status(): ReplicationStatus {
    const { waiting } = this.#spool;
    const storeFailure = this.#storeFailure;
    return {
      epoch: this.#claim.holding?.record.epoch ?? null,
      timeline: this.#timeline,
      fencedBy: undefined,
      createIfAbsent:
        this.#claim.holding &&
        (this.#claim.holding.mode.kind === "exclusive" ? "atomic" : "unproved"),
      captured: this.#position(),
      storedTxid: this.#spool.storedTxid,
      waitingFiles: waiting.length,
      waitingBytes: sumBytes(waiting),
      waitingSinceMs: waiting[0]?.capturedAtMs,
      storeFailure: storeFailure === undefined ? undefined : describeFailure(storeFailure),
      spoolFailure: this.#spoolFull === undefined ? undefined : describeFailure(this.#spoolFull),
      walBytes: this.#capture.walFrames * (frameHeaderBytes + this.#connections.pageSize),
      writeLockHeldMsMax: this.#writeLockHeldMsMax,
      ...this.#watch.status,
      sourceCheck: this.#sourceChecker.status,
      maintenance: this.#upkeep.status,
    };
  }

  /** Has a snapshot of everything committed before the call stored now. @returns what it is of. */
  async snapshot(signal: AbortSignal | undefined): Promise<Position> {
    await this.flush(signal);
    const { signal: ending } = this.#ending;
    const until = signal === undefined ? ending : AbortSignal.any([signal, ending]);
    const { maxTxid: txid, rollingChecksum } = await this.#upkeep.storeSnapshot(until);
    return { timeline: this.#timeline, txid, rollingChecksum };
  }

  stop(options: StopOptions): Promise<StopResult> {
    this.#stopping ??= this.#stop(options);
    return this.#stopping;
  }

  async #stop(options: StopOptions): Promise<StopResult> {
    this.#ending.abort(streamStopped());
    const { timeoutMs } = options;
    const budget = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
    try {
      await this.#loop.request();
      // An empty timeline is no head: without the base a restore would take the line that this one has left.
      if (!this.#spool.files.some(({ name }) => name.state === "stored")) {
        await withinBudget(budget, raceAbort(Promise.resolve(this.#based), budget));
      }
      this.#loop.stop();
      await this.#loopDone;
      const position = this.#position();
      const stored =
        position !== undefined &&
        (await withinBudget(budget, this.#shipper.stored(position.txid, budget)));
      this.#shipper.stop();
      await this.#shipperDone;
      this.#closing.abort();
      await this.#backgroundDone;
      if (stored) this.#deps.at("flushed");
      if (options.applicationEnded === true) this.#leaveCleanFile();
      await this.#saveState();
      const { txid, checksums } = this.#capture.state;
      if (txid !== undefined && checksums !== undefined) {
        await this.#spool.savePageChecksums(txid, checksums);
      }
      this.#deps.at("state-saved");
      const released = stored && (await withinBudget(budget, this.#release(position, budget)));
      this.#end.resolve();
      return { position, released, waitingFiles: this.#spool.waiting.length };
    } catch (error) {
      this.#end.reject(error);
      throw error;
    } finally {
      this.close();
    }
  }

  /** Lets go of everything at once, without capturing or releasing. */
  close(): void {
    this.#closing.abort();
    this.#ending.abort(streamStopped());
    this.#loop.stop();
    this.#shipper.stop();
    this.#connections.close();
    this.#spool.close();
  }

  async #pass(): Promise<boolean> {
    const { database } = this.#connections;
    if (databaseFileIdentity(this.#deps.databasePath) !== database.identity) {
      throw new DatabaseReplaced(`another file lies at ${this.#deps.databasePath}`);
    }
    return await this.#whileDatabaseStays(async () => {
      const captured = await this.#rotate();
      if (captured) await this.#checkpoint(false);
      await this.#mergeSpool();
      return captured;
    });
  }

  /** With all of the WAL in the database file, the anchor has mark 0: no checkpoint of the application waits for it. */
  async #settle(): Promise<boolean> {
    const outcome = await this.#whileDatabaseStays(() => this.#checkpoint(true));
    return outcome !== undefined && outcome.checkpointedFrames === outcome.walFrames;
  }

  async #whileDatabaseStays<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      // Whoever swaps a database removes its WAL first: ours is of the file that is about to go.
      const isWalGone = !existsSync(this.#connections.walPath);
      if (isWalGone && error instanceof ReplicationError && error.code === "CAPTURE_UNSTABLE") {
        throw new DatabaseReplaced(`${this.#connections.walPath} was removed`, { cause: error });
      }
      throw spoolFull(error) ?? error;
    }
  }

  /** Captures what is new under the anchor's successor, and moves the anchor to it. */
  async #rotate(): Promise<boolean> {
    const { state } = this.#capture;
    const saltBefore = state.walPosition?.salt;
    const rollingBefore = state.checksums?.rolling;
    const firstPass = this.#firstPass;
    const captured = await this.#connections.anchor.rotate((reader) =>
      firstPass === undefined ? this.#capture.incremental(reader) : firstPass(reader),
    );
    this.#firstPass = undefined;
    try {
      await this.#saveBehind(captured, saltBefore, rollingBefore);
    } finally {
      // Also where there was no room for that: what is shipped makes room.
      if (captured !== undefined) this.#onCaptured(captured);
    }
    return captured !== undefined;
  }

  /** Makes durable what a restart must know of a pass beside its file. What fails follows with the next pass. */
  async #saveBehind(
    captured: Captured | undefined,
    saltBefore: Salt | undefined,
    rollingBefore: string | undefined,
  ): Promise<void> {
    const { state } = this.#capture;
    const salt = state.walPosition?.salt;
    if (
      salt !== undefined &&
      rollingBefore !== undefined &&
      (saltBefore === undefined || !saltsEqual(salt, saltBefore))
    ) {
      this.#begun.push({ salt, rollingChecksum: rollingBefore });
    }
    if (this.#begun.length > 0) await this.#saveState();
    if (captured === undefined || captured.kind === "wal") return;
    if (state.txid !== undefined && state.checksums !== undefined) {
      await this.#spool.savePageChecksums(state.txid, state.checksums);
    }
  }

  #onCaptured({ kind, pages, file }: Captured): void {
    this.#deps.emit({
      type: "captured",
      txid: file.name.maxTxid,
      kind,
      pages,
      bytes: file.size,
      dbPageCount: file.name.pageCount,
    });
    this.#shipper.wake();
  }

  /** Between two passes: the next capture goes on behind the TXID of the merged file. */
  async #mergeSpool(): Promise<void> {
    for (;;) {
      const merge = await mergeSpool(this.#spool, this.#ending.signal);
      if (merge === undefined) return;
      this.#capture.state.txid = merge.into;
      this.#shipper.takeBack(merge.into);
      this.#deps.emit({ type: "spool-merged", ...merge });
    }
  }

  #onSpoolFull({ code, message, hint }: ReplicationError): void {
    // What saves requests gives way to what saves commits.
    this.#spool.dropCopies().catch((error: unknown) => void this.#fail(error));
    if (this.#spoolFull !== undefined) return;
    this.#spoolFull = { code, message, sinceMs: this.#deps.now() };
    this.#deps.emit({ type: "spool-full", hint, ...this.#spoolFull });
  }

  #onSpoolRecovered(): void {
    if (this.#spoolFull === undefined) return;
    const failedForMs = this.#deps.now() - this.#spoolFull.sinceMs;
    this.#spoolFull = undefined;
    this.#deps.emit({ type: "spool-recovered", failedForMs });
  }

  async #checkpoint(isQuiet: boolean): Promise<CheckpointOutcome | undefined> {
    const outcome = await this.#checkpointer.run(isQuiet);
    if (outcome === undefined) return undefined;
    this.#writeLockHeldMsMax = Math.max(this.#writeLockHeldMsMax, outcome.writeLockHeldMs);
    this.#deps.emit({ type: "checkpointed", ...outcome });
    return outcome;
  }

  async #put(file: LocalLtxFile, level: number, signal: AbortSignal): Promise<ReplicaFile> {
    const { record, mode, catalog } = await this.#claim.beforeShip(signal);
    const { replica } = this.#deps;
    const stored = await writeTimelineFile(replica, record, mode, file, level, { signal });
    catalog.add(stored);
    return stored;
  }

  #makeKeeper({ record, mode }: Holding): LeaseKeeper {
    const deps = this.#deps;
    return new LeaseKeeper({
      root: deps.replica,
      record,
      mode,
      intervalMs: deps.leaseIntervalMs,
      now: deps.now,
      nowMs: deps.nowMs,
      sleep: deps.sleep,
      storedTxid: () => this.#spool.storedTxid,
      onRenewFailed: (error) => deps.emit({ type: "lease-failing", ...describeFailure(error) }),
      onRenewed: () => deps.emit({ type: "lease-renewed" }),
    });
  }

  async #storedSoFar(signal: AbortSignal): Promise<void> {
    const txid = this.#position()?.txid;
    if (txid !== undefined) await this.#shipper.stored(txid, signal);
  }

  #onStored(file: SpoolFile, key: string): void {
    this.#deps.emit({
      type: "stored",
      txid: file.name.maxTxid,
      key,
      bytes: file.size,
      sinceCaptureMs: Math.max(0, this.#deps.now() - file.capturedAtMs),
    });
    this.#loop.retry(); // there may be room again
    this.#upkeep.wake();
  }

  /** Says once per cause that the store fails; the status says it all the time. */
  #onFailing(error: unknown, sinceMs: number): void {
    const failure = describeFailure(error);
    if (this.#failingReported === failure.code) return;
    this.#failingReported = failure.code;
    const { waiting } = this.#spool;
    this.#deps.emit({
      type: "store-failing",
      ...failure,
      hint: (error as { hint?: string }).hint,
      sinceMs,
      waitingFiles: waiting.length,
      waitingBytes: sumBytes(waiting),
    });
  }

  /** Everything is captured and nobody else has the database open: move the WAL into the file, so that the file alone is the database. */
  #leaveCleanFile(): void {
    this.#connections.anchor.letGo();
    this.#connections.control.checkpoint("TRUNCATE");
  }

  /** Only after everything captured is confirmed: whoever has this position may go on in the timeline. */
  async #release(position: Position, signal: AbortSignal | undefined): Promise<void> {
    const { holding } = this.#claim;
    if (holding === undefined) return;
    const { record } = holding;
    await releaseEpoch(
      this.#deps.retryingReplica,
      record,
      {
        nonce: record.nonce,
        txid: position.txid,
        rollingChecksum: position.rollingChecksum,
        releasedAt: new Date(this.#deps.now()).toISOString(),
      },
      signal === undefined ? {} : { signal },
    );
    this.#deps.at("released");
    this.#deps.emit({
      type: "released",
      epoch: record.epoch,
      timeline: record.timeline,
      txid: position.txid,
    });
  }

  async #saveState(): Promise<void> {
    const { state } = this.#spool;
    invariant(state !== undefined, "a session runs on an entered timeline");
    const { txid, checksums } = this.#capture.state;
    const position =
      txid === undefined || checksums === undefined
        ? state.position
        : {
            txid,
            pageSize: checksums.pageSize,
            pageCount: checksums.pageCount,
            rollingChecksum: checksums.rolling,
          };
    await this.#spool.saveState({
      ...state,
      position,
      storedTxid: this.#spool.storedTxid,
      generations: [...state.generations, ...this.#begun].slice(-generationCountMax),
    });
    this.#begun = [];
  }

  /** Why nothing is stored at present, as far as anything has said so. */
  get #storeFailure(): unknown {
    return this.#shipper.failure ?? this.#claimFailure;
  }

  #position(): Position | undefined {
    const name = this.#spool.files.at(-1)?.name;
    const position = this.#spool.state?.position;
    if (name !== undefined) {
      return {
        timeline: this.#timeline,
        txid: name.maxTxid,
        rollingChecksum: name.rollingChecksum,
      };
    }
    return (
      position && {
        timeline: this.#timeline,
        txid: position.txid,
        rollingChecksum: position.rollingChecksum,
      }
    );
  }

  /** Whoever follows opens the same spool: a pass under way is waited for, so that two never write there. */
  async #fail(error: unknown): Promise<void> {
    if (this.#isFailing) return;
    this.#isFailing = true;
    this.#closing.abort();
    this.#ending.abort(streamStopped());
    this.#loop.stop();
    this.#shipper.stop();
    await Promise.allSettled([this.#loopDone, this.#shipperDone, this.#backgroundDone]);
    this.close();
    this.#end.reject(error);
  }
}

/** Whether the work was done in time. What did not fit is kept in the spool, and the caller is told. */
async function withinBudget(
  budget: AbortSignal | undefined,
  work: Promise<unknown>,
): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (budget?.aborted === true && error === budget.reason) return false;
    throw error;
  }
}

/** Errors that no repetition of an upload can mend. */
function isFatal(error: unknown): boolean {
  return (
    error instanceof Fenced ||
    error instanceof StartAgain ||
    error instanceof InvariantError ||
    (error instanceof ReplicationError && error.code === "FOREIGN_WRITE")
  );
}

function sumBytes(files: readonly SpoolFile[]): number {
  return files.reduce((bytes, file) => bytes + file.size, 0);
}
