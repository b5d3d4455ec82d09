import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createPrng } from "./prng.ts";
import { checkOpenWorkloadDatabase } from "./workload-check.ts";
import {
  defaultStatementMix,
  defaultWorkloadName,
  WorkloadPlan,
  WorkloadState,
  type WorkloadStep,
  workloadSchema,
} from "./workload-plan.ts";

let directory: string;
let database: Database.Database;
let walPath: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "plan-"));
  walPath = join(directory, "app.db-wal");
  database = new Database(join(directory, "app.db"));
  database.pragma("journal_mode = wal");
  database.pragma("wal_autocheckpoint = 0");
  database.exec(workloadSchema(defaultWorkloadName));
});
afterEach(() => {
  database.close();
  rmSync(directory, { recursive: true });
});

function createPlan(statements: Partial<typeof defaultStatementMix>): {
  plan: WorkloadPlan;
  state: WorkloadState;
} {
  const state = new WorkloadState();
  const options = {
    name: defaultWorkloadName,
    seed: 1,
    statements,
    rowBytesMax: 500,
    blobBytesMax: 20_000,
    rowsPerTransactionMax: 5,
    walAutocheckpoint: undefined,
    busyTimeoutMs: 100,
  };
  return { plan: new WorkloadPlan(options, createPrng(1), state), state };
}

function execute(step: WorkloadStep): void {
  for (const sql of step.sql) database.exec(sql);
}

test("an undone transaction reaches the WAL before it is undone, and changes nothing", () => {
  const { plan } = createPlan({ rollback: 1 });
  let undoneCount = 0;
  for (let round = 0; round < 12; round += 1) {
    const step = plan.next();
    const before = statSync(walPath).size;
    execute(step);
    step.accept();
    if (step.commitId !== undefined) continue;
    undoneCount += 1;
    // It may overwrite what the one before it left there: the first must grow the file.
    if (undoneCount === 1) expect(statSync(walPath).size).toBeGreaterThan(before);
  }
  expect(undoneCount).toBeGreaterThan(2);
  expect(checkOpenWorkloadDatabase(database).problems).toEqual([]);
});

test("a step that was not run is forgotten: its commit id comes again", () => {
  const { plan, state } = createPlan(defaultStatementMix);
  let forgotten = 0;
  for (let round = 0; round < 200; round += 1) {
    const step = plan.next();
    if (round % 3 === 0 && step.commitId !== undefined) {
      forgotten += 1;
      continue;
    }
    execute(step);
    step.accept();
  }
  expect(forgotten).toBeGreaterThan(30);
  const check = checkOpenWorkloadDatabase(database);
  expect(check).toEqual({ lastCommitId: state.lastCommitId, rowCount: state.count, problems: [] });
});

test("every kind of step comes up in the default mix", () => {
  const { plan } = createPlan(defaultStatementMix);
  const kinds = new Set<string>();
  for (let round = 0; round < 3000; round += 1) kinds.add(plan.next().kind);
  expect([...kinds].sort()).toEqual(Object.keys(defaultStatementMix).sort());
});
