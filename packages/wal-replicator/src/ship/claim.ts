import { ObjectStoreError } from "@vaultwarden-stream/object-store";
import { invariant } from "../errors.ts";
import type { Catalog } from "../replica/catalog.ts";
import type { EpochMode } from "../replica/epoch.ts";
import type { EpochRecord } from "../replica/epoch-record.ts";
import type { LeaseKeeper } from "../replica/lease.ts";

/**
 * Our right to ship: an epoch, and for a writer the lease on it. After a start without the store the epoch is still to be taken;
 * until then captures wait in the spool.
 */
export interface ClaimDeps {
  /** Taken already; undefined: `take` does it when the store is back. */
  readonly holding: Holding | undefined;
  /** One attempt. Throws the store's error, or what makes this stream impossible: somebody else took over meanwhile. */
  readonly take: (signal: AbortSignal) => Promise<Holding>;
  readonly makeKeeper: (holding: Holding) => LeaseKeeper;
  readonly onTaken: (record: EpochRecord) => void;
  /** What a writer does beside the renewals, until the signal is aborted. Throws what ends the session. */
  readonly whileHeld: (holding: Holding, signal: AbortSignal) => Promise<void>;
  /** Without an epoch the store's failures are seen here first. */
  readonly onFailing: (error: unknown) => void;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** An epoch of ours, and how far the store keeps others from it. */
export interface Holding {
  readonly record: EpochRecord;
  readonly mode: EpochMode;
  /** What its timeline holds: listed once at the start, and kept by whoever writes there since. */
  readonly catalog: Catalog;
}

const retryMs = 5_000;

export class Claim {
  readonly #deps: ClaimDeps;
  #holding: Holding | undefined;
  /** A branch claims nothing, and has no lease to keep. */
  #keeper: LeaseKeeper | undefined;
  #taking: Promise<Holding> | undefined;

  constructor(deps: ClaimDeps) {
    this.#deps = deps;
    if (deps.holding !== undefined) this.#hold(deps.holding);
  }

  get holding(): Holding | undefined {
    return this.#holding;
  }

  /**
   * To be awaited before anything is written into the timeline: takes the epoch if there is none yet, and looks for a higher one if nobody
   * has for a while (a suspended machine, a frozen CPU).
   *
   * @throws `Fenced`, or the store's error: then nothing may be written.
   */
  async beforeShip(signal: AbortSignal): Promise<Holding> {
    const holding = this.#holding ?? (await this.#take(signal));
    await this.#keeper?.beforeShip(signal);
    return holding;
  }

  /** Takes the epoch when the store is back, then renews the lease and looks for a higher epoch. @throws `Fenced`, and what `take` cannot mend. */
  async run(signal: AbortSignal): Promise<void> {
    while (this.#holding === undefined && !signal.aborted) {
      try {
        await this.#take(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof ObjectStoreError)) throw error;
        this.#deps.onFailing(error);
        await this.#deps.sleep(retryMs, signal);
      }
    }
    const holding = this.#holding;
    if (holding === undefined || this.#keeper === undefined) return;
    await Promise.all([this.#keeper.run(signal), this.#deps.whileHeld(holding, signal)]);
  }

  #take(signal: AbortSignal): Promise<Holding> {
    this.#taking ??= this.#deps
      .take(signal)
      .then((holding) => {
        this.#hold(holding);
        this.#deps.onTaken(holding.record);
        return holding;
      })
      .finally(() => {
        this.#taking = undefined;
      });
    return this.#taking;
  }

  #hold(holding: Holding): void {
    invariant(this.#holding === undefined, "a session takes one epoch");
    this.#holding = holding;
    if (holding.record.kind === "writer") this.#keeper = this.#deps.makeKeeper(holding);
  }
}
