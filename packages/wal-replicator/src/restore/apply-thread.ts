import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { FormatError, ReplicationError } from "../errors.ts";
import { type TransferredError, unpackError } from "../helper/error-transfer.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import { PageChecksums } from "../ship/page-checksums.ts";
import type { AppliedDatabase } from "./database-image.ts";
import { FileDamaged, type FilePart, type PartApplier } from "./part-applier.ts";

/** What the thread is started with. */
export interface ApplyJob {
  readonly newestFirst: readonly ReplicaFile[];
  /** Of the target, for messages, and of the file that is written. */
  readonly path: string;
  readonly temporaryPath: string;
}

/** One `part` for each part, then one `complete`; each is answered in its turn, by `failed` at most once. */
export type ToApplyThread =
  | ({ readonly type: "part" } & FilePart)
  | { readonly type: "complete"; readonly recorded: string | undefined };

export type FromApplyThread =
  | { readonly type: "applied" }
  | {
      readonly type: "completed";
      readonly database: Omit<AppliedDatabase, "pageChecksums">;
      readonly halves: Uint32Array;
    }
  | {
      readonly type: "failed";
      readonly error: TransferredError;
      /** Of the file that the error is about, if it is damaged. */
      readonly damagedIndex: number | undefined;
    };

/**
 * Starts a thread that applies the parts of files, so that this one is free to fetch them.
 *
 * @returns undefined where there is no such entry: a bundler has left it out.
 */
export function startApplyThread(
  job: ApplyJob,
  entryPath: string | undefined = ownEntryPath(),
): PartApplier | undefined {
  if (entryPath === undefined || !existsSync(entryPath)) return undefined;
  return new ApplyThread(job, entryPath);
}

/** Beside this file, with its extension: `.ts` from sources, `.mjs` built. A bundle of CommonJS does not know where it is. */
function ownEntryPath(): string | undefined {
  const here = import.meta.url as string | undefined;
  if (here === undefined) return undefined;
  const extension = here.endsWith(".ts") ? ".ts" : ".mjs";
  return fileURLToPath(new URL(`./apply-thread-main${extension}`, here));
}

/** Handed over and not applied yet: one to work on, and the next. */
const partsWaitingMax = 2;

class ApplyThread implements PartApplier {
  readonly #worker: Worker;
  readonly #job: ApplyJob;
  #partsWaiting = 0;
  #database: AppliedDatabase | undefined;
  #failure: { readonly error: unknown } | undefined;
  #changed = Promise.withResolvers<void>();

  constructor(job: ApplyJob, entryPath: string) {
    this.#job = job;
    this.#worker = new Worker(entryPath, {
      workerData: job,
      // What it makes for each page is garbage at once: more room for that is only memory.
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
      // Nothing of the host's own flags (an inspector's port, an eval) is meant for the thread.
      execArgv: entryPath.endsWith(".ts") ? ["--conditions=@vaultwarden-stream/source"] : [],
    });
    this.#worker.on("message", (message: FromApplyThread) => this.#receive(message));
    this.#worker.on("messageerror", (error) =>
      this.#fail(ended("said something unreadable", error)),
    );
    this.#worker.on("error", (error) => this.#fail(ended(`ended with ${String(error)}`, error)));
    this.#worker.on("exit", (code) => this.#fail(ended(`ended by itself, with code ${code}`)));
  }

  async apply(part: FilePart): Promise<void> {
    const chunks = part.chunks.map(ownBuffer);
    const message: ToApplyThread = { type: "part", ...part, chunks };
    this.#worker.postMessage(
      message,
      chunks.map(({ buffer }) => buffer),
    );
    this.#partsWaiting += 1;
    await this.#until(() => this.#partsWaiting < partsWaitingMax);
  }

  async complete(recorded: string | undefined): Promise<AppliedDatabase> {
    this.#worker.postMessage({ type: "complete", recorded } satisfies ToApplyThread);
    await this.#until(() => this.#database !== undefined);
    return this.#database as AppliedDatabase;
  }

  /** Resolves when the thread is gone, and writes nothing more. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate();
  }

  #receive(message: FromApplyThread): void {
    if (message.type === "applied") {
      this.#partsWaiting -= 1;
    } else if (message.type === "completed") {
      const { database, halves } = message;
      const pageChecksums = PageChecksums.fromHalves(database.pageSize, halves);
      this.#database = { ...database, pageChecksums };
    } else {
      const error = unpackError(message.error);
      const file = this.#job.newestFirst[message.damagedIndex ?? -1];
      this.#fail(error instanceof FormatError && file ? new FileDamaged(file, error) : error);
    }
    this.#wake();
  }

  /** The first reason counts: an exit follows every other. */
  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  async #until(isReached: () => boolean): Promise<void> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure.error;
      if (isReached()) return;
      await this.#changed.promise;
    }
  }
}

/** Transferred, not copied, unless the chunk lies in a buffer that is somebody else's too. */
function ownBuffer(chunk: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer } = chunk;
  const isWhole = buffer instanceof ArrayBuffer && buffer.byteLength === chunk.byteLength;
  return isWhole ? (chunk as Uint8Array<ArrayBuffer>) : new Uint8Array(chunk);
}

function ended(how: string, cause?: unknown): ReplicationError {
  return new ReplicationError(
    "HELPER_FAILED",
    `the thread that applies the files of a restore ${how}`,
    "The target was not touched. If memory is short, give the process more of it, and restore again.",
    { cause },
  );
}
