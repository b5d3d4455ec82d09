import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startVaultWorkload, type VaultWorkload } from "./vault-workload.ts";
import { checkVault } from "./vault-workload-check.ts";
import { readVaultRecords, type VaultRecord } from "./vault-workload-records.ts";
import { type StandIn, startStandIn } from "./vaultwarden-stand-in.ts";

const everything = { olderThan: Number.POSITIVE_INFINITY };

let directory: string;
let dataFolder: string;
let recordsPath: string;
let running: (StandIn | VaultWorkload)[];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "vault-workload-"));
  dataFolder = join(directory, "data");
  recordsPath = join(directory, "records.jsonl");
  running = [];
});
afterEach(async () => {
  for (const it of running) it.kill("SIGKILL");
  await Promise.allSettled(running.map((it) => ("exited" in it ? it.exited : it.ended)));
  await rm(directory, { recursive: true, force: true, maxRetries: 5 });
});

async function startServer(folder = dataFolder): Promise<StandIn> {
  const server = await startStandIn({ env: { DATA_FOLDER: folder, ROCKET_PORT: "0" } });
  running.push(server);
  return server;
}

async function startWorkload(server: StandIn, seed: number): Promise<VaultWorkload> {
  const workload = await startVaultWorkload({
    account: { url: server.url, email: "a@example.org", password: "a long password" },
    recordsPath,
    seed,
    fileBytesMax: 5000,
  });
  running.push(workload);
  return workload;
}

/** A vault that a workload has worked on, and that nobody works on any more. */
async function usedVault(count: number): Promise<readonly VaultRecord[]> {
  const server = await startServer();
  const workload = await startWorkload(server, 1);
  await workload.untilAcknowledged(count);
  expect(await workload.stop()).toEqual({ reason: "stopped", refusals: [] });
  server.kill("SIGKILL");
  await server.exited;
  return readVaultRecords(recordsPath);
}

/** The newest record of the first object of the kind that still is there. */
function storedRecord(records: readonly VaultRecord[], kind: VaultRecord["kind"]): VaultRecord {
  const newest = new Map(records.map((record) => [record.id, record]));
  const record = [...newest.values()].find((it) => it.kind === kind && it.state === "stored");
  if (record === undefined) throw new Error(`no ${kind} is left`);
  return record;
}

function execute(sql: string, ...values: string[]): void {
  const database = new Database(join(dataFolder, "db.sqlite3"));
  try {
    expect(database.prepare(sql).run(...values).changes).toBe(1);
  } finally {
    database.close();
  }
}

