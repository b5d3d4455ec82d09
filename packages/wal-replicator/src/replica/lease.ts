import {
  isNotFound,
  ObjectStoreError,
  type RequestOptions,
} from "@vaultwarden-stream/object-store";
import type { Txid } from "../ltx/txid.ts";
import { EpochLog, type EpochMode } from "./epoch.ts";
import { epochIdOf, epochObjectKey, readRecord } from "./epoch-objects.ts";
import { type EpochRecord, encodeEpochLease } from "./epoch-record.ts";
import type { ReplicaRoot } from "./replica.ts";
import { ReplicaError } from "./replica-error.ts";

/** A higher epoch of a writer was seen: our right to ship is gone for good. */
export class Fenced extends Error {
  override readonly name = "Fenced";
  /** Who has taken over. */
  readonly by: EpochRecord;

  constructor(by: EpochRecord) {
    const { epoch, owner, timeline } = by;
    super(
      `process ${owner.pid} on ${owner.host} took epoch ${epoch}, and writes into timeline ${timeline}`,
    );
    this.by = by;
  }
}

export interface LeaseKeeperDeps {
  /** One attempt a request: what fails is tried again an interval later. */
  readonly root: ReplicaRoot;
  /** Our epoch. */
  readonly record: EpochRecord;
  readonly mode: EpochMode;
  /** Between two renewals, and between two looks for a higher epoch. The lease is the idle bill. */
  readonly intervalMs: number;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
  /** Resolves after the time, or at once when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  /** The newest TXID that the store has confirmed. */
  readonly storedTxid: () => Txid | undefined;
  /** The lease was not renewed, or no look succeeded. Called again only if the cause changes. */
  readonly onRenewFailed: (error: unknown) => void;
  /** Both succeed again. */
  readonly onRenewed: () => void;
}

/**
 * Keeps an epoch: renews its lease, and looks for a higher epoch. An idle hour with an interval of a minute is 60 PUTs and 60 GETs
 * (or, where the store is not exclusive, LISTs).
 *
 * - A lease that cannot be renewed is reported and stops nothing: a store that is away must not take the application down.
 * - Only a higher epoch that was *seen* fences. Once fenced stays fenced.
 * - Nothing ships that follows no recent look: after a suspended machine, a stopped process or an outage, `beforeShip` looks first.
 */
export class LeaseKeeper {
  readonly #deps: LeaseKeeperDeps;
  /** Both clocks when the last successful look began; undefined: there was none, and much may have happened since the epoch was taken. */
  #lookedAt: { readonly now: number; readonly nowMs: number } | undefined;
  #fenced: Fenced | undefined;
  #failure: string | undefined;
  /** Exclusive mode: the number to look at. Branches before it were seen. */
  #nextEpoch: number;
  /** Detected mode: what was read already. */
  #log: EpochLog | undefined;

  constructor(deps: LeaseKeeperDeps) {
    this.#deps = deps;
    this.#nextEpoch = deps.record.epoch + 1;
  }

  /** Renews and looks once an interval, first an interval from now, until the signal is aborted. @throws {Fenced} */
  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#deps.sleep(this.#deps.intervalMs, signal);
      if (signal.aborted) return;
      // The look first: who is fenced renews nothing any more.
      const failures = [
        await attempt(signal, () => this.#look({ signal })),
        await attempt(signal, () => this.#renew({ signal })),
      ];
      if (signal.aborted) return;
      this.#report(failures.find((failure) => failure !== undefined));
    }
  }

  /**
   * To be awaited before anything is written into the timeline. Returns at once if the last look is recent by both clocks.
   *
   * @throws {Fenced} @throws the store's error if the look fails: then nothing may be written.
   */
  async beforeShip(signal: AbortSignal): Promise<void> {
    if (this.#fenced !== undefined) throw this.#fenced;
    if (!this.#isRecentlyLooked()) await this.#look({ signal });
  }

  #isRecentlyLooked(): boolean {
    if (this.#lookedAt === undefined) return false;
    const { intervalMs, now, nowMs } = this.#deps;
    const wallMs = now() - this.#lookedAt.now;
    const monotonicMs = nowMs() - this.#lookedAt.nowMs;
    // The monotonic clock stands still while the machine is suspended; the wall clock may be set. Either alone would be believed.
    return (
      Math.max(wallMs, monotonicMs) <= intervalMs * looksMissedMax &&
      Math.abs(wallMs - monotonicMs) <= intervalMs
    );
  }

  async #look(options: RequestOptions): Promise<void> {
    if (this.#fenced !== undefined) throw this.#fenced;
    const { mode, now, nowMs } = this.#deps;
    // From before the request: what comes between it and its answer is not seen.
    const beganAt = { now: now(), nowMs: nowMs() };
    const higher =
      mode.kind === "exclusive" ? await this.#nextWriter(options) : await this.#listHigher(options);
    if (higher !== undefined) {
      this.#fenced ??= new Fenced(higher);
      throw this.#fenced;
    }
    this.#lookedAt = beganAt;
  }

  /** Numbers have no gaps and are never deleted, so that the next one is all that has to be asked for. */
  async #nextWriter(options: RequestOptions): Promise<EpochRecord | undefined> {
    for (;;) {
      const id = { epoch: this.#nextEpoch, nonce: undefined };
      const record = await readRecord(this.#deps.root, id, options).catch((error: unknown) => {
        if (isNotFound(error)) return undefined;
        throw error;
      });
      if (record?.kind !== "branch") return record;
      this.#nextEpoch = Math.max(this.#nextEpoch, record.epoch + 1);
    }
  }

  async #listHigher(options: RequestOptions): Promise<EpochRecord | undefined> {
    const { root, record } = this.#deps;
    const log = await (this.#log?.readAgain(options) ?? EpochLog.read(root, options));
    const higher = await log.writerAbove(record);
    this.#log = log;
    return higher;
  }

  async #renew(options: RequestOptions): Promise<void> {
    const { root, record, now, storedTxid } = this.#deps;
    const { nonce, owner } = record;
    const lease = {
      nonce,
      owner,
      renewedAt: new Date(now()).toISOString(),
      txid: storedTxid() ?? null,
    };
    const key = epochObjectKey(root, epochIdOf(record), "lease");
    await root.store.put(key, encodeEpochLease(lease), options);
  }

  #report(failure: unknown): void {
    const cause = failure === undefined ? undefined : (failure as { readonly code: string }).code;
    if (cause === this.#failure) return;
    this.#failure = cause;
    if (cause === undefined) this.#deps.onRenewed();
    else this.#deps.onRenewFailed(failure);
  }
}

/** Intervals without a look after which nothing ships. */
const looksMissedMax = 1.5;

/** @returns the failure of a request, which stops nothing. @throws {Fenced} and everything that is no answer of the store. */
async function attempt(signal: AbortSignal, request: () => Promise<void>): Promise<unknown> {
  try {
    await request();
    return undefined;
  } catch (error) {
    const isAnswer = error instanceof ObjectStoreError || error instanceof ReplicaError;
    if (isAnswer || signal.aborted) return error;
    throw error;
  }
}
