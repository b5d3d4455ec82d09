import { existsSync, statSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { describePeer } from "./find-peer.ts";
import { startShellWorkload } from "./shell-workload.ts";
import {
  checkWorkloadDatabase,
  startWorkload,
  type Workload,
  type WorkloadCommit,
  type WorkloadOptions,
} from "./sqlite-workload.ts";

let directory: string;
let databasePath: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "workload-"));
  databasePath = join(directory, "app.db");
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

defineWorkloadTests("a better-sqlite3 workload", startWorkload);
describePeer(describe, "sqlite3", "a shell workload", (path) => {
  defineWorkloadTests("behaves as the other", (options) => startShellWorkload(options, path));
});

function defineWorkloadTests(
  name: string,
  start: (options: WorkloadOptions) => Promise<Workload>,
): void {
  describe(name, () => {
    test("writes a database that its checker accepts, with every kind of step", async () => {
      const commits: WorkloadCommit[] = [];
      const workload = await start({
        databasePath,
        seed: 7,
        pageSize: 1024,
        autoVacuum: "incremental",
        commitsMax: 120,
        walAutocheckpoint: "random",
        statements: {
          insert: 8,
          update: 6,
          delete: 4,
          blob: 3,
          zeroblob: 1,
          ddl: 2,
          rollback: 3,
          vacuum: 1,
          "incremental-vacuum": 1,
          checkpoint: 2,
        },
        onCommit: (commit) => commits.push(commit),
      });
      expect(await workload.finished).toBe(120);
      expect(await workload.stop()).toBe(120);
      expect(commits.map((commit) => commit.id)).toEqual(
        Array.from({ length: 120 }, (_, i) => i + 1),
      );
      const check = await checkWorkloadDatabase(databasePath);
      expect(check).toMatchObject({ lastCommitId: 120, problems: [] });
      expect(check.rowCount).toBeGreaterThan(20);
      expect(openedHeader()).toEqual({ page_size: 1024, auto_vacuum: 2 });
    });

    test("killed at any moment, it keeps what was acknowledged, and the next life goes on", async () => {
      let seen: () => void = () => {};
      const fiftyCommits = new Promise<void>((resolve) => {
        seen = resolve;
      });
      const first = await start({
        databasePath,
        seed: 1,
        onCommit: (commit) => commit.id === 50 && seen(),
      });
      await fiftyCommits;
      const exit = await first.kill();
      expect(exit.signal).toBe("SIGKILL");
      const afterKill = await checkWorkloadDatabase(databasePath);
      expect(afterKill.problems).toEqual([]);
      expect(afterKill.lastCommitId).toBeGreaterThanOrEqual(first.committed);
      expect(first.committed).toBeGreaterThanOrEqual(50);

      const second = await start({ databasePath, seed: 2, commitsMax: 10 });
      expect(await second.finished).toBe(afterKill.lastCommitId + 10);
      await second.stop();
      expect((await checkWorkloadDatabase(databasePath)).problems).toEqual([]);
    });

    test("paused, it commits nothing; one big transaction grows the WAL by its size", async () => {
      const workload = await start({ databasePath, seed: 3, paused: true, walAutocheckpoint: 0 });
      expect(await workload.pause()).toBe(0);
      const before = statSync(`${databasePath}-wal`).size;
      expect(await workload.bigTransaction(2_000_000)).toBe(1);
      expect(statSync(`${databasePath}-wal`).size - before).toBeGreaterThan(2_000_000);
      expect(await checkWorkloadDatabase(databasePath)).toMatchObject({
        lastCommitId: 1,
        problems: [],
      });

      workload.resume();
      const paused = await workload.pause();
      expect(await workload.pause()).toBe(paused);
      await workload.stop();
      expect(existsSync(`${databasePath}-wal`)).toBe(false);
    });

    test("a call after its death fails with the reason", async () => {
      const workload = await start({ databasePath, seed: 3, paused: true });
      await workload.kill();
      await expect(workload.pause()).rejects.toThrow(/ended/);
    });
  });
}

describe("checkWorkloadDatabase", () => {
  beforeEach(async () => {
    const workload = await startWorkload({
      databasePath,
      seed: 5,
      commitsMax: 20,
      statements: { insert: 1 },
    });
    await workload.finished;
    await workload.stop();
  });

  test.each([
    ["a body of other bytes", "UPDATE workload_rows SET body = x'00' WHERE id = 3", /row 3/],
    ["a missing row", "DELETE FROM workload_rows WHERE id = 3", /not those of commit 20/],
    ["a missing commit", "DELETE FROM workload_log WHERE id = 20", /not those of commit 19/],
    ["a hole in the log", "DELETE FROM workload_log WHERE id = 3", /19 rows/],
  ])("finds %s", async (_name, damage, problem) => {
    const database = new Database(databasePath);
    database.exec(damage);
    database.close();
    const { problems } = await checkWorkloadDatabase(databasePath);
    expect(problems.join("\n")).toMatch(problem);
  });

  test("leaves the database as it found it", async () => {
    await checkWorkloadDatabase(databasePath);
    expect(existsSync(`${databasePath}-wal`)).toBe(false);
    expect(existsSync(`${databasePath}-shm`)).toBe(false);
  });

  test("throws for a file that is no database", async () => {
    await expect(checkWorkloadDatabase(join(directory, "none"))).rejects.toThrow(/none/);
  });
});

test("two writers of different names share a database, and each finds all of its own", async () => {
  const options = { databasePath, seed: 1, commitsMax: 40 };
  const writers = [
    await startWorkload({ ...options, name: "first" }),
    await startWorkload({ ...options, name: "second" }),
  ];
  for (const writer of writers) expect(await writer.finished).toBe(40);
  for (const writer of writers) await writer.stop();
  for (const name of ["first", "second"]) {
    expect(await checkWorkloadDatabase(databasePath, name)).toMatchObject({
      lastCommitId: 40,
      problems: [],
    });
  }
  expect(await checkWorkloadDatabase(databasePath)).toMatchObject({
    lastCommitId: 0,
    problems: [],
  });
});

test("the same seed writes the same rows", async () => {
  const digests: unknown[] = [];
  for (const name of ["a.db", "b.db"]) {
    const workload = await startWorkload({
      databasePath: join(directory, name),
      seed: 11,
      commitsMax: 30,
    });
    await workload.finished;
    await workload.stop();
    const database = new Database(join(directory, name), { readonly: true });
    digests.push(database.prepare("SELECT * FROM workload_log").all());
    database.close();
  }
  expect(digests[0]).toEqual(digests[1]);
});

function openedHeader(): Record<string, unknown> {
  const database = new Database(databasePath, { readonly: true });
  try {
    return {
      page_size: database.pragma("page_size", { simple: true }),
      auto_vacuum: database.pragma("auto_vacuum", { simple: true }),
    };
  } finally {
    database.close();
  }
}
