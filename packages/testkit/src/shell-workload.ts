/**
 * The workload, run by Debian's `sqlite3` shell: another build of SQLite, of another version, that has nothing in common with ours.
 */
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleepMs } from "node:timers/promises";
import { type ChildExit, startChild } from "./child-process.ts";
import { findPeer } from "./find-peer.ts";
import { createPrng } from "./prng.ts";
import type { Workload, WorkloadOptions } from "./sqlite-workload.ts";
import {
  defaultStatementMix,
  defaultWorkloadName,
  WorkloadPlan,
  WorkloadState,
  type WorkloadStep,
  workloadSchema,
} from "./workload-plan.ts";

/** The path of a `sqlite3` shell, if there is one. */
export function findSqliteShell(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): string | undefined {
  const search = findPeer("sqlite3", environment);
  return search.found ? search.path : undefined;
}

/**
 * Starts a writer that drives a `sqlite3` shell through its standard input. The shell ends by itself if this process dies.
 *
 * It waits a minute for locks; a step that waits longer ends the shell, and with it the workload. This process opens nothing.
 *
 * @throws {Error} if there is no shell, or with its message if it cannot open or create the database.
 */
export async function startShellWorkload(
  options: WorkloadOptions,
  shellPath: string | undefined = findSqliteShell(),
): Promise<Workload> {
  if (shellPath === undefined) throw new Error("there is no sqlite3 shell in the path");
  const name = options.name ?? defaultWorkloadName;
  const shell = openShell(shellPath, options.databasePath);
  await shell.run([
    `.timeout ${busyTimeoutMs}`,
    `PRAGMA page_size = ${options.pageSize ?? 4096};`,
    `PRAGMA auto_vacuum = ${options.autoVacuum ?? "none"};`,
    "PRAGMA journal_mode = wal;",
    workloadSchema(name),
  ]);
  const state = await loadState(shell, name);
  const plan = new WorkloadPlan(
    {
      name,
      seed: options.seed,
      statements: options.statements ?? defaultStatementMix,
      rowBytesMax: options.rowBytesMax ?? 500,
      blobBytesMax: options.blobBytesMax ?? 20_000,
      rowsPerTransactionMax: options.rowsPerTransactionMax ?? 5,
      walAutocheckpoint: options.walAutocheckpoint,
      busyTimeoutMs,
    },
    createPrng((options.seed ^ state.lastCommitId) >>> 0),
    state,
  );
  await shell.run(plan.openingSql().map((sql) => `${sql};`));

  let paused = true;
  let commitsLeft = options.commitsMax ?? Number.POSITIVE_INFINITY;
  let finish: (lastCommitId: number) => void = () => {};
  let fail: (reason: unknown) => void = () => {};
  const finished = new Promise<number>((resolve, reject) => {
    finish = resolve;
    fail = reject;
  });
  // Whoever waits for it, or makes the next call, sees the rejection.
  finished.catch(() => {});
  /** All steps, one after the other: what is asked for in between queues behind the running step. */
  let queue: Promise<unknown> = Promise.resolve();

  async function run(step: WorkloadStep): Promise<void> {
    const startMs = performance.now();
    await shell.run(withSemicolons(step.sql));
    const endMs = performance.now();
    step.accept();
    if (step.commitId === undefined) return;
    const atMs = performance.timeOrigin + endMs;
    options.onCommit?.({ id: step.commitId, atMs, durationMs: endMs - startMs });
  }

  function enqueue<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = queue.then(work);
    queue = result.catch(fail);
    return result;
  }

  async function runLoop(): Promise<void> {
    let dueMs = performance.now();
    while (!paused) {
      await enqueue(async () => {
        if (paused) return;
        const step = plan.next();
        await run(step);
        if (step.commitId !== undefined) commitsLeft -= 1;
        if (commitsLeft > 0) return;
        paused = true;
        finish(state.lastCommitId);
      });
      if (options.stepsPerSecond === undefined) continue;
      dueMs = Math.max(performance.now(), dueMs + 1000 / options.stepsPerSecond);
      await sleepMs(dueMs - performance.now());
    }
  }

  function resume(): void {
    if (!paused) return;
    paused = false;
    commitsLeft = options.commitsMax ?? Number.POSITIVE_INFINITY;
    // A loop that fails has told `finished`; the next call fails as well.
    runLoop().catch(fail);
  }

  async function pause(): Promise<number> {
    paused = true;
    return enqueue(async () => {
      shell.throwIfEnded();
      return state.lastCommitId;
    });
  }

  if (options.paused !== true) resume();
  return {
    pid: shell.pid,
    exited: shell.exited,
    finished,
    get committed() {
      return state.lastCommitId;
    },
    busyCount: 0,
    pause,
    resume,
    bigTransaction: (bytes) =>
      enqueue(async () => {
        await run(plan.bigTransaction(bytes));
        return state.lastCommitId;
      }),
    async stop() {
      const lastCommitId = await pause();
      shell.end();
      await shell.exited;
      return lastCommitId;
    },
    kill(signal = "SIGKILL") {
      paused = true;
      shell.kill(signal);
      return shell.exited;
    },
  };
}

