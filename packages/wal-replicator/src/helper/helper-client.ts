import { type ChildProcess, fork } from "node:child_process";
import { resolve as resolvePath } from "node:path";
import { fileURLToPath } from "node:url";
import { ReplicationError } from "../errors.ts";
import type {
  Position,
  ReplicateOptions,
  Replication,
  ReplicationStatus,
  StopOptions,
  StopResult,
} from "../replication.ts";
import { unpackError } from "./error-transfer.ts";
import type {
  FromHelper,
  HelperAnswer,
  HelperOptions,
  HelperRequest,
  ToHelper,
} from "./helper-protocol.ts";
import { RestartPolicy } from "./restart-policy.ts";

/** How long a helper that has answered `stop` may take to exit. */
const exitTimeoutMs = 5_000;

interface Pending {
  readonly request: HelperRequest;
  readonly resolve: (answer: HelperAnswer) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Starts the engine in a helper process. A start that fails rejects with the engine's own error; a running helper that ends
 * by itself is started again, and finds by its resume what was committed meanwhile.
 *
 * A running stream does not keep the host's event loop alive; a call that waits for an answer does.
 *
 * @throws the engine's error, or {ReplicationError} `HELPER_FAILED` if the helper ended without one, or `OPTIONS_CONFLICT`
 *   for a `Database` class or an open `store`.
 */
export async function startHelper(options: ReplicateOptions): Promise<Replication> {
  options.signal?.throwIfAborted();
  if (options.Database !== undefined) {
    throw new ReplicationError(
      "OPTIONS_CONFLICT",
      "`Database` was given, and a class cannot be passed to the helper process",
      'Leave `Database` out, or run the engine with `home: "in-process"`.',
    );
  }
  if (options.store !== undefined) {
    throw new ReplicationError(
      "OPTIONS_CONFLICT",
      "`store` was given, and an open store cannot be passed to the helper process",
      'Leave `store` out, or run the engine with `home: "in-process"`.',
    );
  }
  const client = new HelperClient(options);
  await client.start(options.signal);
  return client;
}

class HelperClient implements Replication {
  readonly ended: Promise<void>;
  readonly #ended = Promise.withResolvers<void>();
  readonly #onEvent: ReplicateOptions["onEvent"];
  readonly #options: HelperOptions;
  readonly #helperPath: string;
  readonly #policy = new RestartPolicy();
  readonly #pending = new Map<number, Pending>();
  #started: PromiseWithResolvers<void> | undefined = Promise.withResolvers<void>();
  #child: ChildProcess | undefined;
  #isChildReady = false;
  #restartTimer: NodeJS.Timeout | undefined;
  #nextId = 1;
  #stopping: Promise<StopResult> | undefined;
  /** Why there is no stream any more. */
  #end: { readonly reason: unknown } | undefined;

  constructor(options: ReplicateOptions) {
    this.ended = this.#ended.promise;
    // Whoever looks at `ended` still sees the rejection; a host that does not look is not taken down by it.
    this.ended.catch(() => {});
    this.#onEvent = options.onEvent;
    this.#helperPath = options.helperPath ?? defaultHelperPath();
    this.#options = toHelperOptions(options);
  }

  async start(signal: AbortSignal | undefined): Promise<void> {
    const started = this.#started;
    if (started === undefined) return;
    // The helper lets go and exits by itself when its channel closes.
    const abandon = (): void => this.#finish(signal?.reason);
    signal?.addEventListener("abort", abandon, { once: true });
    try {
      this.#spawn();
      await started.promise;
    } finally {
      signal?.removeEventListener("abort", abandon);
    }
  }

