/** `wal-replicator` as people and scripts call it: real processes, real signals, no terminal. */
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import {
  type RunningChild,
  readDatabaseImage,
  startTypeScriptChild,
} from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const main = fileURLToPath(new URL("../../packages/wal-replicator/src/main.ts", import.meta.url));
const stockReplicas = fileURLToPath(new URL("../fixtures/litestream", import.meta.url));

let directory: string;
let database: string;
let replica: string;
const running = new Set<RunningChild>();

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "cli-"));
  database = join(directory, "app.db");
  replica = join(directory, "replica");
});

afterEach(async () => {
  for (const child of running) child.process.kill("SIGKILL");
  running.clear();
  await rm(directory, { recursive: true, force: true });
});

describe("replicate", () => {
  it.each(["SIGTERM", "SIGINT"] as const)(
    "streams until %s, then exits 0 with every commit stored",
    async (signal) => {
      using app = openApp("wal");
      app.insert(3);
      const child = start("replicate", database, replica);
      await said(child, "streaming");
      app.insert(5);
      await said(child, "stored 0000000000000002");
      app.insert(7);
      child.process.kill(signal);
      const { code, stdout } = await child.exited;
      expect(code).toBe(0);
      expect(stdout).toMatch(/^everything is stored: timeline \S+, TXID [0-9a-f]{16}\n$/);
      expect(await restoredImage()).toEqual(await readDatabaseImage(database));
    },
  );

  it("--once ships what is there, and goes on in the same timeline the next time", async () => {
    using app = openApp("wal");
    app.insert(3);
    const first = JSON.parse(
      (await run("replicate", database, replica, "--once", "--json")).stdout,
    );
    app.insert(3);
    const second = JSON.parse(
      (await run("replicate", database, replica, "--once", "--json")).stdout,
    );
    expect(first).toEqual({
      database,
      replica,
      timeline: expect.stringMatching(/^00000001-[0-9a-f]{8}$/),
      txid: "0000000000000001",
      rollingChecksum: expect.stringMatching(/^[0-9a-f]{16}$/),
      released: true,
      waitingFiles: 0,
    });
    expect(second).toMatchObject({
      timeline: first.timeline,
      txid: "0000000000000002",
      released: true,
    });
    expect(await restoredImage()).toEqual(await readDatabaseImage(database));
  });

  it("waits for a missing database, says so, and streams it once its application has made it", async () => {
    const child = start("replicate", database, replica);
    await said(child, `there is no database at ${database} yet: waiting for it`);
    // As applications do it: a file in rollback mode first, the switch to WAL a moment later.
    using app = openApp("delete");
    await said(child, "waiting");
    app.toWal();
    app.insert(4);
    await said(child, "streaming");
    child.process.kill("SIGTERM");
    expect((await child.exited).code).toBe(0);
    expect(await restoredImage()).toEqual(await readDatabaseImage(database));
  });

  it("--once refuses a missing database, with three lines", async () => {
    const { code, stderr } = await run("replicate", database, replica, "--once");
    expect(code).toBe(1);
    expect(lines(stderr)).toHaveLength(3);
    expect(stderr).toContain("DATABASE_MISSING");
  });

  it("refuses a rollback-journal database unless --convert-to-wal is given", async () => {
    {
      using app = openApp("delete");
      app.insert(1);
    }
    const refused = await run("replicate", database, replica, "--once");
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("DATABASE_NOT_WAL");
    expect(refused.stderr).toContain("onvert");
    expect((await run("replicate", database, replica, "--once", "--convert-to-wal")).code).toBe(0);
    expect(await restoredImage()).toEqual(await readDatabaseImage(database));
  });

  it("streams through a symbolic link, and is one stream with that of the file itself", async () => {
    using app = openApp("wal");
    const link = join(directory, "elsewhere", "link.db");
    await mkdir(join(directory, "elsewhere"));
    await symlink(database, link);
    const child = start("replicate", link, replica);
    await said(child, "stored 0000000000000001");
    app.insert(3);
    await said(child, "stored 0000000000000002");
    expect((await run("replicate", database, replica, "--once")).code).toBe(5);
    child.process.kill("SIGTERM");
    expect((await child.exited).code).toBe(0);
    expect(await restoredImage()).toEqual(await readDatabaseImage(database));
  });

  it("a second stream of the same database is refused with exit code 5", async () => {
    using app = openApp("wal");
    app.insert(1);
    const first = start("replicate", database, replica);
    await said(first, "streaming");
    const second = await run("replicate", database, replica, "--once");
    expect(second.code).toBe(5);
    first.process.kill("SIGTERM");
    expect((await first.exited).code).toBe(0);
  });

  it("a store that vanishes is not begun anew with a part of the data: the next start stores all of it", async () => {
    using app = openApp("wal");
    app.insert(3);
    const child = start("replicate", database, replica);
    await said(child, "stored");
    await rm(replica, { recursive: true });
    app.insert(3);
    await said(child, "the store fails");
    expect(await readdir(directory)).not.toContain("replica");
    child.process.kill("SIGKILL");
    await child.exited;
    expect((await run("replicate", database, replica, "--once")).code).toBe(0);
    expect(await restoredImage()).toEqual(await readDatabaseImage(database));
  });

  it("a store that goes away stops nothing; a second signal at the end waits no longer; nothing is lost", async () => {
    using app = openApp("wal");
    app.insert(3);
    const child = start("replicate", database, replica);
    await said(child, "stored");
    await rename(replica, `${replica}.away`);
    await writeFile(replica, "a file where the replica should be");
    app.insert(3);
    await said(child, "the store fails");
    app.insert(3);
    child.process.kill("SIGTERM");
    await said(child, "storing what waits");
    await sleep(500); // what comes at once counts as the same request
    child.process.kill("SIGTERM");
    expect((await child.exited).code).toBe(143);
    await rm(replica);
    await rename(`${replica}.away`, replica);
    expect((await run("replicate", database, replica, "--once")).code).toBe(0);
    expect(await restoredImage()).toEqual(await readDatabaseImage(database));
  });

  it("a store that cannot be used at the start is refused, and says what to do next", async () => {
    using app = openApp("wal");
    app.insert(1);
    await writeFile(replica, "a file where the replica should be");
    const { code, stderr } = await run("replicate", database, replica, "--once");
    expect(code, stderr).toBe(6);
    expect(lines(stderr).at(-1)).toMatch(/^ {2}next: ./);
  });
});

