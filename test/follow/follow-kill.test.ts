import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DirectoryStore } from "@vaultwarden-stream/object-store";
import { type CrashChild, findSqliteShell, startCrashChild } from "@vaultwarden-stream/testkit";
import BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TestSource } from "wal-replicator/internals";

const entry = new URL("follower-main.ts", import.meta.url).pathname;

let directory: string;
let source: TestSource;
let copy: string;
let children: CrashChild[];
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "follow-kill-"));
  source = new TestSource(new DirectoryStore(join(directory, "store")), directory);
  copy = join(directory, "copies", "copy.db");
  children = [];
  await source.begin();
  await source.shipMany(2, 50);
});
afterEach(async () => {
  for (const child of children) child.process.kill("SIGKILL");
  await Promise.all(children.map(({ killed }) => killed));
  source.database.close();
  rmSync(directory, { recursive: true, force: true });
});

function start(crashAt?: string, nth = 1): CrashChild {
  const child = startCrashChild({
    entry,
    arguments: [join(directory, "store"), copy],
    crashAt,
    nth,
  });
  children.push(child);
  return child;
}

async function endsVerbatim(child: CrashChild, image: Uint8Array): Promise<void> {
  await expect
    .poll(() => child.stdout())
    .toMatch(new RegExp(`"txid":"${source.txid.toString(16).padStart(16, "0")}"`));
  await expect.poll(() => child.stdout()).toContain("ready");
  child.process.kill("SIGTERM");
  const { code, stdout, stderr } = await child.killed;
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(JSON.parse(stdout.trimEnd().split("\n").at(-1) as string)).toMatchObject({
    isVerbatim: true,
  });
  expect(Buffer.compare(readFileSync(copy), image)).toBe(0);
}

describe("a follower that is killed", () => {
  it.each(["restored", "publishing"])(
    "at %s leaves no copy, and the next one makes it",
    async (point) => {
      expect(await start(point).killed).toMatchObject({ byCrash: true });
      expect(existsSync(copy)).toBe(false);
      const image = await source.shipMany(1);
      await endsVerbatim(start(), image);
      expect(readdirSync(join(directory, "copies"))).toEqual([".copy.db-follow", "copy.db"]);
      expect(readdirSync(join(directory, "copies", ".copy.db-follow")).sort()).toEqual([
        "lock",
        "state.json",
      ]);
    },
  );

  it.each([
    ["state-written", 100],
    ["journal-written", 100],
    ["journal-hot", 100],
    ["half-written", 100],
    ["pages-written", 100],
    ["committed", 130],
  ])(
    "at %s leaves a copy that readers find sound, and the next one goes on",
    async (point, rows) => {
      const first = start();
      await expect.poll(() => first.stdout()).toContain("ready");
      first.process.kill("SIGTERM");
      await first.killed;
      // A header transaction comes first, which opens the resting copy to readers.
      const killed = start(point, 2);
      await expect.poll(() => killed.stdout()).toContain("copy-opened");
      const lastImage = await source.shipMany(1, 30);
      expect(await killed.killed).toMatchObject({ byCrash: true });
      const reader = new BetterSqlite3(copy);
      expect(readRows(reader)).toEqual({ rows, integrity: "ok" });
      reader.close();
      await endsVerbatim(start(), lastImage);
    },
  );

  it("leaves a journal that whoever may read the copy may use", async () => {
    const first = start();
    await expect.poll(() => first.stdout()).toContain("ready");
    chmodSync(copy, 0o664);
    first.process.kill("SIGKILL");
    await first.killed;
    const killed = start("journal-hot");
    await expect.poll(() => killed.stdout()).toContain("copy-opened");
    await source.shipMany(1);
    expect(await killed.killed).toMatchObject({ byCrash: true });
    expect(statSync(`${copy}-journal`).mode & 0o777).toBe(0o664);
  });

  it.each(["journal-hot", "half-written", "pages-written"])(
    "at %s, while it cuts most of the file off or makes it larger, is rolled back by whoever comes",
    async (point) => {
      const changes = [
        () => source.database.exec("DELETE FROM t WHERE id > 5; VACUUM"),
        () => source.write(100, 3_000),
      ];
      for (const change of changes) {
        const rows = readRows(source.database).rows;
        const killed = start(point, 1);
        await expect.poll(() => killed.stdout()).toMatch(/copy-(opened|restored)/);
        change();
        await source.ship();
        expect(await killed.killed).toMatchObject({ byCrash: true });
        const before = readFileSync(copy);
        expect(readByAnyone()).toEqual({ rows, integrity: "ok" });
        // The file as it was left is another one: there was something to roll back.
        if (point !== "journal-hot") expect(Buffer.compare(before, readFileSync(copy))).not.toBe(0);
        const next = start();
        await endsWithHeader(next);
      }
      expect(readRows(source.database).rows).toBe(105);
    },
  );
});

/** Killed again, so that the next one finds a followed copy and needs no header transaction. */
async function endsWithHeader(child: CrashChild): Promise<void> {
  await expect
    .poll(() => child.stdout())
    .toMatch(new RegExp(`"applied".*"txid":"${source.txid.toString(16).padStart(16, "0")}"`));
  child.process.kill("SIGKILL");
  await child.killed;
}

function readRows(reader: BetterSqlite3.Database): { rows: unknown; integrity: unknown } {
  return {
    rows: reader.prepare("SELECT count(*) FROM t").pluck().get(),
    integrity: reader.pragma("integrity_check", { simple: true }),
  };
}

/** By Debian's `sqlite3` where there is one: another version of SQLite, which has nothing in common with ours. */
function readByAnyone(): { rows: unknown; integrity: unknown } {
  const shell = findSqliteShell();
  if (shell === undefined) {
    const reader = new BetterSqlite3(copy);
    const read = readRows(reader);
    reader.close();
    return read;
  }
  const sql = "SELECT count(*) FROM t; PRAGMA integrity_check";
  const [rows, integrity] = execFileSync(shell, [copy, sql], { encoding: "utf8" }).split("\n");
  return { rows: Number(rows), integrity };
}
