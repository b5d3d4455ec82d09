import { existsSync } from "node:fs";
import { invariant, ReplicationError } from "../errors.ts";
import type { Txid } from "../ltx/txid.ts";
import { type EpochRecord, releaseEpoch } from "../replica/epoch.ts";
import { writeTimelineFile } from "../replica/replica.ts";
import { snapshotLevel } from "../replica/replica-layout.ts";
import type { Position, ReplicationStatus, StopOptions, StopResult } from "../replication.ts";
import type { SqliteConnection } from "../sqlite/connection.ts";
import { databaseFileIdentity } from "../sqlite/database-file.ts";
import { saltsEqual } from "../sqlite/salt.ts";
import { frameHeaderBytes } from "../sqlite/wal-frame.ts";
import type { Capture, Captured } from "./capture.ts";
import { Checkpointer } from "./checkpointer.ts";
import type { Connections } from "./connections.ts";
import { PassLoop } from "./pass-loop.ts";
import type { SessionDeps } from "./session-deps.ts";
import { Shipper } from "./shipper.ts";
import type { Spool, SpoolFile } from "./spool.ts";
import { generationCountMax, type WalGeneration } from "./spool-state.ts";

/** Another file lies at the database's path than the one that this session holds. */
export class DatabaseReplaced extends Error {
  override readonly name = "DatabaseReplaced";
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
  readonly #epoch: EpochRecord;
  readonly #checkpointer: Checkpointer;
  readonly #loop: PassLoop;
  readonly #shipper: Shipper;
  readonly #loopDone: Promise<void>;
  readonly #shipperDone: Promise<void>;
  #firstPass: FirstPass | undefined;
  #writeLockHeldMsMax = 0;
  #failingReported: unknown;
  #stopping: Promise<StopResult> | undefined;
  readonly #end = Promise.withResolvers<void>();

