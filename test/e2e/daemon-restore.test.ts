import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { createItems, itemIds, itemNames, Site, untilStored } from "./daemon-harness.ts";

it("restores an earlier moment, undoes it, and goes on from either", async () => {
  await using site = new Site();
  const first = await site.run("a");
  const client = await first.register();
  const early = await createItems(client, ["one", "two"]);
  await untilStored(site, "a");
  // Captures carry milliseconds: the moment must lie behind the last one and before the next.
  await sleep(20);
  const moment = new Date().toISOString();
  await sleep(20);
  const late = await createItems(client, ["three"]);
  await untilStored(site, "a");

  const refused = await site.command("a", "restore", "--yes");
  expect(refused.code).toBe(5);
  expect(refused.stderr).toContain("is in use");
  const elsewhere = await site.command(
    "a",
    "restore",
    "--to",
    site.path("b"),
    "--at",
    moment,
    "--json",
  );
  expect(JSON.parse(elsewhere.stdout)).toMatchObject({ restored: true, aside: null });
  expect(itemIds(site.rows("b"))).toEqual(early.toSorted());
  await first.end();

  const plan = await site.command("a", "restore", "--at", moment, "--dry-run", "--json");
  expect(plan.code).toBe(0);
  expect(itemIds(site.rows("a"))).toEqual([...early, ...late].toSorted());
  const unanswered = await site.command("a", "restore", "--at", moment);
  expect(unanswered.code).toBe(2);
  const restored = await site.command("a", "restore", "--at", moment, "--yes", "--json");
  const report = JSON.parse(restored.stdout) as { txid: string; aside: string };
  expect(report.txid).toBe((JSON.parse(plan.stdout) as { txid: string }).txid);
  expect(existsSync(report.aside)).toBe(true);
  expect(itemIds(site.rows("a"))).toEqual(early.toSorted());

  const second = await site.run("a");
  const again = await second.login();
  expect(await itemNames(again)).toEqual(["one", "two"]);
  expect(second.stderr).toContain("streaming: new timeline");
  const branch = await createItems(again, ["another three"]);
  await second.end();
  await site.command("c", "restore");
  expect(itemIds(site.rows("c"))).toEqual([...early, ...branch].toSorted());

  const undone = await site.command("a", "restore", "--undo", "--yes");
  expect(undone.code).toBe(0);
  expect(itemIds(site.rows("a"))).toEqual([...early, ...late].toSorted());
});

it("restores to a file without leaving anything else beside it, and by TXID", async () => {
  await using site = new Site();
  const daemon = await site.run("a");
  await createItems(await daemon.register(), ["one"]);
  await daemon.end();
  const status = await site.command("a", "status", "--json");
  const { storedTxid, running } = JSON.parse(status.stdout) as {
    storedTxid: string;
    running: boolean;
  };
  expect(running).toBe(false);
  const copy = join(site.path("out"), "copy.sqlite3");
  const restored = await site.command("a", "restore", "--to", copy, "--txid", storedTxid);
  expect(restored.code).toBe(0);
  expect(restored.stdout).toContain(`TXID ${storedTxid}`);
  expect(readdirSync(site.path("out"))).toEqual(["copy.sqlite3"]);
});

it("answers with exit code 3 where there is nothing to restore or to undo", async () => {
  await using site = new Site();
  expect((await site.command("a", "restore")).code).toBe(3);
  expect((await site.command("a", "restore", "--undo", "--yes")).code).toBe(3);
  expect((await site.command("a", "status")).code).toBe(1);
});

it("names every mistake of the configuration at once and exits 2", async () => {
  await using site = new Site();
  const daemon = await site.run("a", {
    S3_BUCKET: "vault",
    NODE_ROLE: "secondary",
    ENABLE_DB_WAL: "false",
  });
  const { code, stderr } = await daemon.finished;
  expect(code).toBe(2);
  for (const name of ["STORE_DIR", "NODE_ROLE", "ENABLE_DB_WAL"]) {
    expect(stderr).toContain(`ERROR: ${name}`);
  }
  expect(existsSync(site.path("a"))).toBe(false);
});
