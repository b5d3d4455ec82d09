import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type {
  Position,
  ReplicateOptions,
  ReplicationEvent,
  ReplicationStatus,
  StopResult,
} from "wal-replicator";

/** The engine of this checkout. */
export const engineModule: string = fileURLToPath(
  new URL("../../packages/wal-replicator/src/replicator.ts", import.meta.url),
);

const entry = fileURLToPath(new URL("./engine-child.ts", import.meta.url));

/** A coded error that crossed the process border. */
export class EngineError extends Error {
  override readonly name = "EngineError";
  readonly code: string | undefined;

  constructor(code: string | undefined, message: string) {
    super(message);
    this.code = code;
  }
}

export interface EngineOptions
  extends Pick<ReplicateOptions, "database" | "replica" | "syncIntervalMs"> {
  readonly checkpointPolicy?: { readonly passiveFrames: number; readonly barrierBytes: number };
  /** Other sources than this checkout's. */
  readonly module?: string;
  readonly crashAt?: string;
  readonly crashNth?: number;
  readonly nodeArguments?: readonly string[];
}

export interface Engine {
  readonly pid: number;
  readonly events: readonly ReplicationEvent[];
  flush(): Promise<Position>;
  status(): Promise<ReplicationStatus>;
  stop(applicationEnded: boolean): Promise<StopResult>;
  kill(): Promise<void>;
  /** Resolves when the process is gone. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: string | null }>;
}

/**
 * Starts the engine in a child process. @throws {EngineError} if the start fails. With a crash point that is hit during the
 * start, the error's code is `CRASHED`.
 */
export async function startEngine(options: EngineOptions): Promise<Engine> {
  const { checkpointPolicy, module, crashAt, crashNth, nodeArguments, ...replicate } = options;
  const child = spawn(
    process.execPath,
    [
      "--conditions=@vaultwarden-stream/source",
      ...(nodeArguments ?? []),
      entry,
      module ?? engineModule,
      ...(crashAt === undefined ? [] : [`--crash-at=${crashAt}`, `--crash-nth=${crashNth ?? 1}`]),
    ],
    { stdio: ["ignore", "inherit", "inherit", "ipc"], serialization: "advanced" },
  );
  const connection = new EngineConnection(child);
  await connection.ready;
  try {
    await connection.request({
      command: "start",
      options: replicate,
      ...(checkpointPolicy === undefined ? {} : { checkpointPolicy }),
    });
  } catch (error) {
    child.kill("SIGKILL");
    await connection.exited;
    throw error;
  }
  return {
    pid: child.pid as number,
    events: connection.events,
    flush: () => connection.request({ command: "flush" }) as Promise<Position>,
    status: () => connection.request({ command: "status" }) as Promise<ReplicationStatus>,
    stop: async (applicationEnded) => {
      const result = (await connection.request({
        command: "stop",
        applicationEnded,
      })) as StopResult;
      child.disconnect();
      await connection.exited;
      return result;
    },
    kill: async () => {
      child.kill("SIGKILL");
      await connection.exited;
    },
    exited: connection.exited,
  };
}

class EngineConnection {
  readonly events: ReplicationEvent[] = [];
  readonly ready: Promise<void>;
  readonly exited: Promise<{ readonly code: number | null; readonly signal: string | null }>;
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, PromiseWithResolvers<unknown>>();
  #nextId = 1;

  constructor(child: ChildProcess) {
    this.#child = child;
    const ready = Promise.withResolvers<void>();
    this.ready = ready.promise;
    child.on("message", (message: Record<string, unknown>) => {
      if (message["ready"] === true) ready.resolve();
      else if (message["event"] !== undefined)
        this.events.push(message["event"] as ReplicationEvent);
      else if (typeof message["id"] === "number") this.#settle(message["id"], message);
      else if (message["endedBy"] !== undefined) this.#failAll(toError(message["endedBy"]));
    });
    this.exited = new Promise((resolve) => {
      child.on("exit", (code, signal) => {
        const error = new EngineError("CRASHED", `the engine's process ended: ${signal ?? code}`);
        ready.reject(error);
        this.#failAll(error);
        resolve({ code, signal });
      });
    });
  }

  request(request: object): Promise<unknown> {
    const id = this.#nextId++;
    const pending = Promise.withResolvers<unknown>();
    this.#pending.set(id, pending);
    if (this.#child.connected) this.#child.send({ id, ...request });
    else this.#settle(id, { error: { code: "CRASHED", message: "the engine's process is gone" } });
    return pending.promise;
  }

  #settle(id: number, message: Record<string, unknown>): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (message["error"] === undefined) pending?.resolve(message["result"]);
    else pending?.reject(toError(message["error"]));
  }

  #failAll(error: Error): void {
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }
}

function toError(value: unknown): EngineError {
  const { code, message } = value as { code?: string; message: string };
  return new EngineError(code, message);
}
