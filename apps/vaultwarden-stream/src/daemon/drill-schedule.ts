import { describeProof, warningsOf } from "../drill/describe-proof.ts";
import type { DrillResult } from "../drill/drill.ts";
import type { Proof } from "../drill/proof.ts";
import type { ProofHistory } from "../drill/proof-store.ts";
import type { Logger } from "../logger.ts";
import type { DrillStatus } from "./drill-status.ts";
import { type RepairAnswer, repairLookMs } from "./repair-request.ts";

export interface DrillScheduleDeps {
  /** Between two drills, in milliseconds; 0: only those that `verify --repair` asks for. */
  readonly intervalMs: number;
  /** The process may end at any time: that no drill came is no illness then. */
  readonly isServerless: boolean;
  readonly readProofs: (signal: AbortSignal) => Promise<ProofHistory>;
  readonly drill: (signal: AbortSignal) => Promise<DrillResult>;
  /** Stores a full copy of the database now. @returns its TXID, 16 hex digits. */
  readonly snapshot: (signal: AbortSignal) => Promise<string>;
  /** The id of a repair that somebody asks for. */
  readonly takeRequest: () => string | undefined;
  readonly answer: (answer: RepairAnswer) => Promise<void>;
  readonly onStatus: (status: {
    readonly drill: DrillStatus | null;
    readonly lastProvenRestore: string | null;
  }) => void;
  readonly log: Pick<Logger, "info" | "warn" | "error">;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
  /** Rejects with the signal's reason. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  /** 0 … 1. */
  readonly random: () => number;
}

/** The start has other things to do, and so have the others that start with us. */
const settleMs = 2 * 60_000;
const jitterMsMax = 30 * 60_000;
/** What could not be found out is tried again sooner. */
const againMs = 3_600_000;
const proofsPauseMs = 60_000;
const hourMs = 3_600_000;

/**
 * Drills on a schedule, as long as the process lives: an interval after the newest proof in the store, whoever wrote it, so that a process which is
 * started again and again does not drill each time. And carries out what `verify --repair` asks for.
 */
export class DrillSchedule {
  readonly #deps: DrillScheduleDeps;
  readonly #stopped = new AbortController();
  #running: Promise<void> | undefined;
  #newest: DrillStatus | null = null;
  #lastProved: string | null = null;

  constructor(deps: DrillScheduleDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#running ??= this.#run(this.#stopped.signal).catch((error: unknown) => {
      // Whatever it is, the vault goes on; that no restore is proved any more shows in its health.
      if (!this.#stopped.signal.aborted) {
        this.#deps.log.error(`restore drills have ended: ${(error as Error).message}`);
      }
    });
  }

  /** Ends a drill that is under way, at once. Resolves when its scratch directory is gone. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { intervalMs, now, random } = this.#deps;
    this.#report(null);
    let dueMs = Number.POSITIVE_INFINITY;
    if (intervalMs > 0) {
      const earliestMs = now() + settleMs + random() * Math.min(jitterMsMax, intervalMs / 4);
      const newest = await this.#readNewest(signal);
      // A proof of the future is one of a clock that was wrong.
      const nextMs =
        newest === undefined ? 0 : Math.min(this.#dueAfter(newest), now() + intervalMs);
      dueMs = Math.max(earliestMs, nextMs);
    }
    for (;;) {
      const request = this.#deps.takeRequest();
      if (request !== undefined) await this.#repair(request, signal);
      if (now() >= dueMs || request !== undefined) {
        const proof = request === undefined ? await this.#drill(signal) : undefined;
        dueMs = this.#nextDue(proof);
      }
      await this.#deps.sleep(Math.min(repairLookMs, Math.max(0, dueMs - now())), signal);
    }
  }

  /** Of what the store says; tried again until it does. */
  async #readNewest(signal: AbortSignal): Promise<Proof | undefined> {
    for (;;) {
      try {
        const { newest, lastProved } = await this.#deps.readProofs(signal);
        this.#lastProved = lastProved?.proof.endedAt ?? null;
        this.#report(newest ?? null);
        return newest?.proof;
      } catch (error) {
        signal.throwIfAborted();
        this.#deps.log.warn(`what was proved so far is not known: ${(error as Error).message}`);
        await this.#deps.sleep(proofsPauseMs, signal);
      }
    }
  }

  /** @returns undefined if it came to no result. */
  async #drill(signal: AbortSignal): Promise<Proof | undefined> {
    const { log, drill } = this.#deps;
    let result: DrillResult;
    try {
      result = await drill(signal);
    } catch (error) {
      signal.throwIfAborted();
      log.error(`a restore drill has failed: ${(error as Error).message}`);
      return undefined;
    }
    const { proof, key, cause } = result;
    const line = describeProof(proof);
    if (proof.outcome === "proved") log.info(line);
    else log[proof.outcome === "failed" ? "error" : "warn"](line);
    for (const warning of warningsOf(proof)) log.warn(warning);
    if (key === null) log.warn(`the proof could not be stored: ${String(cause)}`);
    if (proof.outcome === "proved") this.#lastProved = proof.endedAt;
    this.#report({ key, proof });
    return proof;
  }

  async #repair(id: string, signal: AbortSignal): Promise<void> {
    const { log, snapshot, answer } = this.#deps;
    log.info("asked to repair: storing a whole copy of the database, and proving it");
    let txid: string | null = null;
    let message: string;
    let isProved = false;
    try {
      txid = await snapshot(signal);
      const proof = await this.#drill(signal);
      isProved = proof?.outcome === "proved";
      message = proof === undefined ? "the drill after it came to no result" : describeProof(proof);
    } catch (error) {
      signal.throwIfAborted();
      message = (error as Error).message;
      log.error(`the repair has failed: ${message}`);
    }
    await answer({ id, txid, message, isProved });
  }

  #nextDue(proof: Proof | undefined): number {
    const { intervalMs, now } = this.#deps;
    if (intervalMs === 0) return Number.POSITIVE_INFINITY;
    const isKnown = proof !== undefined && proof.outcome !== "inconclusive";
    return now() + (isKnown ? intervalMs : Math.min(againMs, intervalMs));
  }

  #dueAfter({ outcome, endedAt }: Proof): number {
    const { intervalMs } = this.#deps;
    const pauseMs = outcome === "inconclusive" ? Math.min(againMs, intervalMs) : intervalMs;
    return Date.parse(endedAt) + pauseMs;
  }

  #report(newest: { readonly key: string | null; readonly proof: Proof } | null): void {
    const { intervalMs, isServerless, onStatus } = this.#deps;
    const { outcome = null, endedAt = null } = newest?.proof ?? {};
    this.#newest =
      intervalMs === 0 && newest === null
        ? null
        : {
            intervalMs,
            ageMsMax: isServerless || intervalMs === 0 ? null : 2 * intervalMs + hourMs,
            outcome,
            endedAt,
            message: newest === null ? null : describeProof(newest.proof),
            key: newest?.key ?? null,
          };
    onStatus({ drill: this.#newest, lastProvenRestore: this.#lastProved });
  }
}
