import { ReplicationError } from "../errors.ts";
import type { Txid } from "../ltx/txid.ts";
import type { CrashPointListener } from "./crash-point.ts";
import type { Spool, SpoolFile } from "./spool.ts";

/**
 * Moves files from the spool to the store, strictly one after the other: TXID n + 1 becomes visible only after n, so that a
 * failed upload never leaves a gap. An upload that fails is tried again for ever, with growing pauses; the application is never blocked.
 */
export interface ShipperDeps {
  readonly spool: Spool;
  /** Writes one file. Resolves when the store has confirmed it; the confirmation of an earlier attempt counts. */
  readonly put: (file: SpoolFile, signal: AbortSignal) => Promise<{ readonly key: string }>;
  readonly now: () => number;
  /** Resolves after the time, or at once when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly at: CrashPointListener;
  readonly onStored: (file: SpoolFile, key: string) => void;
  readonly onFailing: (error: unknown, sinceMs: number) => void;
  readonly onRecovered: (failedForMs: number) => void;
}

const backoffMsMin = 250;
const backoffMsMax = 10_000;

export class Shipper {
  readonly #deps: ShipperDeps;
  readonly #stopping = new AbortController();
  #wake: () => void = () => {};
  #waiters: { txid: Txid; resolve: () => void; reject: (error: unknown) => void }[] = [];
  #failure: unknown;
  /** Why nothing is shipped any more. */
  #ended: unknown;

  constructor(deps: ShipperDeps) {
    this.#deps = deps;
  }

  /** The newest failure, while the newest upload fails. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Looks for waiting files again. */
  wake(): void {
    this.#wake();
  }

  /** Resolves when everything up to `txid` is confirmed. */
  async stored(txid: Txid, signal?: AbortSignal): Promise<void> {
    if (!this.#isWaiting(txid)) return;
    if (this.#ended !== undefined) throw this.#ended;
    signal?.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        reject(signal?.reason as Error);
      };
      const settled = (): void => signal?.removeEventListener("abort", onAbort);
      const waiter = {
        txid,
        resolve: () => {
          settled();
          resolve();
        },
        reject: (error: unknown) => {
          settled();
          reject(error as Error);
        },
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiters.push(waiter);
    });
  }

  /** A merge has given `txid` to everything captured from there on: those who wait for a later one wait for this one. */
  takeBack(txid: Txid): void {
    for (const waiter of this.#waiters) if (waiter.txid > txid) waiter.txid = txid;
  }

  /**
   * Ships until `stop`. @throws the first error that no repetition can mend: somebody else writes into our timeline.
   * Everybody who waits is told the same.
   */
  async run(isFatal: (error: unknown) => boolean): Promise<void> {
    const { signal } = this.#stopping;
    try {
      while (!signal.aborted) {
        if (this.#deps.spool.waiting.length === 0) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          continue;
        }
        await this.#shipNext(isFatal);
      }
    } catch (error) {
      this.#end(error);
      throw error;
    }
  }

  /** Ends `run`; an upload under way is aborted. What waits stays in the spool. */
  stop(): void {
    const stopped = new ReplicationError(
      "STOPPED",
      "the stream was stopped before everything was stored",
      "What is missing waits in the spool and is shipped at the next start.",
    );
    this.#stopping.abort(stopped);
    this.#end(stopped);
    this.#wake();
  }

  async #shipNext(isFatal: (error: unknown) => boolean): Promise<void> {
    const { spool } = this.#deps;
    const { signal } = this.#stopping;
    let failingSince: number | undefined;
    for (
      let pauseMs = backoffMsMin;
      !signal.aborted;
      pauseMs = Math.min(pauseMs * 2, backoffMsMax)
    ) {
      try {
        await spool.settled();
        const file = spool.waiting[0];
        if (file === undefined) return;
        const { key } = await this.#deps.put(file, signal);
        this.#deps.at("stored-not-marked");
        await spool.markStored(file);
        this.#failure = undefined;
        if (failingSince !== undefined) this.#deps.onRecovered(this.#deps.now() - failingSince);
        this.#deps.onStored(file, key);
        this.#resolveWaiters();
        return;
      } catch (error) {
        if (signal.aborted) return;
        if (isFatal(error)) throw error;
        failingSince ??= this.#deps.now();
        this.#failure = error;
        this.#deps.onFailing(error, failingSince);
        await this.#deps.sleep(pauseMs, signal);
      }
    }
  }

  #isWaiting(txid: Txid): boolean {
    return this.#deps.spool.waiting.some((file) => file.name.maxTxid <= txid);
  }

  #resolveWaiters(): void {
    const done = this.#waiters.filter((waiter) => !this.#isWaiting(waiter.txid));
    this.#waiters = this.#waiters.filter((waiter) => !done.includes(waiter));
    for (const waiter of done) waiter.resolve();
  }

  #end(error: unknown): void {
    this.#ended ??= error;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.reject(error);
  }
}
