/** The engine as a helper process: what the death of either side costs, and what a second copy of SQLite beside it does. */
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
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
import { formatTxid, ReplicationError, replicate, restore, type Txid } from "wal-replicator";
import type { AppReport, AppRequest } from "./helper-app.ts";

const appEntry = fileURLToPath(new URL("./helper-app.ts", import.meta.url));
const crashingHelper = fileURLToPath(new URL("./crashing-helper.ts", import.meta.url));
const main = fileURLToPath(new URL("../../packages/wal-replicator/src/main.ts", import.meta.url));

let directory: string;
let database: string;
let replica: string;
let apps: App[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "helper-"));
  database = join(directory, "app.db");
  replica = join(directory, "replica");
  apps = [];
});

afterEach(async () => {
  for (const app of apps) app.kill();
  await rm(directory, { recursive: true, force: true });
});

describe("beside better-sqlite3 and node:sqlite in one process, with TRUNCATE checkpoints in a loop", () => {
  it("no commit is missed", async () => {
    const app = await startApp();
    app.send("write");
    await sleep(2_000);
    const flushed = await app.ask("flush", "flushed");
    expect((await restoredRows()).length).toBeGreaterThanOrEqual(flushed.rows);
    const stopped = await app.ask("stop", "stopped");
    expect(stopped).toMatchObject({ released: true });
    const restored = await restoredRows();
    expect(restored).toHaveLength(stopped.rows);
    expect(restored).toEqual(rowsOf(database));
    expect(new Set(restored.map(({ writer }) => writer))).toEqual(
      new Set(["better-sqlite3", "node:sqlite"]),
    );
    expect(await app.exited).toMatchObject({ code: 0 });
  });
});

describe("the helper's death", () => {
  it("by SIGKILL while the application writes: it is started again, and nothing is lost", async () => {
    const app = await startApp();
    app.send("write");
    for (let death = 1; death <= 3; death += 1) {
      await sleep(300);
      process.kill(app.helperPid(), "SIGKILL");
      // Asked of a helper that is dead already or dies now; its successor answers.
      const { rows } = await app.ask("flush", "flushed");
      expect((await restoredRows()).length).toBeGreaterThanOrEqual(rows);
      expect(app.events("helper-restarted")).toHaveLength(death);
    }
    expect(app.events("helper-restarted")[0]).toEqual({
      type: "helper-restarted",
      exitCode: null,
      signal: "SIGKILL",
    });
    const stopped = await app.ask("stop", "stopped");
    expect(stopped.released).toBe(true);
    expect(await restoredRows()).toEqual(rowsOf(database));
    expect(await restoredRows()).toHaveLength(stopped.rows);
  });

  it("by SIGTERM of its own: it stores the tail first, and is started again while its host lives", async () => {
    const app = await startApp();
    app.send("write");
    await sleep(200);
    process.kill(app.helperPid(), "SIGTERM");
    // Whether this helper or the next one answers is not the application's concern.
    for (let count = 0; count < 20; count += 1) await app.ask("flush", "flushed");
    await app.event("released");
    await app.event("helper-restarted");
    const { rows } = await app.ask("stop", "stopped");
    expect(await restoredRows()).toHaveLength(rows);
  });

  it("a Ctrl-C to the whole group leaves the helper to its host's decision", async () => {
    const app = await startApp();
    app.send("write");
    process.kill(app.helperPid(), "SIGINT");
    process.kill(app.helperPid(), "SIGHUP");
    await sleep(200);
    const { rows } = await app.ask("stop", "stopped");
    expect(app.events("helper-restarted")).toEqual([]);
    expect(await restoredRows()).toHaveLength(rows);
  });

  it("five times in a minute ends the stream with HELPER_FAILED", async () => {
    const app = await startApp(crashingHelper);
    const ended = await app.next((report) => report.type === "ended");
    expect(ended).toEqual({ type: "ended", name: "ReplicationError", code: "HELPER_FAILED" });
    expect(app.events("helper-restarted")).toHaveLength(4);
  });
});