describe("replicate … -- command", () => {
  it("starts the command when the anchor is held, leaves it its stdout, and ends with its exit code, flushed", async () => {
    {
      using app = openApp("wal");
      app.insert(1);
    }
    const { code, stdout, stderr } = await run(
      "replicate",
      database,
      replica,
      "--",
      ...writer("console.log('app speaks'); process.exitCode = 7"),
    );
    expect(code).toBe(7);
    expect(stdout).toBe("app speaks\n");
    expect(stderr.indexOf("epoch 1 begins")).toBeLessThan(stderr.indexOf("everything is stored"));
    expect(await restoredRows()).toBe(11);
  });

  it("runs a command that makes the database itself", async () => {
    const { code } = await run("replicate", database, replica, "--", ...writer(""));
    expect(code).toBe(0);
    expect(await restoredRows()).toBe(10);
  });

  it("runs a command over the empty file that it made at an earlier start", async () => {
    await writeFile(database, "");
    const child = start("replicate", database, replica, "--", ...writer("process.exit(5)"));
    expect((await child.exited).code).toBe(5);
    expect(await restoredRows()).toBe(10);
  });

  it("a command that makes no database ends it all the same", async () => {
    expect((await run("replicate", database, replica, "--", "sh", "-c", "exit 3")).code).toBe(3);
  });

  it("forwards SIGTERM, and stores what the command writes at its end", async () => {
    const child = start(
      "replicate",
      database,
      replica,
      "--",
      ...writer(
        "process.on('SIGTERM', () => { insert(5); process.exit(9); }); setInterval(() => {}, 1000); console.log('ready')",
      ),
    );
    await said(child, "ready");
    await said(child, "streaming");
    child.process.kill("SIGTERM");
    expect((await child.exited).code).toBe(9);
    expect(await restoredRows()).toBe(15);
  });

  it("a command that a signal ends gives 128 and its number", async () => {
    expect(
      (
        await run(
          "replicate",
          database,
          replica,
          "--",
          ...writer("process.kill(process.pid, 'SIGKILL')"),
        )
      ).code,
    ).toBe(137);
    expect(await restoredRows()).toBe(10);
  });

  it("a command that does not exist is a usage error", async () => {
    using app = openApp("wal");
    app.insert(1);
    const { code, stderr } = await run("replicate", database, replica, "--", "./no-such-command");
    expect(code).toBe(2);
    expect(stderr).toContain("cannot start ./no-such-command");
  });
});

