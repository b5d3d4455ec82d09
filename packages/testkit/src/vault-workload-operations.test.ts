import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createPrng } from "./prng.ts";
import { registerAndLogin, type VaultClient } from "./vault-client.ts";
import { checkVault } from "./vault-workload-check.ts";
import { VaultOperations } from "./vault-workload-operations.ts";
import { type VaultRecord, VaultRecordLog } from "./vault-workload-records.ts";
import { type StandIn, startStandIn } from "./vaultwarden-stand-in.ts";

// Goal: a call without an answer leaves both states possible. Method: calls that hang or fail half done.

let directory: string;
let dataFolder: string;
let log: VaultRecordLog;
let running: StandIn[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "operations-"));
  dataFolder = join(directory, "data");
  log = new VaultRecordLog(join(directory, "records.jsonl"));
  running = [];
});
afterEach(async () => {
  log.close();
  for (const standIn of running) standIn.kill("SIGKILL");
  await Promise.all(running.map(({ exited }) => exited));
  rmSync(directory, { recursive: true, force: true });
});

async function start(env: Readonly<Record<string, string>> = {}): Promise<StandIn> {
  const standIn = await startStandIn({
    env: { DATA_FOLDER: dataFolder, ROCKET_PORT: "0", ...env },
  });
  running.push(standIn);
  return standIn;
}

async function vaultWithItem() {
  const standIn = await start();
  const account = { url: standIn.url, email: "a@example.org", password: "a long password" };
  const client: VaultClient = await registerAndLogin(account);
  const operations = new VaultOperations(client, createPrng(1), log, 5000);
  await operations.createItem();
  return { standIn, client, operations };
}

const problems = async () =>
  (
    await checkVault({ dataFolder }, log.records, { olderThan: Number.POSITIVE_INFINITY })
  ).problems.map(({ code }) => code);
const lastRecord = () => log.records.at(-1) as VaultRecord;

test("a replacement that was cut short may have left the old file, the new one, or a part of it", async () => {
  const { standIn, client, operations } = await vaultWithItem();
  await operations.uploadAttachment();
  const { id, itemId = "" } = lastRecord();
  expect(await problems()).toEqual([]);
  standIn.kill("SIGKILL");
  const halted = await start({ STAND_IN_UPLOAD_CHUNK_MS: "600000" });
  client.url = halted.url;
  const cut = operations.replaceAttachment().catch(() => "cut");
  await expect.poll(() => statSync(join(dataFolder, "attachments", itemId, id)).size).toBe(0);
  halted.kill("SIGKILL");
  expect(await cut).toBe("cut");
  expect(lastRecord()).toMatchObject({ phase: "begun", id, state: "stored" });
  expect(await problems()).toEqual(["file-torn"]);
  // Nobody knows how it is: another one is taken from now on.
  client.url = (await start()).url;
  await operations.replaceAttachment();
  expect(lastRecord().id).not.toBe(id);
});

test("a deletion that failed half done may have happened, or not", async () => {
  const { operations } = await vaultWithItem();
  await operations.createFileSend();
  const { id } = lastRecord();
  const database = new Database(join(dataFolder, "db.sqlite3"), { timeout: 10_000 });
  database.exec(
    "CREATE TRIGGER no_delete BEFORE DELETE ON sends BEGIN SELECT RAISE(ABORT, 'no'); END",
  );
  database.close();
  await expect(operations.deleteSend()).rejects.toMatchObject({ status: 500 });
  expect(lastRecord()).toMatchObject({ phase: "begun", id, state: "deleted" });
  expect(await problems()).toEqual([]);
});

test("a deleted item takes its attachments with it, and all of it is expected to be gone", async () => {
  const { operations } = await vaultWithItem();
  await operations.uploadAttachment();
  await operations.deleteItem();
  expect(log.records.slice(-2)).toMatchObject([
    { phase: "acknowledged", kind: "item", state: "deleted" },
    { phase: "acknowledged", kind: "attachment", state: "deleted" },
  ]);
  expect(await problems()).toEqual([]);
});