describe("the host's death", () => {
  it("by SIGKILL: the helper stores the tail, releases and exits", async () => {
    const app = await startApp();
    app.send("write");
    await sleep(500);
    const helperPid = app.helperPid();
    app.kill();
    await app.exited;
    await gone(helperPid);
    expect(await restoredRows()).toEqual(rowsOf(database));
    const { stdout } = await startTypeScriptChild(main, { arguments: ["list", replica, "--json"] })
      .exited;
    expect(JSON.parse(stdout).epochs.at(-1).released).not.toBeNull();
  });

  it("and its start again at once: the new helper waits for the old one, and goes on in the same timeline", async () => {
    const first = await startApp();
    first.send("write");
    await sleep(300);
    const helperPid = first.helperPid();
    // The old helper is slow to store its tail: it has the spool when the new one asks for it.
    process.kill(helperPid, "SIGSTOP");
    first.kill();
    const second = launchApp();
    while (!second.hasHelper()) await sleep(50);
    await sleep(2_000);
    process.kill(helperPid, "SIGCONT");
    await second.ready;
    expect(second.events("started")[0]).toMatchObject({ continued: true });
    second.send("write");
    await sleep(200);
    const { rows } = await second.ask("stop", "stopped");
    expect(await restoredRows()).toHaveLength(rows);
    expect(await restoredRows()).toEqual(rowsOf(database));
  });

  it("by having nothing left to do: the stream does not keep it alive, and the helper is not left behind", async () => {
    const app = await startApp();
    app.send("write");
    await sleep(200);
    const helperPid = app.helperPid();
    await app.ask("leave", "left");
    expect(await app.exited).toMatchObject({ code: 0 });
    await gone(helperPid);
    expect(await restoredRows()).toEqual(rowsOf(database));
  });
});

describe("a start that fails", () => {
  it("rejects with the engine's own error, class, code and hint", async () => {
    const failure = await replicate({ database, replica }).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(failure).toBeInstanceOf(ReplicationError);
    expect(failure).toMatchObject({
      code: "DATABASE_MISSING",
      hint: expect.any(String),
      retryable: false,
    });
  });

  it("rejects with the reason of an aborted signal, and leaves no helper waiting", async () => {
    const abort = new AbortController();
    const starting = replicate({ database, replica, waitForDatabase: true, signal: abort.signal });
    await sleep(500);
    const helperPid = helperPidOf(process.pid);
    const reason = new Error("changed my mind");
    abort.abort(reason);
    await expect(starting).rejects.toBe(reason);
    await gone(helperPid);
  });

  it("rejects with HELPER_FAILED if there is no helper at the path", async () => {
    const helperPath = join(directory, "nowhere.mjs");
    await writeFile(helperPath, "process.exit(3);");
    await expect(replicate({ database, replica, helperPath })).rejects.toMatchObject({
      code: "HELPER_FAILED",
      message: expect.stringContaining("exit code 3"),
    });
  });
});

describe("maintenance in the helper", () => {
  beforeEach(() => {
    const db = new DatabaseSync(database);
    db.exec("pragma journal_mode = wal; create table rows (id integer primary key)");
    db.close();
  });

  it("goes by the host's policy, and makes a snapshot when it is asked for", async () => {
    const replication = await replicate({
      database,
      replica,
      maintenance: { levelIntervalsMs: [100], keepMs: [10_000, 604_800_000] },
    });
    const { timeline, txid } = await replication.snapshot();
    const levels = join(replica, timeline, "ltx");
    expect(existsSync(join(levels, "9", `${formatTxid(1n as Txid)}-${formatTxid(txid)}.ltx`))).toBe(
      true,
    );
    const db = new DatabaseSync(database);
    db.exec("insert into rows default values");
    db.close();
    await replication.flush();
    await expect.poll(() => existsSync(join(levels, "1"))).toBe(true);
    await expect
      .poll(async () => (await replication.status()).maintenance?.lastCompactedAtMs)
      .toEqual(expect.any(Number));
    await replication.stop();
  });

  it("is none where the host says so", async () => {
    const replication = await replicate({ database, replica, maintenance: false });
    await replication.flush();
    expect((await replication.status()).maintenance).toBeUndefined();
    await expect(replication.snapshot()).rejects.toMatchObject({ code: "OPTIONS_CONFLICT" });
    await replication.stop();
  });

  it("refuses times that contradict each other, and names the law", async () => {
    await expect(
      replicate({ database, replica, maintenance: { levelIntervalsMs: [100] } }),
    ).rejects.toMatchObject({
      code: "OPTIONS_CONFLICT",
      message: expect.stringContaining("2 times in keepMs"),
    });
    expect(existsSync(replica)).toBe(false);
  });
});

it("in this process: events, status, flush, stop and what comes after", async () => {
  const db = new DatabaseSync(database);
  db.exec(
    "pragma journal_mode = wal; create table rows (id integer primary key, writer text, payload text)",
  );
  const types: string[] = [];
  const replication = await replicate({
    database,
    replica,
    onEvent: (event) => types.push(event.type),
  });
  db.exec("insert into rows (writer) values ('me')");
  const position = await replication.flush();
  expect(await replication.status()).toMatchObject({
    epoch: 1,
    timeline: position.timeline,
    captured: { txid: position.txid },
    storedTxid: position.txid,
    waitingFiles: 0,
  });
  expect(typeof position.txid).toBe("bigint");
  const abort = new AbortController();
  const reason = new Error("no more");
  const flushing = replication.flush({ signal: abort.signal });
  abort.abort(reason);
  await expect(flushing).rejects.toBe(reason);
  const [first, second] = await Promise.all([replication.stop(), replication.stop()]);
  expect(first).toMatchObject({ released: true, waitingFiles: 0 });
  expect(second).toEqual(first);
  await replication.ended;
  await expect(replication.flush()).rejects.toMatchObject({ code: "STOPPED" });
  expect(types.at(0)).toBe("started");
  expect(types.at(-1)).toBe("released");
  db.close();
  expect(await readDatabaseImage(await restored())).toEqual(await readDatabaseImage(database));
});

