import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type {
  Position,
  PreparedDatabase,
  PrepareOptions,
  ReplicateOptions,
  ReplicationEvent,
  ReplicationStatus,
  StopResult,
} from "wal-replicator";

/** The engine of this checkout. */
export const engineModule: string = fileURLToPath(
  new URL("../../packages/wal-replicator/src/replicator.ts", import.meta.url),
);

const shiftedClock = new URL("./shifted-clock.ts", import.meta.url).href;
const entry = fileURLToPath(new URL("./engine-child.ts", import.meta.url));

/** A coded error that crossed the process border. */
export class EngineError extends Error {
  override readonly name = "EngineError";
  readonly code: string | undefined;
  readonly hint: string | undefined;

  constructor(code: string | undefined, message: string, hint?: string) {
    super(message);
    this.code = code;
    this.hint = hint;
  }
}

export interface EngineOptions
  extends Pick<
    ReplicateOptions,
    "database" | "replica" | "syncIntervalMs" | "ifHeld" | "onDivergence" | "maintenance"
  > {
  readonly leaseIntervalMs?: number;
  /** How far the process's wall clock is off; its monotonic clock is not. */
  readonly clockOffsetMs?: number;
  readonly checkpointPolicy?: { readonly passiveFrames: number; readonly barrierBytes: number };
  readonly watchPolicy?: { readonly intervalMs: number; readonly stallAfterMs: number };
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
  snapshot(): Promise<Position>;
  stop(applicationEnded: boolean): Promise<StopResult>;
  kill(): Promise<void>;
  /** Resolves when the process is gone. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: string | null }>;
}

/** An engine whose start may take as long as another's lease lives. */
export interface LaunchedEngine extends Engine {
  /** Resolves when it streams. After a rejection the process lives on, until it is killed. */
  readonly started: Promise<void>;
  /** Resolves with the first event that fits, of those that were and those to come; rejects if the process ends before. */
  waitFor<T extends ReplicationEvent["type"]>(
    type: T,
    fits?: (event: Extract<ReplicationEvent, { type: T }>) => boolean,
  ): Promise<Extract<ReplicationEvent, { type: T }>>;
  /** Resolves with the error that ended the stream by itself. */
  readonly failed: Promise<EngineError>;
  signal(signal: "SIGSTOP" | "SIGCONT"): void;
}

/**
 * Starts the engine in a child process. @throws {EngineError} if the start fails. With a crash point that is hit during the
 * start, the error's code is `CRASHED`.
 */
export async function startEngine(options: EngineOptions): Promise<Engine> {
  const engine = await launchEngine(options);
  try {
    await engine.started;
  } catch (error) {
    await engine.kill();
    throw error;
  }
  return engine;
}

export interface PreparedInChild {
  readonly prepared: PreparedDatabase;
  readonly events: readonly ReplicationEvent[];
}

/** Prepares a database in a process of its own, as the daemon does before its application starts. @throws {EngineError} */
export async function prepareInChild(
  options: EngineOptions & Pick<PrepareOptions, "restoreBecause">,
): Promise<PreparedInChild> {
  const { database, replica, ifHeld, restoreBecause, leaseIntervalMs } = options;
  const { child, connection } = await spawnEngine(options);
  try {
    const prepared = (await connection.request({
      command: "prepare",
      options: { database, replica, ifHeld, restoreBecause },
      ...(leaseIntervalMs === undefined ? {} : { leaseIntervalMs }),
    })) as PreparedDatabase;
    return { prepared, events: connection.events };
  } finally {
    child.kill("SIGKILL");
    await connection.exited;
  }
}

async function spawnEngine(
  options: EngineOptions,
): Promise<{ readonly child: ChildProcess; readonly connection: EngineConnection }> {
  const { module, crashAt, crashNth, nodeArguments, clockOffsetMs } = options;
  const child = spawn(
    process.execPath,
    [
      "--conditions=@vaultwarden-stream/source",
      ...(nodeArguments ?? []),
      ...(clockOffsetMs === undefined ? [] : ["--import", shiftedClock]),
      entry,
      module ?? engineModule,
      ...(crashAt === undefined ? [] : [`--crash-at=${crashAt}`, `--crash-nth=${crashNth ?? 1}`]),
    ],
    {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      serialization: "advanced",
      env: { ...process.env, CLOCK_OFFSET_MS: String(clockOffsetMs ?? 0) },
    },
  );
  const connection = new EngineConnection(child);
  await connection.ready;
  return { child, connection };
}

/** Starts the process of an engine. What becomes of the start itself is said by `started`. */
export async function launchEngine(options: EngineOptions): Promise<LaunchedEngine> {
  const { checkpointPolicy, leaseIntervalMs, watchPolicy, ...rest } = options;
  const { module: _, crashAt: __, crashNth: ___, nodeArguments: ____, ...replicate } = rest;
  const { child, connection } = await spawnEngine(options);
  const started = connection.request({
    command: "start",
    options: replicate,
    ...(checkpointPolicy === undefined ? {} : { checkpointPolicy }),
    ...(leaseIntervalMs === undefined ? {} : { leaseIntervalMs }),
    ...(watchPolicy === undefined ? {} : { watchPolicy }),
  }) as Promise<void>;
  started.catch(() => {}); // whoever cares awaits it
  return {
    pid: child.pid as number,
    events: connection.events,
    started,
    failed: connection.failed,
    waitFor: (type, fits) => connection.waitFor(type, fits),
    signal: (signal) => void child.kill(signal),
    flush: () => connection.request({ command: "flush" }) as Promise<Position>,
    status: () => connection.request({ command: "status" }) as Promise<ReplicationStatus>,
    snapshot: () => connection.request({ command: "snapshot" }) as Promise<Position>,
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
  readonly failed: Promise<EngineError>;
  readonly #pending = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #watchers = new Set<(event: ReplicationEvent | EngineError) => void>();
  #nextId = 1;

  constructor(child: ChildProcess) {
    this.#child = child;
    const ready = Promise.withResolvers<void>();
    const failed = Promise.withResolvers<EngineError>();
    this.ready = ready.promise;
    this.failed = failed.promise;
    child.on("message", (message: Record<string, unknown>) => {
      if (message["ready"] === true) ready.resolve();
      else if (message["event"] !== undefined) this.#see(message["event"] as ReplicationEvent);
      else if (typeof message["id"] === "number") this.#settle(message["id"], message);
      else if (message["endedBy"] !== undefined) {
        const error = toError(message["endedBy"]);
        failed.resolve(error);
        this.#failAll(error);
      }
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

  waitFor<T extends ReplicationEvent["type"]>(
    type: T,
    fits: (event: Extract<ReplicationEvent, { type: T }>) => boolean = () => true,
  ): Promise<Extract<ReplicationEvent, { type: T }>> {
    type Wanted = Extract<ReplicationEvent, { type: T }>;
    const isWanted = (event: ReplicationEvent): event is Wanted =>
      event.type === type && fits(event as Wanted);
    const past = this.events.find(isWanted);
    if (past !== undefined) return Promise.resolve(past);
    return new Promise<Wanted>((resolve, reject) => {
      const watch = (event: ReplicationEvent | EngineError): void => {
        if (!(event instanceof EngineError) && !isWanted(event)) return;
        this.#watchers.delete(watch);
        if (event instanceof EngineError) reject(event);
        else resolve(event);
      };
      this.#watchers.add(watch);
    });
  }

  #see(event: ReplicationEvent): void {
    this.events.push(event);
    for (const watch of this.#watchers) watch(event);
  }

  request(request: object): Promise<unknown> {
    const id = this.#nextId++;
    const pending = Promise.withResolvers<unknown>();
    this.#pending.set(id, pending);
    const gone = { error: { code: "CRASHED", message: "the engine's process is gone" } };
    if (!this.#child.connected) this.#settle(id, gone);
    else {
      // It may have died just now, with its end seen already or not.
      this.#child.send({ id, ...request }, (error) => {
        if (error !== null) this.#settle(id, gone);
      });
    }
    return pending.promise;
  }

  #settle(id: number, message: Record<string, unknown>): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (message["error"] === undefined) pending?.resolve(message["result"]);
    else pending?.reject(toError(message["error"]));
  }

  #failAll(error: EngineError): void {
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
    for (const watch of this.#watchers) watch(error);
  }
}

function toError(value: unknown): EngineError {
  const { code, message, hint } = value as { code?: string; message: string; hint?: string };
  return new EngineError(code, message, hint);
}