const busyTimeoutMs = 60_000;

interface Shell {
  readonly pid: number;
  readonly exited: Promise<ChildExit>;
  /** Runs lines of SQL or dot commands. @returns what they printed. @throws {Error} with the shell's message; it has ended then. */
  run(lines: Iterable<string>): Promise<string[]>;
  throwIfEnded(): void;
  end(): void;
  kill(signal: NodeJS.Signals): void;
}

function openShell(shellPath: string, databasePath: string): Shell {
  const child = startChild(shellPath, ["-batch", "-bail", databasePath], {}, "pipe");
  const { stdin, stdout } = child.process;
  if (stdin === null || stdout === null) throw new Error("a shell without pipes");
  // Writing to a shell that died is reported by its exit.
  stdin.on("error", () => {});
  let ended: ChildExit | undefined;
  const death = child.exited.then((exit): never => {
    ended = exit;
    throw new Error(
      `the sqlite3 shell ended (${exit.signal ?? `code ${exit.code}`}): ${exit.stderr}`,
    );
  });
  death.catch(() => {});

  let printed: string[] = [];
  let acknowledge: (lines: string[]) => void = () => {};
  let runCount = 0;
  createInterface({ input: stdout }).on("line", (line) => {
    if (line !== acknowledgement(runCount)) {
      printed.push(line);
      return;
    }
    const lines = printed;
    printed = [];
    acknowledge(lines);
  });

  return {
    pid: child.pid,
    exited: child.exited,
    async run(lines) {
      this.throwIfEnded();
      runCount += 1;
      const acknowledged = new Promise<string[]>((resolve) => {
        acknowledge = resolve;
      });
      for (const line of lines) {
        if (!stdin.write(`${line}\n`)) await Promise.race([once(stdin, "drain"), death]);
      }
      stdin.write(`.print ${acknowledgement(runCount)}\n`);
      return Promise.race([acknowledged, death]);
    },
    throwIfEnded() {
      if (ended !== undefined) throw new Error(`the sqlite3 shell has ended: ${ended.stderr}`);
    },
    end: () => void stdin.end(),
    kill: (signal) => void child.process.kill(signal),
  };
}

function acknowledgement(runCount: number): string {
  return `-- acknowledged ${runCount} --`;
}

async function loadState(shell: Shell, name: string): Promise<WorkloadState> {
  const state = new WorkloadState();
  for (const line of await shell.run([`SELECT id || ' ' || sha256 FROM ${name}_rows;`])) {
    const [id, sha256] = line.split(" ");
    state.set(Number(id), sha256 as string);
  }
  const [last] = await shell.run([`SELECT coalesce(max(id), 0) FROM ${name}_log;`]);
  state.lastCommitId = Number(last);
  return state;
}

function* withSemicolons(sql: Iterable<string>): Generator<string> {
  for (const statement of sql) yield `${statement};`;
}