interface Row {
  readonly id: number;
  readonly writer: string;
  readonly payload: string;
}

function rowsOf(path: string): Row[] {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    return db
      .prepare("select * from rows order by id")
      .all()
      .map((row) => ({ ...row }) as unknown as Row);
  } finally {
    db.close();
  }
}

async function restored(): Promise<string> {
  const target = join(directory, "restored.db");
  await restore({ replica, target, overwrite: true });
  return target;
}

async function restoredRows(): Promise<Row[]> {
  return rowsOf(await restored());
}

type Report<T extends AppReport["type"]> = Extract<AppReport, { readonly type: T }>;

interface App {
  send(request: AppRequest): void;
  /** Resolves with the first report of the type that comes after the request. */
  ask<T extends AppReport["type"]>(request: AppRequest, answer: T): Promise<Report<T>>;
  /** Resolves with the first report, of all so far and to come, that matches. */
  next(matches: (report: AppReport) => boolean): Promise<AppReport>;
  event(type: Report<"event">["event"]["type"]): Promise<AppReport>;
  events(type: Report<"event">["event"]["type"]): Report<"event">["event"][];
  /** Resolves when its stream has started. */
  readonly ready: Promise<void>;
  hasHelper(): boolean;
  helperPid(): number;
  kill(): void;
  readonly exited: RunningChild["exited"];
}

async function startApp(...options: string[]): Promise<App> {
  const app = launchApp(...options);
  await app.ready;
  return app;
}

function launchApp(...options: string[]): App {
  const child = startTypeScriptChild(appEntry, {
    arguments: [database, replica, ...options],
    ipc: true,
  });
  const reports: AppReport[] = [];
  let wake = Promise.withResolvers<void>();
  child.process.on("message", (message) => {
    reports.push(message as AppReport);
    wake.resolve();
    wake = Promise.withResolvers();
  });
  const next = async (matches: (report: AppReport) => boolean, from = 0): Promise<AppReport> => {
    let isOver = false;
    const over = child.exited.then(() => {
      isOver = true;
    });
    for (let index = from; ; index += 1) {
      while (reports.length <= index) {
        if (isOver) throw new Error(`the application ended: ${child.stderr()}`);
        await Promise.race([wake.promise, over]);
      }
      if (matches(reports[index] as AppReport)) return reports[index] as AppReport;
    }
  };
  const isEvent = (type: string) => (report: AppReport) =>
    report.type === "event" && report.event.type === type;
  const app: App = {
    send: (request) => void child.process.send(request, () => {}),
    ask: async (request, answer) => {
      const from = reports.length;
      child.process.send(request, () => {});
      return (await next(({ type }) => type === answer, from)) as Report<typeof answer>;
    },
    next,
    event: (type) => next(isEvent(type)),
    events: (type) =>
      reports.filter(isEvent(type)).map((report) => (report as Report<"event">).event),
    ready: next(({ type }) => type === "ready").then(() => undefined),
    hasHelper: () => findHelperPid(child.pid) !== undefined,
    helperPid: () => helperPidOf(child.pid),
    kill: () => void child.process.kill("SIGKILL"),
    exited: child.exited,
  };
  app.ready.catch(() => {}); // whoever cares awaits it
  apps.push(app);
  return app;
}

/** The one child of a process that is a helper. */
function findHelperPid(parentPid: number): number | undefined {
  const children = readFileSync(`/proc/${parentPid}/task/${parentPid}/children`, "utf8");
  const pid = children
    .split(" ")
    .find(
      (child) => child !== "" && readFileSync(`/proc/${child}/cmdline`, "utf8").includes("helper"),
    );
  return pid === undefined ? undefined : Number(pid);
}

function helperPidOf(parentPid: number): number {
  const pid = findHelperPid(parentPid);
  if (pid === undefined) throw new Error(`process ${parentPid} has no helper`);
  return pid;
}

async function gone(pid: number): Promise<void> {
  const deadlineMs = Date.now() + 12_000;
  while (existsSync(`/proc/${pid}`) && !isZombie(pid)) {
    if (Date.now() > deadlineMs) throw new Error(`process ${pid} is still there`);
    await sleep(50);
  }
}

/** Ended; only whoever has inherited it has not asked yet. */
function isZombie(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    return true;
  }
}
