/** The stand-in as a process, by its client: what `vaultwarden.md` measured on the real server. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { chmod, cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { runTypeScriptChild, startTypeScriptChild } from "./child-process.ts";
import { createPrng } from "./prng.ts";
import { login, registerAndLogin, type VaultClient } from "./vault-client.ts";
import { type StandIn, standInEntry, startStandIn } from "./vaultwarden-stand-in.ts";

let directory: string;
let dataFolder: string;
let running: StandIn[];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "stand-in-"));
  dataFolder = join(directory, "data");
  running = [];
});
afterEach(async () => {
  for (const standIn of running) standIn.kill("SIGKILL");
  await Promise.all(running.map((standIn) => standIn.exited));
  await rm(directory, { recursive: true, force: true });
});

async function start(env: Record<string, string> = {}): Promise<StandIn> {
  const standIn = await startStandIn({
    env: { DATA_FOLDER: dataFolder, ROCKET_PORT: "0", ...env },
  });
  running.push(standIn);
  return standIn;
}

const account = (standIn: StandIn) => ({
  url: standIn.url,
  email: "User@Example.com",
  password: "correct horse",
});

describe("a vault", () => {
  test("keeps items, attachments and Sends, and gives them back after a kill and on another machine", async () => {
    const first = await start();
    const client = await registerAndLogin(account(first));
    const kept = await client.createItem({ name: "kept", notes: "a note" });
    const gone = await client.createItem({ name: "gone" });
    await client.createFolder("folder");
    const bytes = createPrng(1).bytes(200_000);
    const attachmentId = await client.uploadAttachment(kept, "photo.jpg", bytes);
    await client.updateItem(kept, { name: "kept and renamed", notes: "another note" });
    await client.uploadAttachment(gone, "with it.txt", bytes.slice(0, 10));
    await client.deleteItem(gone);
    await client.createSend("text", "hello");
    const sendId = await client.createFileSend("file", "notes.txt", bytes.slice(0, 5000));
    first.kill("SIGKILL");
    await first.exited;

    const otherMachine = join(directory, "other");
    await cp(dataFolder, otherMachine, { recursive: true });
    const second = await start({ DATA_FOLDER: otherMachine });
    const elsewhere = await login(account(second));
    expect(await elsewhere.listItems()).toEqual([
      {
        id: kept,
        name: "kept and renamed",
        notes: "another note",
        attachments: [{ id: attachmentId, fileName: "photo.jpg", size: 200_000 + 49 + 16 }],
      },
    ]);
    expect(await elsewhere.downloadAttachment(kept, attachmentId)).toEqual(bytes);
    expect(await elsewhere.listSends()).toMatchObject([
      { name: "file", fileName: "notes.txt", text: null },
      { name: "text", fileName: null, text: "hello" },
    ]);
    expect(await elsewhere.downloadSend(sendId)).toEqual(bytes.slice(0, 5000));
    await elsewhere.deleteSend(sendId);
    expect(readdirSync(join(otherMachine, "sends"))).toEqual([]);
    await elsewhere.deleteAttachment(kept, attachmentId);
    expect(readdirSync(join(otherMachine, "attachments", kept))).toEqual([]);

    // The old login holds here too: same key, same DOMAIN.
    client.url = second.url;
    expect(await client.listItems()).toHaveLength(1);
    await client.refresh();
    expect(await client.listItems()).toHaveLength(1);
  });

  test("ends every login when its key is lost", async () => {
    const first = await start();
    const client = await registerAndLogin(account(first));
    first.kill("SIGKILL");
    await first.exited;
    await rm(join(dataFolder, "rsa_key.pem"));
    client.url = (await start()).url;
    await expect(client.listItems()).rejects.toMatchObject({ status: 401 });
  });

  test("refuses a wrong password and a second account of one name", async () => {
    const standIn = await start();
    await registerAndLogin(account(standIn));
    await expect(login({ ...account(standIn), password: "wrong" })).rejects.toMatchObject({
      status: 400,
    });
    await expect(registerAndLogin(account(standIn))).rejects.toMatchObject({ status: 400 });
  });

  test("writes rows of the same shape as the real server's", async () => {
    const recorded = join(directory, "recorded");
    await cp(
      fileURLToPath(new URL("../../../test/fixtures/vaultwarden-data/data", import.meta.url)),
      recorded,
      { recursive: true },
    );
    const standIn = await start();
    const client = await registerAndLogin(account(standIn));
    const id = await client.createItem({ name: "item" });
    await client.uploadAttachment(id, "file", new Uint8Array(9));
    await client.createSend("text", "hello");
    await client.createFileSend("file", "f", new Uint8Array(9));
    for (const table of ["users", "devices", "ciphers", "attachments", "sends"]) {
      const ours = shapes(join(dataFolder, "db.sqlite3"), table);
      const theirs = shapes(join(recorded, "db.sqlite3"), table);
      for (const shape of ours) expect(theirs, table).toContainEqual(shape);
    }
  });

  test("answers below the path of DOMAIN only, and says 503 on /alive without a free connection", async () => {
    const standIn = await start({ DOMAIN: "https://vault.example/base/", DATABASE_TIMEOUT: "0" });
    expect((await fetch(`${standIn.url}/alive`)).status).toBe(404);
    const base = `${standIn.url}/base`;
    expect((await fetch(`${base}/alive`)).status).toBe(200);
    expect((await fetch(`${base}/alive`, { method: "HEAD" })).status).toBe(200);
    expect(await (await fetch(`${base}/api/version`)).json()).toBe("1.37.2");
    expect(await (await fetch(`${base}/api/config`)).json()).toMatchObject({
      environment: { vault: "https://vault.example/base" },
    });
    const client: VaultClient = await registerAndLogin({ ...account(standIn), url: base });
    expect(await client.listItems()).toEqual([]);
  });

  test("goes on reading under a foreign write lock, and writes when it is gone", async () => {
    const standIn = await start({ DATABASE_MAX_CONNS: "2", DATABASE_TIMEOUT: "0" });
    const client = await registerAndLogin(account(standIn));
    const other = new Database(join(dataFolder, "db.sqlite3"));
    other.exec("BEGIN IMMEDIATE");
    const waiting = client.createItem({ name: "late" });
    expect(await client.listItems()).toEqual([]);
    const alsoWaiting = client.createItem({ name: "later" });
    // Both connections wait for the lock now, as soon as the two calls have arrived.
    await expect.poll(async () => (await fetch(`${standIn.url}/alive`)).status).toBe(503);
    other.exec("ROLLBACK");
    other.close();
    await Promise.all([waiting, alsoWaiting]);
    expect(await client.listItems()).toHaveLength(2);
  });
});

describe("the process", () => {
  test("leaves a WAL database, a key for all to read, and says where it listens", async () => {
    const standIn = await start();
    expect(standIn.stdout()).toContain(`Rocket has launched from ${standIn.url}\n`);
    const key = join(dataFolder, "rsa_key.pem");
    expect(readFileSync(key, "utf8")).toMatch(/^-----BEGIN RSA PRIVATE KEY-----\n/);
    expect(statSync(key).mode & 0o777).toBe(0o644);
    expect([...readFileSync(join(dataFolder, "db.sqlite3")).subarray(18, 20)]).toEqual([2, 2]);
  });

  test.each([["SIGTERM"], ["SIGINT"], ["SIGQUIT"]] as const)(
    "ends with 0 on %s and leaves the database open: the WAL stays",
    async (signal) => {
      const standIn = await start();
      await registerAndLogin(account(standIn));
      standIn.kill(signal);
      expect(await standIn.exited).toMatchObject({ code: 0, signal: null });
      expect(statSync(join(dataFolder, "db.sqlite3-wal")).size).toBeGreaterThan(4096);
    },
  );

  test("without jobs, the last close checkpoints and removes the WAL", async () => {
    const standIn = await start({ JOB_POLL_INTERVAL_MS: "0" });
    await registerAndLogin(account(standIn));
    standIn.kill("SIGTERM");
    expect((await standIn.exited).code).toBe(0);
    expect(existsSync(join(dataFolder, "db.sqlite3-wal"))).toBe(false);
  });

  test("ends with 1 when a request outlives grace and mercy", async () => {
    const standIn = await start({
      ROCKET_SHUTDOWN: "{grace=0,mercy=0}",
      DATABASE_MAX_CONNS: "1",
      DATABASE_TIMEOUT: "0",
    });
    const client = await registerAndLogin(account(standIn));
    const other = new Database(join(dataFolder, "db.sqlite3"));
    other.exec("BEGIN IMMEDIATE");
    const cut = client.createItem({ name: "never" }).catch(() => "cut");
    // The call has the one connection now.
    await expect.poll(async () => (await fetch(`${standIn.url}/alive`)).status).toBe(503);
    standIn.kill("SIGTERM");
    expect(await cut).toBe("cut");
    expect((await standIn.exited).code).toBe(1);
    other.close();
  });

  test("makes a backup on SIGUSR1 and by command, and dies of SIGHUP without a log file", async () => {
    const standIn = await start();
    const backups = () =>
      readdirSync(dataFolder).filter((name) => /^db_\d{8}_\d{6}\.sqlite3$/.test(name));
    standIn.kill("SIGUSR1");
    await expect.poll(() => standIn.stdout()).toMatch(/was successful/);
    expect(backups()).toHaveLength(1);
    expect(readFileSync(join(dataFolder, backups()[0] as string))[18]).toBe(1);
    await rm(join(dataFolder, backups()[0] as string));
    await runTypeScriptChild(standInEntry, {
      arguments: ["backup"],
      env: { DATA_FOLDER: dataFolder },
    });
    expect(backups()).toHaveLength(1);
    standIn.kill("SIGHUP");
    expect((await standIn.exited).signal).toBe("SIGHUP");
  });

  test.each([
    ["the port is in use", 1, async () => ({ ROCKET_PORT: new URL((await start()).url).port })],
    ["a setting is given twice", 12, async () => ({ DOMAIN: "http://a", DOMAIN_FILE: "/b" })],
    ["ROCKET_PORT is none", 101, async () => ({ ROCKET_PORT: "x" })],
    [
      "the key is none",
      1,
      async () => {
        await (await start()).kill("SIGKILL");
        await writeFile(join(dataFolder, "rsa_key.pem"), "");
        return {};
      },
    ],
    [
      "the database cannot be opened",
      101,
      async () => {
        await (await start()).kill("SIGKILL");
        await chmod(join(dataFolder, "db.sqlite3"), 0o600);
        await writeFile(
          join(dataFolder, "db.sqlite3"),
          "no database at all, but long enough".repeat(30),
        );
        return {};
      },
    ],
    [
      "an init statement is rejected",
      1,
      async () => ({ DATABASE_CONN_INIT: "NONSENSE", DB_CONNECTION_RETRIES: "1" }),
    ],
  ])("when %s it ends with %i", async (_name, code, prepare) => {
    const env = await prepare();
    const exit = await startTypeScriptChild(standInEntry, {
      onlyEnv: { DATA_FOLDER: dataFolder, ROCKET_PORT: "0", ...(env as Record<string, string>) },
    }).exited;
    expect(exit).toMatchObject({ code, stdout: "" });
    expect(exit.stderr).not.toBe("");
  });
});

function shapes(path: string, table: string): Record<string, string>[] {
  const database = new Database(path);
  try {
    const columns = database.pragma(`table_info(${table})`) as { name: string }[];
    const types = columns.map(({ name }) => `typeof("${name}") AS "${name}"`).join(", ");
    return database.prepare(`SELECT DISTINCT ${types} FROM ${table}`).all() as Record<
      string,
      string
    >[];
  } finally {
    database.close();
  }
}
