import { cpSync, existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import {
  createItems,
  isAlive,
  itemIds,
  itemNames,
  killIfRunning,
  Site,
  until,
  untilStored,
} from "./daemon-harness.ts";

it("goes on where it was after everything was killed, and brings the vault back on another volume", async () => {
  await using site = new Site();
  const first = await site.run("a");
  const client = await first.register();
  const ids = await createItems(client, ["one", "two", "three"]);
  await untilStored(site, "a");
  const timeline = site.status("a")?.timeline;
  killIfRunning(site.status("a")?.server?.pid ?? -1);
  await first.end("SIGKILL");

  const second = await site.run("a");
  const again = await second.login();
  expect(await itemNames(again)).toEqual(["one", "three", "two"]);
  expect(second.stderr).toContain(`streaming: timeline ${timeline}`);
  ids.push(...(await createItems(again, ["four"])));
  await untilStored(site, "a");
  killIfRunning(site.status("a")?.server?.pid ?? -1);
  await second.end("SIGKILL");
  rmSync(site.path("a"), { recursive: true });

  const third = await site.run("b", {}, "--take-over");
  const elsewhere = await third.login();
  expect(await itemNames(elsewhere)).toEqual(["four", "one", "three", "two"]);
  expect((await third.end()).code).toBe(0);
  expect(itemIds(site.rows("b"))).toEqual(ids.toSorted());
});

it("ends the server that a killed daemon left, and stores what it took meanwhile", async () => {
  await using site = new Site();
  const first = await site.run("a");
  const client = await first.register();
  const ids = await createItems(client, ["one"]);
  await untilStored(site, "a");
  const orphan = site.status("a")?.server?.pid ?? -1;
  await first.end("SIGKILL");
  ids.push(...(await createItems(client, ["written beside nobody"])));

  const second = await site.run("a");
  await second.ready();
  expect(second.stderr).toContain(`its server (process ${orphan}) still runs`);
  expect(isAlive(orphan)).toBe(false);
  expect((await second.end()).code).toBe(0);
  await site.command("b", "restore");
  expect(itemIds(site.rows("b"))).toEqual(ids.toSorted());
});

it("ends with the server's code when the server is killed, with everything stored", async () => {
  await using site = new Site();
  const daemon = await site.run("a");
  const ids = await createItems(await daemon.register(), ["one", "two"]);
  killIfRunning(site.status("a")?.server?.pid ?? -1);
  const { code, stderr } = await daemon.finished;
  expect(code).toBe(137);
  expect(stderr).toContain("it was ended by SIGKILL");
  await site.command("b", "restore");
  expect(itemIds(site.rows("b"))).toEqual(ids.toSorted());
});

it("weakness 3 and H3, a stale volume: keeps it aside and restores what the store has", async () => {
  await using site = new Site();
  const first = await site.run("a");
  const ids = await createItems(await first.register(), ["one"]);
  await first.end();
  const old = itemIds(site.rows("a"));
  cpSync(site.path("a"), site.path("b"), { recursive: true, preserveTimestamps: true });

  const second = await site.run("a");
  ids.push(...(await createItems(await second.login(), ["two", "three"])));
  await second.end();

  // The host of the old volume comes back.
  const third = await site.run("b");
  const client = await third.login();
  expect(await itemNames(client)).toEqual(["one", "three", "two"]);
  ids.push(...(await createItems(client, ["four"])));
  expect((await third.end()).code).toBe(0);
  const aside = readdirSync(site.path("b")).find((name) => /\.aside-\d{8}T\d{9}Z$/.test(name));
  expect(third.stderr).toContain(`is kept as ${join(site.path("b"), aside ?? "?")}`);

  await site.command("c", "restore");
  expect(itemIds(site.rows("c"))).toEqual(ids.toSorted());
  renameSync(join(site.path("b"), aside ?? ""), join(site.path("c"), "db.sqlite3"));
  expect(itemIds(site.rows("c"))).toEqual(old);
});

it("keeps a volume aside that was rolled back in its place, as by a snapshot of the file system", async () => {
  await using site = new Site();
  const first = await site.run("a");
  const ids = await createItems(await first.register(), ["one"]);
  await first.end();
  cpSync(site.path("a"), site.path("b"), { recursive: true, preserveTimestamps: true });
  const second = await site.run("a");
  ids.push(...(await createItems(await second.login(), ["two"])));
  await second.end();
  rollBack(site.path("a"), site.path("b"));
  const third = await site.run("a");
  expect(await itemNames(await third.login())).toEqual(["one", "two"]);
  await third.end();
  expect(itemIds(site.rows("a"))).toEqual(ids.toSorted());
});

it("does not start a volume that has what the store lacks, when the store has what it lacks", async () => {
  await using site = new Site();
  const first = await site.run("a");
  const ids = await createItems(await first.register(), ["one"]);
  await first.end();
  cpSync(site.path("a"), site.path("b"), { recursive: true, preserveTimestamps: true });
  const second = await site.run("a");
  ids.push(...(await createItems(await second.login(), ["two"])));
  await second.end();
  // The copy is made to run on its own: it begins a timeline that branches off.
  await site.command("b", "restore", "--yes", "--at", "1s ago");
  await site.command("b", "restore", "--undo", "--yes");
  const third = await site.run("b");
  const branch = await createItems(await third.login(), ["another two"]);
  await third.end();
  expect(third.stderr).toContain("streaming: new timeline");

  const fourth = await site.run("a");
  const { code, stderr } = await fourth.refused();
  expect(code).toBe(5);
  expect(stderr).toContain("both have what the other lacks");
  expect(stderr).toContain("ON_DIVERGENCE=remote");
  expect(itemIds(site.rows("a"))).toEqual(ids.toSorted());
  await site.command("c", "restore");
  expect(itemIds(site.rows("c"))).toEqual([ids[0], ...branch].toSorted());

  const fifth = await site.run("a", { ON_DIVERGENCE: "remote" });
  expect(await itemNames(await fifth.login())).toEqual(["another two", "one"]);
  await fifth.end();
  const aside = readdirSync(site.path("a")).find((name) => /\.aside-\d{8}T\d{9}Z$/.test(name));
  expect(fifth.stderr).toContain(`is kept as ${join(site.path("a"), aside ?? "?")}`);
});

it("starts an interrupted restore again", async () => {
  await using site = new Site();
  const first = await site.run("a");
  const ids = await createItems(await first.register(), ["one"]);
  await first.end();
  // As a kill in the middle of a restore leaves it: half a database beside the place, and none in it.
  const database = join(site.path("a"), "db.sqlite3");
  rmSync(join(site.path("a"), ".db.sqlite3-replica"), { recursive: true });
  renameSync(database, `${database}.incoming.restore-0123456789abcdef.tmp`);
  const second = await site.run("a");
  await second.ready();
  await second.end();
  expect(itemIds(site.rows("a"))).toEqual(ids);
  expect(existsSync(`${database}.incoming.restore-0123456789abcdef.tmp`)).toBe(false);
});

it("does not start a second daemon on the same volume", async () => {
  await using site = new Site();
  const first = await site.run("a");
  await first.ready();
  const second = await site.run("a");
  const { code, stderr } = await second.finished;
  expect(code).toBe(5);
  expect(stderr).toContain(`the daemon with process id ${first.process.pid} runs on it`);
  await until("the first one still says that it runs", () => site.status("a")?.status === "ok");
  expect((await first.end()).code).toBe(0);
});

/** Gives every file its old content and removes what is newer; directories and files stay the same inodes. */
function rollBack(directory: string, old: string): void {
  const files = (path: string): string[] =>
    readdirSync(path, { recursive: true, encoding: "utf8" });
  for (const name of files(directory)) {
    if (!existsSync(join(old, name)))
      rmSync(join(directory, name), { recursive: true, force: true });
  }
  cpSync(old, directory, { recursive: true, force: true });
}
