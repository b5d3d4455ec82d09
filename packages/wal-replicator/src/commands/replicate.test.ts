import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type ChildExit, startTypeScriptChild } from "@vaultwarden-stream/testkit";
import BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const main = fileURLToPath(new URL("../main.ts", import.meta.url));
let directory: string;
let database: string;
let replica: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "replicate-cli-"));
  database = join(directory, "app.db");
  replica = join(directory, "replica");
  const app = new BetterSqlite3(database);
  app.pragma("journal_mode = wal");
  app.exec("CREATE TABLE item (id INTEGER PRIMARY KEY)");
  app.close();
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function once(...options: readonly string[]): Promise<ChildExit> {
  const words = ["replicate", database, replica, "--once", ...options];
  return startTypeScriptChild(main, { arguments: words }).exited;
}

describe("how long moments can be restored", () => {
  it("is taken as two lengths of time", async () => {
    const { code } = await once("--retention", "2h", "--snapshot-interval", "30m");
    expect(code).toBe(0);
  });

  it.each([
    ["less than a minute", ["--retention", "59s"], "give it a minute or more"],
    ["no length of time", ["--retention", "thirty days"], "is not a length of time"],
    [
      "snapshots further apart than that",
      ["--retention", "1h", "--snapshot-interval", "2h"],
      "it is longer than 1 h",
    ],
    [
      "snapshots further apart than the default",
      ["--snapshot-interval", "31d"],
      "longer than 30 d",
    ],
  ])("%s is refused before anything is written", async (_, options, words) => {
    const { code, stderr } = await once(...options);
    expect([code, stderr]).toEqual([2, expect.stringContaining(words)]);
    expect(existsSync(replica)).toBe(false);
  });
});

describe("how often a busy database is stored", () => {
  it("is the sync interval, once what a quiet time has saved up is used", async () => {
    const words = ["replicate", database, replica, "--sync-interval", "1h"];
    const child = startTypeScriptChild(main, { arguments: words });
    await expect.poll(() => levelZero().length).toBe(1);
    const app = new BetterSqlite3(database);
    const insert = app.prepare("INSERT INTO item DEFAULT VALUES");
    for (let commit = 0; commit < 300; commit += 1) {
      insert.run();
      await sleep(20);
    }
    app.close();
    child.process.kill("SIGTERM");
    expect((await child.exited).code).toBe(0);
    // The base, 60 at once, and the tail. With an interval of a second there were another six.
    expect(levelZero().length).toBeLessThanOrEqual(62);
    expect(levelZero().length).toBeGreaterThan(2);
  });

  function levelZero(): string[] {
    const names = existsSync(replica) ? readdirSync(replica, { recursive: true }) : [];
    return names.map(String).filter((name) => /ltx\/0\/[0-9a-f-]+\.ltx$/.test(name));
  }
});
