/**
 * Finds out what a store's `If-None-Match: *` is worth (s3.md 6), by what it does and not by what it is called: some stores refuse it,
 * some ignore it and overwrite, one had it inverted, and some judge it before they have read the body, so that of two writers both win.
 *
 * It proves one endpoint at one time, no cluster behind it.
 */
import { randomBytes } from "node:crypto";
import { ObjectStoreError } from "../errors.ts";
import type { ObjectBody, ObjectStore, RequestOptions } from "../object-store.ts";
import { S3Failure } from "./s3-failure.ts";

/**
 * - `atomic`: of two concurrent creators exactly one is told so.
 * - `not-atomic`: both may be told so.
 * - `ignored`: an existing object is overwritten, with a success.
 * - `inverted`: a fresh object is refused as existing.
 * - `refused`: the store does not take the condition, and says so.
 * - `no-verdict`: it could not be found out. Counts as not atomic.
 */
export type ConditionalWritesVerdict =
  | "atomic"
  | "not-atomic"
  | "ignored"
  | "inverted"
  | "refused"
  | "no-verdict";

export interface ConditionalWritesReport {
  readonly verdict: ConditionalWritesVerdict;
  /** What was seen, for people. */
  readonly sentence: string;
  /** Scratch objects that could not be deleted. */
  readonly leftKeys: readonly string[];
}

export interface ProbeOptions extends RequestOptions {
  /** How long the last byte of both bodies is held back once all others are under way, in milliseconds. Default 250. */
  readonly holdMs?: number;
  /** Of each scratch key and each body; at least 64 bits. Default: random. */
  readonly makeNonce?: () => string;
}

const attemptCountMax = 3;
const retryDelayMs = 200;
const roundCount = 3;
/** Without the deletes at the end. */
const requestCountMax = 19;
/** A request that fails before its body is sent would keep the other one waiting. */
const gateTimeoutMs = 5000;

/**
 * Probes with scratch objects below `probe/`, which are deleted; at most 25 requests, usually 16.
 *
 * @param store - best without a retrying decorator: the probe tries again by itself, with fresh keys.
 * @throws {ObjectStoreError} what no condition has to do with: plain writes or reads are refused.
 */
export async function probeConditionalWrites(
  store: ObjectStore,
  options: ProbeOptions = {},
): Promise<ConditionalWritesReport> {
  const probe = new Probe(store, options);
  try {
    const { verdict, sentence } = await probe.run();
    return { verdict, sentence, leftKeys: await probe.clean() };
  } catch (error) {
    options.signal?.throwIfAborted();
    await probe.clean();
    throw error;
  }
}

interface Finding {
  readonly verdict: ConditionalWritesVerdict;
  readonly sentence: string;
}

class Probe {
  readonly #store: ObjectStore;
  readonly #options: ProbeOptions;
  readonly #request: RequestOptions;
  readonly #makeNonce: () => string;
  readonly #keys: string[] = [];
  #requestCount = 0;

  constructor(store: ObjectStore, options: ProbeOptions) {
    this.#store = store;
    this.#options = options;
    this.#request = options.signal === undefined ? {} : { signal: options.signal };
    this.#makeNonce = options.makeNonce ?? (() => randomBytes(16).toString("hex"));
  }

  async run(): Promise<Finding> {
    const alone = await this.#try(() => this.#createTwice());
    if (alone !== undefined) return alone;
    for (let round = 0; round < roundCount; round++) {
      const together = await this.#try(() => this.#createTogether());
      if (together !== undefined) return together;
    }
    return {
      verdict: "atomic",
      sentence: "of two writers who create the same object at the same time, one is told so",
    };
  }