describe("restore", () => {
  it("never overwrites without a terminal unless it is told to", async () => {
    await ship(3);
    const target = join(directory, "restored.db");
    await writeFile(target, "precious");
    const refused = await run("restore", replica, "-o", target);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain("no terminal");
    expect(refused.stderr).toContain("--force");
    expect(await readFile(target, "utf8")).toBe("precious");

    expect((await run("restore", replica, "-o", target, "--if-db-not-exists")).code).toBe(0);
    expect(await readFile(target, "utf8")).toBe("precious");

    expect((await run("restore", replica, "-o", target, "--force")).code).toBe(0);
    expect(await readDatabaseImage(target)).toEqual(await readDatabaseImage(database));
  });

  it("restores every state that list shows, by TXID and by time", async () => {
    await ship(3);
    await ship(4);
    await ship(5);
    const { timelines } = JSON.parse((await run("list", replica, "--json")).stdout);
    const points: { txid: string; at: string }[] = timelines[0].recoveryPoints;
    expect(points.map(({ txid }) => txid)).toEqual(
      ["1", "2", "3"].map((txid) => txid.padStart(16, "0")),
    );
    expect(await restoredRows("--txid", "2")).toBe(7);
    expect(await restoredRows("--at", points[1]?.at ?? "")).toBe(3);
    const later = new Date(Date.parse(points[1]?.at ?? "") + 1).toISOString();
    expect(await restoredRows("--at", later)).toBe(7);
  });

  it("--json reports what was restored, --dry-run what would be, and writes nothing", async () => {
    await ship(3);
    const target = join(directory, "restored.db");
    const dry = JSON.parse(
      (await run("restore", replica, "-o", target, "--dry-run", "--json")).stdout,
    );
    expect(dry).toMatchObject({
      dryRun: true,
      output: target,
      outputExists: false,
      txid: "0000000000000001",
    });
    expect(dry.files).toHaveLength(1);
    expect(await readdir(directory)).not.toContain("restored.db");
    const done = JSON.parse((await run("restore", replica, "-o", target, "--json")).stdout);
    expect(done).toMatchObject({
      restored: true,
      output: target,
      timeline: dry.timeline,
      txid: dry.txid,
      at: expect.stringMatching(/^\d{4}-.*Z$/),
      pageSize: 4096,
      bytes: done.pageCount * 4096,
      rollingChecksumProved: true,
      damagedKeys: [],
    });
  });

  it("nothing there is exit code 3, or 0 with --if-replica-exists", async () => {
    const target = join(directory, "restored.db");
    const nothing = await run("restore", replica, "-o", target);
    expect(nothing.code).toBe(3);
    expect(lines(nothing.stderr)).toHaveLength(3);
    const accepted = await run("restore", replica, "-o", target, "--if-replica-exists", "--json");
    expect(accepted.code).toBe(0);
    expect(JSON.parse(accepted.stdout)).toEqual({ restored: false, reason: "no-replica" });
    expect(await readdir(directory)).toEqual([]);
  });

  it("a replica of Litestream before v0.5 is not taken for nothing, whatever is asked", async () => {
    const generation = join(replica, "generations", "9b7c87ae09016593", "snapshots");
    await mkdir(generation, { recursive: true });
    await writeFile(join(generation, "00000000.snapshot.lz4"), "lz4");
    const target = join(directory, "restored.db");
    for (const argv of [
      ["restore", replica, "-o", target, "--if-replica-exists"],
      ["restore", replica, "-o", target, "--if-replica-exists", "--dry-run"],
      ["list", replica],
    ]) {
      const { code, stderr } = await run(...argv);
      expect(code).toBe(1);
      expect(lines(stderr)).toHaveLength(3);
      expect(stderr).toContain("REPLICA_UNSUPPORTED");
    }
  });

  it.each([
    ["--txid", "63"],
    ["--at", "2000-01-01T00:00:00Z"],
    ["--timeline", "00000009-00000000"],
  ])("%s %s, which is not there, is exit code 3", async (option, value) => {
    await ship(3);
    const { code } = await run(
      "restore",
      replica,
      "-o",
      join(directory, "restored.db"),
      option,
      value,
    );
    expect(code).toBe(3);
  });

  it("damaged data is exit code 4, names the file, and leaves the target alone", async () => {
    const { timeline } = await ship(3);
    const key = `${timeline}/ltx/0/0000000000000001-0000000000000001.ltx`;
    const bytes = await readFile(join(replica, key));
    bytes.writeUInt8(bytes.readUInt8(200) ^ 1, 200);
    await writeFile(join(replica, key), bytes);
    const target = join(directory, "restored.db");
    await writeFile(target, "precious");
    const { code, stderr } = await run("restore", replica, "-o", target, "--force", "--json");
    expect(code, stderr).toBe(4);
    expect(JSON.parse(lines(stderr).at(-1) ?? "").error.what).toContain(key);
    expect(await readFile(target, "utf8")).toBe("precious");
  });
});