describe("checkVault", () => {
  test("finds everything there that was acknowledged, and says what is missing, old, back again or damaged", async () => {
    const records = await usedVault(150);
    const check = (options = everything) => checkVault({ dataFolder }, records, options);
    const whole = await check();
    expect(whole.problems).toEqual([]);
    expect(whole.rows).toBeGreaterThan(20);
    expect(whole.files).toBeGreaterThan(10);
    const codes = async () =>
      (await check()).problems.map(({ code, record }) => `${code} ${record.kind} ${record.id}`);

    const send = storedRecord(records, "text-send");
    execute("DELETE FROM sends WHERE uuid = ?", send.id);
    const expected = [`row-missing text-send ${send.id}`];
    expect(await codes()).toEqual(expected);

    const item = storedRecord(records, "item");
    execute("UPDATE ciphers SET name = 'older' WHERE uuid = ?", item.id);
    expected.push(`row-differs item ${item.id}`);
    expect((await codes()).sort()).toEqual(expected.toSorted());

    const gone = records.findLast(
      ({ kind, phase, state }) =>
        kind === "attachment" && phase === "acknowledged" && state === "deleted",
    ) as VaultRecord;
    execute(
      "INSERT INTO attachments VALUES (?, ?, 'name', 1, NULL)",
      gone.id,
      storedRecord(records, "item").id,
    );
    expected.push(`row-not-deleted attachment ${gone.id}`);
    expect((await codes()).sort()).toEqual(expected.toSorted());

    const attachment = storedRecord(records, "attachment");
    const path = join(dataFolder, "attachments", attachment.itemId as string, attachment.id);
    const bytes = readFileSync(path);
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
    writeFileSync(path, bytes);
    expected.push(`file-differs attachment ${attachment.id}`);
    expect((await codes()).sort()).toEqual(expected.toSorted());

    const fileSend = storedRecord(records, "file-send");
    rmSync(join(dataFolder, "sends", fileSend.id), { recursive: true });
    expected.push(`file-missing file-send ${fileSend.id}`);
    expect((await codes()).sort()).toEqual(expected.toSorted());

    // Of a time before them, nothing is missed.
    expect(await check({ olderThan: 0 })).toEqual({ problems: [], rows: 0, files: 0 });
  });

  test("takes either state of a replacement without an answer, and says when it is neither", async () => {
    const records = await usedVault(60);
    const attachment = storedRecord(records, "attachment");
    const path = join(dataFolder, "attachments", attachment.itemId as string, attachment.id);
    const unanswered = [...records, { ...attachment, phase: "begun", sha256: "new" } as const];
    const problems = async () =>
      (await checkVault({ dataFolder }, unanswered, everything)).problems.map(({ code }) => code);
    expect(await problems()).toEqual([]);
    writeFileSync(path, "half");
    expect(await problems()).toEqual(["file-torn"]);
    await expect(
      checkVault({ dataFolder: join(directory, "none") }, records, everything),
    ).rejects.toThrow("none");
  });
});

describe("a vault workload", () => {
  test("outlives the server's death, goes on with an older vault, and never expects what that has lost", async () => {
    const first = await startServer();
    const workload = await startWorkload(first, 1);
    await workload.untilAcknowledged(40);
    await workload.stop();
    const then = readVaultRecords(recordsPath).at(-1)?.at ?? 0;
    await cp(dataFolder, join(directory, "older"), { recursive: true });

    const again = await startWorkload(first, 2);
    await again.untilAcknowledged(40);
    first.kill("SIGKILL");
    await first.exited;
    expect(await again.ended).toEqual({ reason: "unreachable", refusals: [] });
    const killed = readVaultRecords(recordsPath);
    // On the disk itself, what was cut short may lie torn.
    const own = await checkVault({ dataFolder }, killed, everything);
    expect(own.problems.filter(({ code }) => code !== "file-torn")).toEqual([]);

    const older = { dataFolder: join(directory, "older") };
    const late = await checkVault(older, killed, everything);
    expect(late.problems.length).toBeGreaterThan(0);
    expect((await checkVault(older, killed, { olderThan: then })).problems).toEqual([]);

    const second = await startServer(older.dataFolder);
    const third = await startWorkload(second, 3);
    const adopted = readVaultRecords(recordsPath);
    expect(adopted.slice(killed.length).some(({ phase }) => phase === "found")).toBe(true);
    await third.untilAcknowledged(40);
    expect(await third.stop()).toEqual({ reason: "stopped", refusals: [] });
    second.kill("SIGKILL");
    await second.exited;
    const check = await checkVault(older, readVaultRecords(recordsPath), everything);
    expect(check.problems).toEqual([]);
    expect(check.rows).toBeGreaterThan(10);
    expect(readdirSync(join(older.dataFolder, "tmp"))).toEqual([]);
  });

  test("says what the server refuses", async () => {
    const server = await startServer();
    const workload = await startWorkload(server, 1);
    await workload.untilAcknowledged(5);
    const database = new Database(join(dataFolder, "db.sqlite3"), { timeout: 10_000 });
    database.exec("DELETE FROM devices");
    database.close();
    await expect.poll(() => workload.refused).toBeGreaterThan(0);
    expect((await workload.stop()).refusals[0]).toMatch(/: 401 /);
  });
});
