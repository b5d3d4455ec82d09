/** Child of `sqlite-workload.ts`: `run <options as JSON>` writes until it is told to stop; `check <database> <name>` prints a `WorkloadCheck`. */
import Database from "better-sqlite3";
import { withDatabaseCopy } from "./database-copy.ts";
import { createPrng } from "./prng.ts";
import type { WorkloadOptions, WorkloadReport, WorkloadRequest } from "./sqlite-workload.ts";
import { checkOpenWorkloadDatabase } from "./workload-check.ts";
import {
  defaultStatementMix,
  defaultWorkloadName,
  WorkloadPlan,
  type WorkloadPlanOptions,
  WorkloadState,
  type WorkloadStep,
  workloadSchema,
} from "./workload-plan.ts";

const busyTimeoutMs = 5000;
const [command, argument, name] = process.argv.slice(2);
if (argument === undefined)
  throw new Error("usage: workload-main.ts run <options> | check <database> <name>");
if (command === "check") {
  const check = withDatabaseCopy(argument, (_path, database) =>
    checkOpenWorkloadDatabase(database, name),
  );
  process.stdout.write(`${JSON.stringify(check)}\n`);
} else {
  runWorkload(JSON.parse(argument) as WorkloadOptions);
}

function runWorkload(options: WorkloadOptions): void {
  const database = openForWorkload(options);
  const state = loadState(database, options.name ?? defaultWorkloadName);
  const plan = new WorkloadPlan(
    planOptions(options),
    createPrng((options.seed ^ state.lastCommitId) >>> 0),
    state,
  );
  for (const sql of plan.openingSql()) database.exec(sql);

  let paused = options.paused ?? false;
  let timer: NodeJS.Timeout | NodeJS.Immediate | undefined;
  let dueMs = performance.now();
  let commitsLeft = options.commitsMax ?? Number.POSITIVE_INFINITY;

  function report(message: WorkloadReport): void {
    process.send?.(message);
  }

  /** @returns whether it was done: a step that waits in vain for a lock is undone and forgotten. */
  function run(step: WorkloadStep): boolean {
    const startMs = performance.now();
    try {
      for (const sql of step.sql) database.exec(sql);
    } catch (error) {
      if (database.inTransaction) database.exec("ROLLBACK");
      if (!isBusy(error)) throw error;
      report({ type: "busy", kind: step.kind, message: (error as Error).message });
      return false;
    }
    const endMs = performance.now();
    step.accept();
    if (step.commitId !== undefined) {
      const atMs = performance.timeOrigin + endMs;
      report({ type: "commit", id: step.commitId, atMs, durationMs: endMs - startMs });
    }
    return true;
  }

  function runNext(): void {
    const step = plan.next();
    if (run(step) && step.commitId !== undefined) commitsLeft -= 1;
    if (commitsLeft > 0) {
      scheduleNext();
      return;
    }
    paused = true;
    report({ type: "finished", lastCommitId: state.lastCommitId });
  }

  function scheduleNext(): void {
    if (options.stepsPerSecond === undefined) {
      timer = setImmediate(runNext);
      return;
    }
    const nowMs = performance.now();
    // A step that took too long is not made up for by a burst.
    dueMs = Math.max(nowMs, dueMs + 1000 / options.stepsPerSecond);
    timer = setTimeout(runNext, dueMs - nowMs);
  }

  function cancelNext(): void {
    clearTimeout(timer as NodeJS.Timeout);
    clearImmediate(timer as NodeJS.Immediate);
  }

  // Messages arrive between two steps, which run to their end: no transaction is open here.
  process.on("message", (message) => {
    const request = message as WorkloadRequest;
    switch (request.type) {
      case "pause":
        cancelNext();
        paused = true;
        report({ type: "paused", lastCommitId: state.lastCommitId });
        break;
      case "resume":
        if (!paused) break;
        paused = false;
        commitsLeft = options.commitsMax ?? Number.POSITIVE_INFINITY;
        dueMs = performance.now();
        scheduleNext();
        break;
      case "big-transaction":
        while (!run(plan.bigTransaction(request.bytes))) {
          // Somebody asked for this very transaction: it is not given up.
        }
        report({ type: "big-transaction-done", lastCommitId: state.lastCommitId });
        break;
      case "stop":
        cancelNext();
        database.close();
        process.send?.({ type: "stopped", lastCommitId: state.lastCommitId }, () =>
          process.disconnect(),
        );
        break;
    }
  });
  // Nobody is left to stop it.
  process.on("disconnect", () => process.exit());
  report({ type: "ready", lastCommitId: state.lastCommitId });
  if (!paused) scheduleNext();
}

function openForWorkload(options: WorkloadOptions): Database.Database {
  const database = new Database(options.databasePath, { timeout: busyTimeoutMs });
  database.pragma(`page_size = ${options.pageSize ?? 4096}`);
  database.pragma(`auto_vacuum = ${options.autoVacuum ?? "none"}`);
  database.pragma("journal_mode = wal");
  database.exec(workloadSchema(options.name ?? defaultWorkloadName));
  return database;
}

function loadState(database: Database.Database, name: string): WorkloadState {
  const state = new WorkloadState();
  const rows = database.prepare(`SELECT id, sha256 FROM ${name}_rows`);
  for (const row of rows.iterate() as Iterable<{ id: number; sha256: string }>) {
    state.set(row.id, row.sha256);
  }
  const last = database.prepare(`SELECT max(id) FROM ${name}_log`).pluck().get() as number | null;
  state.lastCommitId = last ?? 0;
  return state;
}

function planOptions(options: WorkloadOptions): WorkloadPlanOptions {
  return {
    name: options.name ?? defaultWorkloadName,
    seed: options.seed,
    statements: options.statements ?? defaultStatementMix,
    rowBytesMax: options.rowBytesMax ?? 500,
    blobBytesMax: options.blobBytesMax ?? 20_000,
    rowsPerTransactionMax: options.rowsPerTransactionMax ?? 5,
    walAutocheckpoint: options.walAutocheckpoint,
    busyTimeoutMs,
  };
}

function isBusy(error: unknown): boolean {
  return error instanceof Database.SqliteError && /^SQLITE_(BUSY|LOCKED)/.test(error.code);
}