describe("list", () => {
  it("shows timelines, levels, files and recovery points", async () => {
    const { timeline } = await ship(3);
    await ship(2);
    const { stdout } = await run("list", replica, "--files");
    expect(stdout).toContain(`timeline ${timeline}, the head`);
    expect(stdout).toContain("2 recovery points");
    expect(stdout).toContain("every stored change");
    expect(stdout).toContain("level 0: 2 files");
    expect(stdout).toContain(`${timeline}/ltx/0/0000000000000002-0000000000000002.ltx`);
    expect(stdout).toContain("epoch 2, since");
  });

  it("says in JSON what it says in text", async () => {
    const { timeline } = await ship(3);
    const listing = JSON.parse((await run("list", replica, "--json")).stdout);
    expect(listing).toMatchObject({
      head: timeline,
      timelines: [
        {
          timeline,
          parent: null,
          levels: [
            { level: 0, fileCount: 1, minTxid: "0000000000000001", maxTxid: "0000000000000001" },
          ],
          files: [{ level: 0, key: expect.stringContaining(timeline), bytes: expect.any(Number) }],
          recoveryPoints: [{ txid: "0000000000000001", level: 0 }],
          recoveryRanges: [{ level: 0, pointCount: 1, precisionMs: 0 }],
          unreachableFileCount: 0,
        },
      ],
      epochs: [{ epoch: 1, timeline, released: { txid: "0000000000000001" } }],
    });
  });

  it("shows and restores what stock Litestream wrote", async () => {
    const stock = join(stockReplicas, "file-4096", "objects");
    const listing = JSON.parse((await run("list", stock, "--json")).stdout);
    expect(listing).toMatchObject({ head: "", epochs: [] });
    expect(listing.timelines[0].recoveryPoints.length).toBeGreaterThan(0);
    const restored = await run("restore", stock, "-o", join(directory, "restored.db"));
    expect(restored.code).toBe(0);
  });

  it("nothing there is exit code 3", async () => {
    expect((await run("list", replica)).code).toBe(3);
  });
});

