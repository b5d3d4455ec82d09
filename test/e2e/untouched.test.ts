import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { readDatabaseImage, startWorkload } from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, expect, it } from "vitest";
import { startEngine } from "../support/engine.ts";

/**
 * Goal: nothing of ours is in the application's database. Method: the same seeded statements run once beside the engine, with its
 * checkpoints and barriers, and once alone; all pages must be equal, free ones included.
 */
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "untouched-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const commitsMax = 250;

it("no page of the database differs because the engine ran", async () => {
  const seed = 20_261_124;
  const run = async (name: string, beside: boolean): Promise<string> => {
    const database = join(directory, name);
    const workload = await startWorkload({
      databasePath: database,
      seed,
      commitsMax,
      paused: true,
      // The writer's own checkpoints answer busy beside us, and may then be tried again: they are left to the engine here.
      statements: {
        insert: 30,
        update: 25,
        delete: 15,
        blob: 10,
        zeroblob: 2,
        ddl: 2,
        rollback: 5,
        vacuum: 1,
      },
      walAutocheckpoint: beside ? 0 : 1_000,
    });
    const engine = beside
      ? await startEngine({
          database,
          replica: join(directory, "replica"),
          syncIntervalMs: 5,
          checkpointPolicy: { passiveFrames: 30, barrierBytes: 300 * 4120 },
        })
      : undefined;
    workload.resume();
    expect(await workload.finished).toBe(commitsMax);
    await engine?.flush();
    if (engine !== undefined) {
      expect(engine.events.some((event) => event.type === "checkpointed")).toBe(true);
    }
    const image = await readDatabaseImage(database);
    await engine?.stop(false);
    await workload.stop();
    expect((await readDatabaseImage(database)).sha256).toBe(image.sha256);
    return image.sha256;
  };
  expect(await run("beside.db", true)).toBe(await run("alone.db", false));
});

it("in a quiet time the engine stands in nobody's way: a TRUNCATE of the application passes at once", async () => {
  const database = join(directory, "app.db");
  using application = new DatabaseSync(database);
  application.exec("pragma journal_mode = wal; pragma busy_timeout = 0; create table t (a)");
  const engine = await startEngine({ database, replica: join(directory, "replica") });
  application.exec("insert into t values (1)");
  await engine.flush();
  const truncate = (): unknown => application.prepare("pragma wal_checkpoint(TRUNCATE)").get();
  expect(truncate()).toMatchObject({ busy: 1 });
  application.exec("insert into t values (2)");
  const isSettled = (): boolean => engine.events.some(({ type }) => type === "checkpointed");
  await expect.poll(isSettled, { timeout: 60_000 }).toBe(true);
  expect(truncate()).toMatchObject({ busy: 0 });
  await engine.stop(true);
});