  /** @returns the keys that are still there. */
  async clean(): Promise<readonly string[]> {
    const left = await Promise.all(
      this.#keys.map(async (key) => {
        try {
          await this.#store.delete(key, this.#request);
          return [];
        } catch {
          // Append-only credentials may not delete, and that says nothing about conditions.
          return [key];
        }
      }),
    );
    return left.flat();
  }

  /** One writer, twice. */
  async #createTwice(): Promise<Finding | undefined> {
    const key = this.#freshKey();
    const first = Buffer.from(this.#makeNonce());
    const outcome = await this.#create(key, first);
    if (outcome === "refused") {
      return {
        verdict: "refused",
        sentence: "the store takes plain writes, and refuses those with a condition",
      };
    }
    if (outcome === "exists") {
      if ((await this.#read(key)) !== undefined) throw new Undecided("a fresh object was there");
      return { verdict: "inverted", sentence: "a fresh object was refused as if it existed" };
    }
    const again = await this.#create(key, Buffer.from(this.#makeNonce()));
    const found = await this.#read(key);
    if (again !== "created" && found === first.toString()) return undefined;
    return {
      verdict: "ignored",
      sentence: "an existing object was overwritten although it had to be absent",
    };
  }

  /** Two writers at once: whoever judges before the body is there has let both in. */
  async #createTogether(): Promise<Finding | undefined> {
    const key = this.#freshKey();
    const gate = new Gate(this.#options.holdMs ?? 250);
    const nonces = [this.#makeNonce(), this.#makeNonce()];
    const outcomes = await Promise.allSettled(
      nonces.map((nonce) =>
        this.#create(key, heldBody(nonce, gate)).finally(() => gate.arrive(nonce)),
      ),
    );
    for (const outcome of outcomes) {
      // A missing answer decides nothing: it may have been the winner's.
      if (outcome.status === "rejected" && !isConflict(outcome.reason)) throw outcome.reason;
    }
    const creators = nonces.filter((_, index) => isCreated(outcomes[index]));
    if (creators.length === 0) throw new Undecided("neither of two writers created an object");
    const found = (await this.#read(key))?.slice(0, creators[0]?.length);
    if (creators.length === 1 && found === creators[0]) return undefined;
    return {
      verdict: "not-atomic",
      sentence: "two writers who created the same object at the same time were both told so",
    };
  }

  async #create(key: string, body: ObjectBody): Promise<"created" | "exists" | "refused"> {
    this.#count();
    try {
      return await this.#store.putIfAbsent(key, body, this.#request);
    } catch (error) {
      if (!(error instanceof ObjectStoreError) || error.retryable) throw error;
      // Is it the condition that is refused, or we?
      this.#count();
      await this.#store.put(key, body, this.#request);
      return "refused";
    }
  }

  /** @returns undefined if there is no object. */
  async #read(key: string): Promise<string | undefined> {
    this.#count();
    try {
      const { body } = await this.#store.get(key, this.#request);
      let text = "";
      for await (const chunk of body) text += Buffer.from(chunk).toString("latin1");
      return text;
    } catch (error) {
      if (error instanceof ObjectStoreError && error.code === "NOT_FOUND") return undefined;
      throw error;
    }
  }

  /** Fresh keys each time: what an attempt without an answer left behind is not looked at. */
  async #try(step: () => Promise<Finding | undefined>): Promise<Finding | undefined> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await step();
      } catch (error) {
        const isPassing =
          error instanceof Undecided || (error instanceof ObjectStoreError && error.retryable);
        if (!isPassing) throw error;
        if (attempt === attemptCountMax || this.#requestCount > requestCountMax) {
          return { verdict: "no-verdict", sentence: `it could not be found out: ${error.message}` };
        }
        await wait(retryDelayMs * attempt, this.#options.signal);
      }
    }
  }

  #count(): void {
    this.#requestCount++;
    if (this.#requestCount > requestCountMax) throw new Undecided("the store failed too often");
  }

  #freshKey(): string {
    const key = `probe/${this.#makeNonce()}/claim`;
    this.#keys.push(key);
    return key;
  }
}

/** The store has answered, and its answers fit nothing. */
class Undecided extends Error {
  override readonly name = "Undecided";
}

function isCreated(outcome: PromiseSettledResult<string> | undefined): boolean {
  return outcome?.status === "fulfilled" && outcome.value === "created";
}

/** 409: S3's other word for "you were not the one". */
function isConflict(error: unknown): boolean {
  return (
    error instanceof ObjectStoreError &&
    error.cause instanceof S3Failure &&
    error.cause.status === 409
  );
}

/** Opens when both have arrived, and a while after. */
class Gate {
  readonly #holdMs: number;
  readonly #arrived = new Set<string>();
  readonly #both: Promise<void>;
  #openNow: () => void = () => undefined;

  constructor(holdMs: number) {
    this.#holdMs = holdMs;
    this.#both = new Promise((resolve) => {
      this.#openNow = resolve;
    });
  }

  arrive(name: string): void {
    this.#arrived.add(name);
    if (this.#arrived.size === 2) this.#openNow();
  }

  async pass(name: string): Promise<void> {
    this.arrive(name);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, gateTimeoutMs);
    });
    await Promise.race([this.#both, patience]);
    clearTimeout(timer);
    await wait(this.#holdMs, undefined);
  }
}

/**
 * A body that begins with the nonce and keeps its last byte back. The store opens it for its hash first; the second time it is sent.
 *
 * Node takes the first chunk before there is a connection, the stream keeps the second; so who asks for the last byte has sent the headers.
 */
function heldBody(nonce: string, gate: Gate): ObjectBody {
  const chunks = [64 * 1024, 16 * 1024].map((length) => new Uint8Array(length));
  chunks[0]?.set(Buffer.from(nonce));
  let openingCount = 0;
  return {
    size: 80 * 1024 + 1,
    open: async function* () {
      openingCount++;
      const isSent = openingCount === 2;
      yield* chunks;
      if (isSent) await gate.pass(nonce);
      yield new Uint8Array(1);
    },
  };
}

async function wait(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, delayMs);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
  signal?.throwIfAborted();
}