describe("a typo is answered with the nearest known name, exit code 2", () => {
  it.each([
    [["replicat", "a", "b"], "did you mean replicate?"],
    [["restore", "r", "-o", "x", "--timelime", "t"], "did you mean --timeline?"],
    [["restore", "r", "-o", "x", "--at", "2 huors ago"], "the units are s, m, h, d and w"],
    [["restore", "r", "-o", "x", "--txid", "xyz"], "list"],
    [["import", "r"], "see `wal-replicator --help`"],
    [["restore", "r", "-o", "x", "--folow"], "did you mean --follow?"],
    [["restore", "r", "-o", "x", "--follow", "--at", "1h ago"], "leave out one of them"],
    [["restore", "r"], "see `wal-replicator restore --help`"],
    [["restore", "r", "-o", ""], "--output <file>"],
    [["list", "s4://bucket"], "file:///"],
    [["replicate", "db", "url", "stray"], "--"],
  ])("%j", async (argv, next) => {
    const { code, stdout, stderr } = await run(...argv);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(lines(stderr)).toHaveLength(3);
    expect(lines(stderr)[2]).toContain(next);
  });
});

/** An application with the database open, in a process other than the one that streams. */
function openApp(mode: "wal" | "delete") {
  const db = new DatabaseSync(database);
  db.exec(
    `pragma journal_mode = ${mode}; create table if not exists rows (id integer primary key, text)`,
  );
  return {
    toWal: () => db.exec("pragma journal_mode = wal"),
    insert: (count: number) => {
      for (let row = 0; row < count; row += 1)
        db.exec("insert into rows (text) values (hex(randomblob(100)))");
    },
    [Symbol.dispose]: () => db.close(),
  };
}

/** A command line of a program that makes the table if it is missing, inserts ten rows, and goes on with `then`. */
function writer(then: string): string[] {
  const script = `
    const { DatabaseSync } = require("node:sqlite");
    const db = new DatabaseSync(${JSON.stringify(database)});
    db.exec("pragma journal_mode = wal; create table if not exists rows (id integer primary key, text)");
    const insert = (count) => { for (let i = 0; i < count; i += 1) db.exec("insert into rows (text) values (hex(randomblob(100)))"); };
    insert(10);
    ${then}`;
  return [process.execPath, "-e", script];
}

/** Inserts rows and ships them. */
async function ship(count: number): Promise<{ timeline: string }> {
  using app = openApp("wal");
  app.insert(count);
  const { code, stdout, stderr } = await run("replicate", database, replica, "--once", "--json");
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout);
}

async function restoredImage() {
  return readDatabaseImage(await restore());
}

async function restoredRows(...options: string[]): Promise<number> {
  const db = new DatabaseSync(await restore(...options), { readOnly: true });
  try {
    return (db.prepare("select count(*) as count from rows").get() as { count: number }).count;
  } finally {
    db.close();
  }
}

async function restore(...options: string[]): Promise<string> {
  const target = join(directory, "restored.db");
  const { code, stderr } = await run("restore", replica, "-o", target, "--force", ...options);
  expect(code, stderr).toBe(0);
  return target;
}

function start(...argv: string[]): RunningChild {
  const child = startTypeScriptChild(main, { arguments: argv, cwd: directory });
  running.add(child);
  return child;
}

function run(...argv: string[]) {
  return start(...argv).exited;
}

/** Resolves when the child has printed the text. */
async function said(child: RunningChild, text: string): Promise<void> {
  for await (const _ of anyOutput(child)) {
    if (child.stdout().includes(text) || child.stderr().includes(text)) return;
  }
  throw new Error(`it ended without saying ${JSON.stringify(text)}:\n${child.stderr()}`);
}

async function* anyOutput(child: RunningChild): AsyncGenerator<void> {
  let isOver = false;
  const over = child.exited.then(() => {
    isOver = true;
  });
  while (!isOver) {
    yield;
    const { promise, resolve } = Promise.withResolvers<void>();
    child.process.stdout?.once("data", () => resolve());
    child.process.stderr?.once("data", () => resolve());
    await Promise.race([promise, over]);
  }
  yield;
}

function lines(text: string): string[] {
  return text.trimEnd().split("\n");
}
