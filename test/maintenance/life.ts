import { mkdirSync } from "node:fs";
import {
  type ObjectStore,
  ObjectStoreError,
  type StoreCall,
} from "@vaultwarden-stream/object-store";
import type { Prng } from "@vaultwarden-stream/testkit";
import { ReplicaError } from "wal-replicator";
import { type EpochMode, type EpochRecord, takeEpoch } from "wal-replicator/internals";
import { Daemon, type DaemonOptions, rootOf } from "./daemon.ts";
import { type Asker, draw, type StoreWayOptions, troubledStore } from "./troubled-store.ts";

export interface LifeOptions
  extends Pick<DaemonOptions, "machine" | "policy" | "keepsCopies" | "proven" | "emit">,
    Pick<StoreWayOptions, "seed" | "clock" | "weather" | "counts"> {
  readonly store: ObjectStore;
  readonly mode: EpochMode;
  /** Of this process alone. */
  readonly directory: string;
  readonly prng: Prng;
  readonly makeRecord: (epoch: number) => Omit<EpochRecord, "keyedByNonce">;
  /** The epoch is taken; the rest of the start may still fail. */
  readonly onEpoch: (record: EpochRecord) => void;
  /** Time passes, and somebody commits, in the middle of what the process does. */
  readonly meanwhile: () => Promise<void>;
  /** It was killed at a named point. */
  readonly onKilledAt: (point: string) => void;
  /** A step that makes more requests does not come to an end. */
  readonly requestsMax: number;
  readonly onProblem: (problem: string) => void;
}

/** Ends what a process is doing. */
class Killed extends Error {
  override readonly name = "Killed";
  readonly code = "KILLED";
}

const never = Number.POSITIVE_INFINITY;

/** A process, and what is done to it while it works: it can be killed at any request and at every crash point. */
export class Life {
  readonly #options: LifeOptions;
  #daemon: Daemon | undefined;
  #isDead = false;
  #killAfter = never;
  /** Of the step that is under way. */
  #requests = 0;

  /** @returns undefined if the store failed it: an epoch may be taken all the same. */
  static async start(options: LifeOptions): Promise<Life | undefined> {
    const life = new Life(options);
    return (await life.run(() => life.#start())) === undefined ? undefined : life;
  }

  private constructor(options: LifeOptions) {
    this.#options = options;
  }

  get daemon(): Daemon {
    return this.#daemon as Daemon;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /** It dies at one of its next requests or crash points. */
  killAfter(count: number): void {
    this.#killAfter = count;
  }

  /** No request of it arrives any more. */
  end(): void {
    this.#isDead = true;
  }

  /** Performs a part of the process's work. @returns undefined if it died of it, or the store failed it. */
  async run<T>(work: () => Promise<T>): Promise<T | undefined> {
    this.#requests = 0;
    try {
      return await work();
    } catch (error) {
      if (!this.#isDead && !isTroubleOfStore(error)) throw error;
      return undefined;
    }
  }

  async #start(): Promise<true> {
    const { makeRecord, onEpoch, mode, directory } = this.#options;
    const stores = new Map<Asker, ObjectStore>();
    const storeFor = (asker: Asker): ObjectStore => {
      const store = stores.get(asker) ?? this.#wayToStore(asker);
      stores.set(asker, store);
      return store;
    };
    const record = await takeEpoch(rootOf(storeFor("start")), mode, makeRecord);
    onEpoch(record);
    mkdirSync(directory, { recursive: true });
    const at = (point: string): void => this.#at(point);
    this.#daemon = await Daemon.start({ ...this.#options, record, storeFor, at });
    return true;
  }

  #wayToStore(asker: Asker): ObjectStore {
    const { store, seed, clock, weather, counts } = this.#options;
    const before = (who: Asker, call: StoreCall) => this.#before(who, call);
    const isDead = () => this.#isDead;
    return troubledStore(store, asker, { seed, clock, weather, counts, before, isDead });
  }

  /** What happens right before a request arrives. */
  #before(asker: Asker, { operation, key, nth }: StoreCall): Promise<void> | undefined {
    const { prng, seed, requestsMax, meanwhile, onProblem } = this.#options;
    if (asker !== "maintain" && asker !== "retain") return undefined;
    this.#requests += 1;
    if (this.#requests > requestsMax) {
      this.#isDead = true;
      onProblem(`a step does not come to an end: ${operation} ${key}`);
      return undefined;
    }
    this.#killAfter -= 1;
    if (this.#killAfter <= 0) {
      this.#isDead = true;
      // Half of them arrive all the same.
      return prng.chance(0.5) ? Promise.reject(new Killed("killed before a request")) : undefined;
    }
    // Sources are read side by side, in an order that is the event loop's: nothing may depend on it.
    if (operation === "get") return undefined;
    return draw(seed, `slow ${operation} ${key} ${nth}`) < slowShare ? meanwhile() : undefined;
  }

  #at(point: string): void {
    if (this.#isDead) throw new Killed(`already dead at ${point}`);
    this.#killAfter -= 1;
    if (this.#killAfter > 0) return;
    this.#isDead = true;
    this.#options.onKilledAt(point);
    throw new Killed(point);
  }
}

/** Of the requests: those during which others do something. */
const slowShare = 0.01;

function isTroubleOfStore(error: unknown): boolean {
  if (error instanceof ObjectStoreError) return true;
  return error instanceof ReplicaError && error.code === "EPOCH_HELD";
}