  async flush(options: { readonly signal?: AbortSignal } = {}): Promise<Position> {
    return (await this.#ask({ verb: "flush" }, options.signal)) as Position;
  }

  async status(): Promise<ReplicationStatus> {
    return (await this.#ask({ verb: "status" })) as ReplicationStatus;
  }

  async snapshot(options: { readonly signal?: AbortSignal } = {}): Promise<Position> {
    return (await this.#ask({ verb: "snapshot" }, options.signal)) as Position;
  }

  stop(options: StopOptions = {}): Promise<StopResult> {
    this.#stopping ??= this.#stop(options);
    return this.#stopping;
  }

  async #stop(options: StopOptions): Promise<StopResult> {
    const result = (await this.#ask({ verb: "stop", options })) as StopResult;
    const child = this.#child;
    this.#finish(
      new ReplicationError("STOPPED", "the stream was stopped", "Start a new one."),
      true,
    );
    if (child !== undefined) await exitOf(child);
    this.#ended.resolve();
    return result;
  }

  #ask(request: HelperRequest, signal?: AbortSignal): Promise<HelperAnswer> {
    if (signal?.aborted) return Promise.reject(signal.reason as Error);
    if (this.#end !== undefined) return Promise.reject(this.#end.reason as Error);
    const id = this.#nextId++;
    const answer = Promise.withResolvers<HelperAnswer>();
    const abort = (): void => {
      this.#settle(id)?.reject(signal?.reason);
      this.#send({ type: "cancel", id });
    };
    signal?.addEventListener("abort", abort, { once: true });
    this.#pending.set(id, { request, resolve: answer.resolve, reject: answer.reject });
    this.#holdHost();
    // Without a helper that is ready the request waits, and is sent with the others when the next one is.
    if (this.#isChildReady) this.#send({ type: "request", id, ...request });
    return answer.promise.finally(() => signal?.removeEventListener("abort", abort));
  }

  #spawn(): void {
    const child = fork(this.#helperPath, [], {
      serialization: "advanced",
      // The helper speaks over its channel alone; stderr shows why it died, if it dies.
      stdio: ["ignore", "ignore", "inherit", "ipc"],
      // Nothing of the host's own flags (an inspector's port, an eval) is meant for the helper.
      execArgv: this.#helperPath.endsWith(".ts") ? ["--conditions=@vaultwarden-stream/source"] : [],
    });
    this.#child = child;
    this.#isChildReady = false;
    child.on("message", (message) => this.#receive(child, message as FromHelper));
    child.on("error", (error) => this.#onExit(child, null, null, error));
    child.on("exit", (exitCode, signal) => {
      // Its last words (why a start failed) may still be in the channel: they are all read when it closes.
      if (child.connected) child.once("disconnect", () => this.#onExit(child, exitCode, signal));
      else this.#onExit(child, exitCode, signal);
    });
    this.#send({ type: "start", options: this.#options });
    this.#holdHost();
  }

  #receive(child: ChildProcess, message: FromHelper): void {
    if (child !== this.#child) return;
    switch (message.type) {
      case "event":
        this.#onEvent?.(message.event);
        return;
      case "started":
        this.#isChildReady = true;
        this.#started?.resolve();
        this.#started = undefined;
        for (const [id, { request }] of this.#pending)
          this.#send({ type: "request", id, ...request });
        this.#holdHost();
        return;
      case "start-failed":
      case "failed":
        this.#finish(unpackError(message.error));
        return;
      case "answer":
        this.#settle(message.id)?.resolve(message.value);
        return;
      case "refusal":
        this.#settle(message.id)?.reject(unpackError(message.error));
        return;
    }
  }

  #onExit(
    child: ChildProcess,
    exitCode: number | null,
    signal: NodeJS.Signals | null,
    cause?: Error,
  ): void {
    if (child !== this.#child) return;
    this.#child = undefined;
    this.#isChildReady = false;
    if (this.#end !== undefined) return;
    const how = signal === null ? `with exit code ${exitCode}` : `by ${signal}`;
    const delayMs =
      this.#started === undefined ? this.#policy.onCrash(performance.now()) : undefined;
    if (delayMs === undefined) {
      const reason =
        this.#started === undefined
          ? `the helper process keeps ending, the last time ${how}`
          : `the helper process ended before it was ready, ${how}`;
      const hint =
        "Its own words are on stderr. A bundled application names the helper's file in `helperPath`.";
      this.#finish(new ReplicationError("HELPER_FAILED", reason, hint, { cause }));
      return;
    }
    this.#restartTimer = setTimeout(() => {
      this.#restartTimer = undefined;
      this.#spawn();
      this.#onEvent?.({ type: "helper-restarted", exitCode, signal });
    }, delayMs);
    this.#holdHost();
  }

  /** Ends the stream: for a reason that everybody who waits is told, or after an orderly stop. */
  #finish(reason: unknown, isOrderly = false): void {
    if (this.#end !== undefined) return;
    this.#end = { reason };
    clearTimeout(this.#restartTimer);
    for (const id of [...this.#pending.keys()]) this.#settle(id)?.reject(reason);
    this.#started?.reject(reason);
    this.#started = undefined;
    if (this.#child?.connected) this.#child.disconnect();
    this.#holdHost();
    if (!isOrderly) this.#ended.reject(reason);
  }

  #settle(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    this.#holdHost();
    return pending;
  }

  #send(message: ToHelper): void {
    // A message that cannot be delivered is not lost: the helper's exit follows, and its successor is asked everything again.
    if (this.#child?.connected) this.#child.send(message, () => {});
  }

  /** Keeps the host's event loop alive exactly while somebody waits for the helper. */
  #holdHost(): void {
    const isAwaited = this.#pending.size > 0 || this.#started !== undefined;
    for (const handle of [this.#child, this.#child?.channel, this.#restartTimer]) {
      if (isAwaited) handle?.ref();
      else handle?.unref();
    }
  }
}

async function exitOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.ref();
  const timer = setTimeout(() => child.kill("SIGKILL"), exitTimeoutMs);
  await new Promise<void>((resolve) => child.once("exit", () => resolve()));
  clearTimeout(timer);
}

/** Beside this file, with its extension: `.ts` from sources, `.mjs` built. */
function defaultHelperPath(): string {
  const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".mjs";
  return fileURLToPath(new URL(`./helper-main${extension}`, import.meta.url));
}

/** Plain fields only, and paths that do not change when the host changes its working directory. */
function toHelperOptions(options: ReplicateOptions): HelperOptions {
  const {
    home: _,
    Database: __,
    onEvent: ___,
    signal: ____,
    helperPath: _____,
    store: ______,
    ...plain
  } = options;
  const { replica } = plain;
  const isPath = typeof replica === "string" && !/^[a-z][a-z0-9+.-]*:/i.test(replica);
  return {
    ...plain,
    database: resolvePath(plain.database),
    replica: isPath ? resolvePath(replica) : replica,
  };
}