  constructor(
    deps: SessionDeps,
    spool: Spool,
    connections: Connections,
    capture: Capture,
    epoch: EpochRecord,
    firstPass: FirstPass,
  ) {
    this.#deps = deps;
    this.#spool = spool;
    this.#connections = connections;
    this.#capture = capture;
    this.#epoch = epoch;
    this.#firstPass = firstPass;
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
      walPath: connections.walPath,
      intervalMs: deps.syncIntervalMs,
      nowMs: deps.nowMs,
    });
    this.#shipper = new Shipper({
      spool,
      put: (file, signal) => this.#put(file, signal),
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
    // The first pass needs no change of the WAL to run.
    this.#loopDone = Promise.all([this.#loop.request(), this.#loop.run()]).then(() => {});
    this.#shipperDone = this.#shipper.run(isFatal);
    for (const part of [this.#loopDone, this.#shipperDone])
      part.catch((error) => this.#fail(error));
  }

  async flush(signal: AbortSignal | undefined): Promise<Position> {
    signal?.throwIfAborted();
    await this.#loop.request();
    const position = this.#position();
    invariant(position !== undefined, "a pass leaves a position");
    await this.#shipper.stored(position.txid, signal);
    return position;
  }

  status(): ReplicationStatus {
    const { waiting } = this.#spool;
    return {
      epoch: this.#epoch.epoch,
      timeline: this.#epoch.timeline,
      captured: this.#position(),
      storedTxid: this.#storedTxid(),
      waitingFiles: waiting.length,
      waitingBytes: sumBytes(waiting),
      waitingSinceMs: waiting[0]?.capturedAtMs,
      storeFailure:
        this.#shipper.failure === undefined ? undefined : describeFailure(this.#shipper.failure),
      walBytes: this.#capture.walFrames * (frameHeaderBytes + this.#connections.pageSize),
      writeLockHeldMsMax: this.#writeLockHeldMsMax,
    };
  }

  stop(options: StopOptions): Promise<StopResult> {
    this.#stopping ??= this.#stop(options);
    return this.#stopping;
  }

  async #stop(options: StopOptions): Promise<StopResult> {
    try {
      await this.#loop.request();
      this.#loop.stop();
      await this.#loopDone;
      const position = this.#position();
      const { timeoutMs } = options;
      const budget = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
      const stored =
        position !== undefined &&
        (await withinBudget(budget, this.#shipper.stored(position.txid, budget)));
      this.#shipper.stop();
      await this.#shipperDone;
      if (stored) this.#deps.at("flushed");
      if (options.applicationEnded === true) this.#leaveCleanFile();
      await this.#saveState();
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
    try {
      const captured = await this.#rotate();
      if (captured) await this.#checkpoint();
      return captured;
    } catch (error) {
      // Whoever swaps a database removes its WAL first: ours is of the file that is about to go.
      const isWalGone = !existsSync(this.#connections.walPath);
      if (isWalGone && error instanceof ReplicationError && error.code === "CAPTURE_UNSTABLE") {
        throw new DatabaseReplaced(`${this.#connections.walPath} was removed`, { cause: error });
      }
      throw error;
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
    const salt = state.walPosition?.salt;
    if (
      salt !== undefined &&
      rollingBefore !== undefined &&
      (saltBefore === undefined || !saltsEqual(salt, saltBefore))
    ) {
      await this.#saveState({ salt, rollingChecksum: rollingBefore });
    }
    if (captured === undefined) return false;
    if (captured.kind !== "wal" && state.txid !== undefined && state.checksums !== undefined) {
      await this.#spool.savePageChecksums(state.txid, state.checksums);
    }
    this.#deps.emit({
      type: "captured",
      txid: captured.file.name.maxTxid,
      kind: captured.kind,
      pages: captured.pages,
      bytes: captured.file.size,
      dbPageCount: captured.file.name.pageCount,
    });
    this.#shipper.wake();
    return true;
  }

  async #checkpoint(): Promise<void> {
    const outcome = await this.#checkpointer.run();
    if (outcome === undefined) return;
    this.#writeLockHeldMsMax = Math.max(this.#writeLockHeldMsMax, outcome.writeLockHeldMs);
    this.#deps.emit({ type: "checkpointed", ...outcome });
  }

  #put(file: SpoolFile, signal: AbortSignal): Promise<{ readonly key: string }> {
    // Everything but the base of a branched timeline is one TXID, at level 0.
    const level = file.name.minTxid === file.name.maxTxid ? 0 : snapshotLevel;
    return writeTimelineFile(this.#deps.replica, this.#epoch, file, signal, level);
  }

  #onStored(file: SpoolFile, key: string): void {
    this.#deps.emit({
      type: "stored",
      txid: file.name.maxTxid,
      key,
      bytes: file.size,
      sinceCaptureMs: Math.max(0, this.#deps.now() - file.capturedAtMs),
    });
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

  async #release(position: Position, signal: AbortSignal | undefined): Promise<void> {
    await releaseEpoch(
      this.#deps.retryingReplica,
      this.#epoch,
      {
        txid: position.txid,
        rollingChecksum: position.rollingChecksum,
        releasedAt: new Date(this.#deps.now()).toISOString(),
      },
      signal === undefined ? {} : { signal },
    );
    this.#deps.at("released");
    this.#deps.emit({
      type: "released",
      epoch: this.#epoch.epoch,
      timeline: this.#epoch.timeline,
      txid: position.txid,
    });
  }

  async #saveState(begun?: WalGeneration): Promise<void> {
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
      storedTxid: this.#storedTxid(),
      generations:
        begun === undefined
          ? state.generations
          : [...state.generations, begun].slice(-generationCountMax),
    });
    if (begun === undefined && txid !== undefined && checksums !== undefined) {
      await this.#spool.savePageChecksums(txid, checksums);
    }
  }

  #position(): Position | undefined {
    const name = this.#spool.files.at(-1)?.name;
    const position = this.#spool.state?.position;
    if (name !== undefined) {
      return {
        timeline: this.#epoch.timeline,
        txid: name.maxTxid,
        rollingChecksum: name.rollingChecksum,
      };
    }
    return (
      position && {
        timeline: this.#epoch.timeline,
        txid: position.txid,
        rollingChecksum: position.rollingChecksum,
      }
    );
  }

  #storedTxid(): Txid | undefined {
    const stored = this.#spool.files.findLast((file) => file.name.state === "stored");
    return stored?.name.maxTxid ?? this.#spool.state?.storedTxid;
  }

  #fail(error: unknown): void {
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
  return error instanceof ReplicationError && error.code === "FOREIGN_WRITE";
}

function describeFailure(error: unknown): { readonly code: string; readonly message: string } {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return { code: typeof code === "string" ? code : "UNKNOWN", message: String(message ?? error) };
}

function sumBytes(files: readonly SpoolFile[]): number {
  return files.reduce((bytes, file) => bytes + file.size, 0);
}
