import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { VaultClientError } from "@vaultwarden-stream/testkit";
import { expect, it } from "vitest";
import {
  createItems,
  finished,
  itemIds,
  itemNames,
  Site,
  startEntry,
  until,
  untilStored,
} from "./daemon-harness.ts";

it("stores every item that was acknowledged before a SIGTERM, whatever comes after it", async () => {
  await using site = new Site();
  const daemon = await site.run("a");
  const client = await daemon.register();
  const acknowledged: string[] = [];
  const writing = (async () => {
    for (let number = 0; ; number += 1) {
      acknowledged.push(await client.createItem({ name: `item ${number}` }));
    }
  })().catch((error: unknown) => error);
  await until("twenty items are written", () => acknowledged.length >= 20);
  daemon.process.kill("SIGTERM");
  await daemon.logged("ending: the vault first");
  daemon.process.kill("SIGTERM");
  daemon.process.kill("SIGINT");
  const { code, stderr } = await daemon.finished;
  expect(await writing).not.toBeInstanceOf(VaultClientError);
  expect(code).toBe(0);
  expect(stderr).toContain("everything is stored");
  expect(site.status("a")).toMatchObject({ status: "shutdown", server: null, waitingFiles: 0 });

  expect(readdirSync(site.path("a"))).not.toContain("db.sqlite3-wal");

  // The last one may have been committed and not answered; none that was answered may lack.
  await site.command("b", "restore");
  expect(itemIds(site.rows("b"))).toEqual(expect.arrayContaining(acknowledged));
  expect(site.rows("b")).toEqual(site.rows("a"));
});

it("ends with the server's own code and its meaning when the server cannot start", async () => {
  await using site = new Site();
  const daemon = await site.run("a", { VAULTWARDEN_BIN: site.script("broken", "exit 12") });
  const { code, stderr } = await daemon.finished;
  expect(code).toBe(12);
  expect(stderr).toContain("its configuration is invalid");
});

it("gives the server nothing of ours, and no checkpoints of its own", async () => {
  await using site = new Site();
  const seen = site.path("seen");
  const daemon = await site.run("a", {
    VAULTWARDEN_BIN: site.script("spy", `env > "${seen}"`),
    STREAM_LOG_LEVEL: "debug",
    DOMAIN: "https://vault.example.org",
  });
  expect((await daemon.finished).code).toBe(0);
  const environment = readFileSync(seen, "utf8");
  expect(environment).toContain("DOMAIN=https://vault.example.org");
  expect(environment).toContain("PRAGMA wal_autocheckpoint = 0;");
  expect(environment).not.toMatch(/^(STORE_DIR|STREAM_LOG_LEVEL)=/m);
});

it("writes nothing and exits 6 where the store does not answer and there is no database", async () => {
  await using site = new Site();
  writeFileSync(site.store, "a file where the store should be");
  const daemon = await site.run("a");
  const { code, stderr } = await daemon.finished;
  expect(stderr).toContain("next:");
  expect(code).toBe(6);
  expect(existsSync(join(site.path("a"), "db.sqlite3"))).toBe(false);
});

it("says what is not in the store and exits 1 if the store stays away, and ships it at the next start", async () => {
  await using site = new Site();
  const first = await site.run("a", { REPLICATION_SHUTDOWN_TIMEOUT: "1" });
  const client = await first.register();
  await untilStored(site, "a");
  renameSync(site.store, site.path("store-away"));
  writeFileSync(site.store, "the disk is gone");
  const ids = await createItems(client, ["one", "two"]);
  await first.logged("the store fails");
  await until("the status says so", () => site.status("a")?.status === "error");
  expect(await itemNames(client)).toEqual(["one", "two"]);
  const ended = await first.end();
  expect(ended.code).toBe(1);
  expect(ended.stderr).toContain("not everything is in the store");

  rmSync(site.store);
  renameSync(site.path("store-away"), site.store);
  const second = await site.run("a");
  await second.ready();
  expect((await second.end()).code).toBe(0);
  await site.command("b", "restore");
  expect(itemIds(site.rows("b"))).toEqual(ids.toSorted());
});

it("is defaulted by `start`, says that it runs the stand-in, and ends cleanly on Ctrl-C", async () => {
  await using site = new Site();
  const child = site.spawnEntry(startEntry, "a", {
    VAULTWARDEN_BIN: "",
    PATH: "",
    DATA_FOLDER: "",
    STORE_DIR: "",
  });
  let log = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    log += chunk.toString();
  });
  const end = finished(child);
  await until(
    "the vault listens",
    () => log.includes("the vault listens on"),
    () => log,
  );
  // As a terminal sends it: to the whole group.
  process.kill(-(child.pid ?? 0), "SIGINT");
  const { code, stderr } = await end;
  expect(stderr.split("\n")[0]).toContain("the stand-in vault of the testkit");
  expect(stderr).toContain("everything is stored");
  expect(code).toBe(0);
  expect(readdirSync(site.path("data")).toSorted()).toEqual(["store", "vault"]);
});
