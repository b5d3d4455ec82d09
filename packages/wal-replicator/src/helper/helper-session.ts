import { ReplicationError } from "../errors.ts";
import type { ReplicateOptions, Replication } from "../replication.ts";
import { packError } from "./error-transfer.ts";
import {
  type FromHelper,
  type HelperAnswer,
  type HelperOptions,
  type HelperRequest,
  orphanTimeoutMs,
  type ToHelper,
} from "./helper-protocol.ts";

/** Past the engine's own bound, when it hangs: a helper never outlives its host for good. */
const exitMarginMs = 5_000;
const spoolRetryMs = 100;

/**
 * The helper's side: runs the engine for a host in another process, answers it, and outlives it only as long as the tail needs.
 *
 * - Host gone (`disconnect`), or SIGTERM: capture the tail, store it within `orphanTimeoutMs`, release, exit.
 * - SIGINT and SIGHUP come to the whole group of a terminal: the host decides what they mean, and the helper sees its decision.
 */
export class HelperSession {
  readonly #start: (options: ReplicateOptions) => Promise<Replication>;
  readonly #aborted = new AbortController();
  readonly #cancels = new Map<number, AbortController>();
  #replication: Promise<Replication> | undefined;
  #isEnding = false;

  constructor(start: (options: ReplicateOptions) => Promise<Replication>) {
    this.#start = start;
  }

  /** Listens to this process's host and signals. Call once. */
  run(): void {
    process.on("message", (message) => this.#receive(message as ToHelper));
    process.on("disconnect", () => void this.#end());
    process.on("SIGTERM", () => void this.#end());
    process.on("SIGINT", () => {});
    process.on("SIGHUP", () => {});
  }

  #receive(message: ToHelper): void {
    if (message.type === "start") {
      this.#replication = this.#startWhenSpoolIsFree(message.options);
      void this.#reportStart(this.#replication);
    } else if (message.type === "request") {
      void this.#answer(message.id, message);
    } else {
      this.#cancels.get(message.id)?.abort();
    }
  }

  /** The helper of a host that died a moment ago may still be storing its tail: it lets go within its bound. */
  async #startWhenSpoolIsFree(options: HelperOptions): Promise<Replication> {
    const deadlineMs = performance.now() + orphanTimeoutMs + exitMarginMs;
    while (true) {
      try {
        return await this.#start({
          ...options,
          home: "in-process",
          signal: this.#aborted.signal,
          onEvent: (event) => send({ type: "event", event }),
        });
      } catch (error) {
        const isInUse = error instanceof ReplicationError && error.code === "SPOOL_IN_USE";
        if (!isInUse || performance.now() >= deadlineMs || this.#aborted.signal.aborted)
          throw error;
        await new Promise((resolve) => setTimeout(resolve, spoolRetryMs));
      }
    }
  }

  async #reportStart(starting: Promise<Replication>): Promise<void> {
    let replication: Replication;
    try {
      replication = await starting;
    } catch (error) {
      if (!this.#isEnding) await sendAndExit({ type: "start-failed", error: packError(error) }, 1);
      return;
    }
    send({ type: "started" });
    try {
      await replication.ended;
    } catch (error) {
      await sendAndExit({ type: "failed", error: packError(error) }, 1);
    }
  }

  async #answer(id: number, request: HelperRequest): Promise<void> {
    const cancel = new AbortController();
    this.#cancels.set(id, cancel);
    try {
      const replication = await this.#replication;
      if (replication === undefined) return;
      const value = await perform(replication, request, cancel.signal);
      if (request.verb === "stop") await sendAndExit({ type: "answer", id, value }, 0);
      else send({ type: "answer", id, value });
    } catch (error) {
      // Ending without the host's having asked for it is no answer: the host asks the next helper.
      if (!this.#isEnding) send({ type: "refusal", id, error: packError(error) });
    } finally {
      this.#cancels.delete(id);
    }
  }

  async #end(): Promise<void> {
    if (this.#isEnding) return;
    this.#isEnding = true;
    setTimeout(() => process.exit(1), orphanTimeoutMs + exitMarginMs).unref();
    this.#aborted.abort(
      new ReplicationError("STOPPED", "the host has gone", "Start the application again."),
    );
    try {
      const replication = await this.#replication;
      const result = await replication?.stop({ timeoutMs: orphanTimeoutMs });
      process.exit(result === undefined || result.released ? 0 : 1);
    } catch {
      // Nobody is left to hear it. What is captured waits in the spool, and the next start finds the rest in the WAL.
      process.exit(1);
    }
  }
}

function perform(
  replication: Replication,
  request: HelperRequest,
  signal: AbortSignal,
): Promise<HelperAnswer> {
  if (request.verb === "flush") return replication.flush({ signal });
  if (request.verb === "status") return replication.status();
  if (request.verb === "snapshot") return replication.snapshot({ signal });
  return replication.stop(request.options);
}

/** A message to a host that has just gone is lost, and that is all: `disconnect` follows. */
function send(message: FromHelper): void {
  process.send?.(message, undefined, undefined, () => {});
}

async function sendAndExit(message: FromHelper, exitCode: number): Promise<void> {
  // Exit only when the message is out: an exit closes the channel with what is in it.
  await new Promise<void>((resolve) => {
    if (process.send === undefined) resolve();
    else process.send(message, undefined, undefined, () => resolve());
  });
  process.exit(exitCode);
}
