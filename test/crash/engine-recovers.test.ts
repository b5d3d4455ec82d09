import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkWorkloadDatabase, startWorkload, type Workload } from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { restore } from "wal-replicator";
import { startEngine } from "../support/engine.ts";

let directory: string;
let database: string;
let replica: string;
let writer: Workload | undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "recovers-"));
  database = join(directory, "app.db");
  replica = join(directory, "replica");
});
afterEach(async () => {
  await writer?.kill();
  writer = undefined;
  rmSync(directory, { recursive: true, force: true });
});

async function write(commits: number, path = database): Promise<number> {
  writer ??= await startWorkload({
    databasePath: path,
    seed: 7,
    paused: true,
    commitsMax: commits,
  });
  writer.resume();
  return writer.finished;
}

async function stopWriter(): Promise<void> {
  await writer?.stop();
  writer = undefined;
}

async function lastRestoredCommit(): Promise<number> {
  const target = join(directory, "restored.db");
  await restore({ replica, target, overwrite: true });
  const check = await checkWorkloadDatabase(target);
  expect(check.problems).toEqual([]);
  return check.lastCommitId;
}

describe("what somebody did to the store or the database", () => {
  it("a file deleted from the middle of the timeline: the next start begins a new one that restores", async () => {
    await write(20);
    for (let start = 0; start < 3; start++) {
      // Without maintenance: a merged file would hold what is deleted below.
      const engine = await startEngine({ database, replica, maintenance: false });
      await writer?.bigTransaction(1_000);
      await engine.flush();
      await engine.stop(false);
    }
    const [timeline] = readdirSync(replica).filter((name) => name !== "epochs");
    const level0 = join(replica, timeline as string, "ltx", "0");
    rmSync(join(level0, "0000000000000002-0000000000000002.ltx"));
    const engine = await startEngine({ database, replica });
    expect(engine.events[0]).toMatchObject({ type: "started", continued: false });
    const committed = await writer?.bigTransaction(1_000);
    await engine.flush();
    await engine.stop(false);
    expect(await lastRestoredCommit()).toBe(committed);
  });

  it("another database put in place, its WAL removed first: the stream goes on with it, on a new timeline", async () => {
    await write(20);
    const engine = await startEngine({ database, replica });
    await engine.flush();
    await stopWriter();
    const other = join(directory, "other.db");
    const committed = await write(35, other);
    await stopWriter();
    for (const suffix of ["-wal", "-shm"]) rmSync(database + suffix, { force: true });
    await new Promise((resolve) => setTimeout(resolve, 300));
    copyFileSync(other, `${database}.new`);
    renameSync(`${database}.new`, database);
    await expect
      .poll(() => engine.events.filter((event) => event.type === "started").length, {
        timeout: 20_000,
      })
      .toBeGreaterThan(1);
    await expect
      .poll(async () => (await engine.flush().catch(() => undefined)) && lastRestoredCommit(), {
        timeout: 20_000,
      })
      .toBe(committed);
    expect(existsSync(`${database}-wal`)).toBe(true);
    await engine.stop(false);
  });

  it.skipIf(process.getuid?.() === 0)(
    "a directory that cannot be written: refused with the reason",
    async () => {
      await write(5);
      chmodSync(directory, 0o500);
      try {
        await expect(startEngine({ database, replica })).rejects.toMatchObject({
          code: "SPOOL_UNWRITABLE",
        });
      } finally {
        chmodSync(directory, 0o700);
      }
    },
  );
});
