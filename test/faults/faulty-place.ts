import {
  FaultyStore,
  MemoryStore,
  type ObjectStore,
  ObjectStoreError,
  openObjectStore,
  type PutOptions,
  type Fault as StoreFault,
} from "@vaultwarden-stream/object-store";
import { type S3Fault, startS3Server } from "@vaultwarden-stream/testkit";
import { findDestruction } from "../support/destruction.ts";

/** A store for one replica, where the requests that are armed for fail. */
export interface FaultyPlace extends AsyncDisposable {
  readonly store: ObjectStore;
  /** From now on the `skip + 1`-th request and those behind it fail, `times` in all. */
  arm(skip: number, times: number): void;
  /** Nothing fails any more. */
  lift(): Requests;
  /** What was deleted or overwritten with other bytes. */
  destroyed(): readonly string[];
  /** What no message may hold. */
  readonly secrets: readonly string[];
  /** Moves the store's own clock. */
  advanceClock(byMs: number): void;
}

/** What came in since requests were armed. */
export interface Requests {
  readonly requestCount: number;
  readonly failedCount: number;
}

/** Fails the armed requests of one place, counted from 0. */
class Trigger {
  #skip = 0;
  #times = 0;
  #requestCount = 0;
  #failedCount = 0;

  arm(skip: number, times: number): void {
    this.#skip = skip;
    this.#times = times;
    this.#requestCount = 0;
    this.#failedCount = 0;
  }

  lift(): Requests {
    this.#times = 0;
    return { requestCount: this.#requestCount, failedCount: this.#failedCount };
  }

  strikes(): boolean {
    this.#requestCount += 1;
    const nth = this.#requestCount - this.#skip;
    if (nth < 1 || nth > this.#times) return false;
    this.#failedCount += 1;
    return true;
  }
}

/** An S3 server in this process. @param silenceMs - after which a request that stalls is given up; default: as in production. */
export async function openS3Place(fault: S3Fault, silenceMs?: number): Promise<FaultyPlace> {
  const trigger = new Trigger();
  const server = await startS3Server({
    clockSkewMaxMs: 3_600_000,
    faults: () => (trigger.strikes() ? fault : undefined),
  });
  const { endpoint, region, bucket, credentials } = server;
  const timeouts = silenceMs === undefined ? {} : { answerMs: silenceMs, silenceMs };
  const location = { bucket, prefix: "replica", endpoint, region, credentials, timeouts };
  return {
    store: openObjectStore(location),
    arm: (skip, times) => trigger.arm(skip, times),
    lift: () => trigger.lift(),
    destroyed: () => findDestruction(server.requests),
    secrets: [credentials.secretAccessKey, credentials.accessKeyId, "Signature="],
    advanceClock: (byMs) => server.advanceClock(byMs),
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

/** A store in memory: the contract without a network. */
export async function openMemoryPlace(fault: StoreFault): Promise<FaultyPlace> {
  const trigger = new Trigger();
  let offsetMs = 0;
  const watched = new WatchedMemoryStore(() => new Date(Date.now() + offsetMs));
  return {
    store: new FaultyStore(watched, () => (trigger.strikes() ? fault : undefined)),
    arm: (skip, times) => trigger.arm(skip, times),
    lift: () => trigger.lift(),
    destroyed: () => watched.destroyed,
    secrets: [],
    advanceClock: (byMs) => {
      offsetMs += byMs;
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

/** Knows what was destroyed in it. */
class WatchedMemoryStore extends MemoryStore {
  readonly destroyed: string[] = [];

  constructor(now: () => Date) {
    super({ now });
  }

  override async put(key: string, body: Uint8Array, options?: PutOptions): Promise<void> {
    const before = key.endsWith(".lease.json") ? undefined : await this.#read(key);
    await super.put(key, body, options);
    const after = await this.#read(key);
    if (before !== undefined && after !== undefined && !before.equals(after)) {
      this.destroyed.push(`${key} was overwritten`);
    }
  }

  override async delete(key: string): Promise<void> {
    this.destroyed.push(`${key} was deleted`);
    await super.delete(key);
  }

  async #read(key: string): Promise<Buffer | undefined> {
    const { body } = await this.get(key).catch((error: unknown) => {
      if (error instanceof ObjectStoreError && error.code === "NOT_FOUND") return { body: [] };
      throw error;
    });
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk);
    return chunks.length === 0 ? undefined : Buffer.concat(chunks);
  }
}
