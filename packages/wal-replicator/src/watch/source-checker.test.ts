import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { checkSource } from "./check-source.ts";
import {
  readSourceCheck,
  type SourceCheckStatus,
  writeSourceCheck,
} from "./source-check-record.ts";
import {
  defaultSourceCheckPolicy,
  type SourceCheckEvent,
  SourceChecker,
} from "./source-checker.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "source-check-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe("checkSource", () => {
  let path: string;
  let application: BetterSqlite3.Database;
  const never = new AbortController().signal;

  beforeEach(() => {
    path = join(directory, "db");
    application = new BetterSqlite3(path);
    application.pragma("journal_mode = WAL");
    application.exec("CREATE TABLE t (x); CREATE INDEX i ON t (x)");
    const insert = application.prepare("INSERT INTO t VALUES (?)");
    application.transaction(() => {
      for (let index = 0; index < 2_000; index++) insert.run(`${index}`.padStart(100, "x"));
    })();
  });
  afterEach(() => application.close());

  it("finds nothing wrong with a database in use, what is only in its WAL included", async () => {
    expect(await checkSource(path, never)).toBeUndefined();
    // It was there, and has removed neither WAL nor locks.
    application.exec("INSERT INTO t VALUES (1)");
  });

  it("finds pages that are damaged in the file", async () => {
    application.pragma("wal_checkpoint(TRUNCATE)");
    const file = openSync(path, "r+");
    for (const page of [20, 30, 40])
      writeSync(file, new Uint8Array(64).fill(0xff), 0, 64, page * 4_096);
    expect(await checkSource(path, never)).toMatch(/\S/);
  });

  it("finds a file that is no database any more", async () => {
    const other = join(directory, "other");
    writeFileSync(other, "x".repeat(8_192));
    expect(await checkSource(other, never)).toMatch(/not a database/);
  });

  it("throws where it could not look: that is no complaint", async () => {
    await expect(checkSource(join(directory, "none"), never)).rejects.toThrow();
    await expect(checkSource(path, never, join(directory, "left-out.mjs"))).rejects.toThrow(
      "bundler",
    );
  });

  it("ends with its signal, and passes on nothing of our environment", async () => {
    const stopped = new Error("stopped");
    await expect(checkSource(path, AbortSignal.abort(stopped))).rejects.toBe(stopped);
    const entry = join(directory, "entry.mjs");
    writeFileSync(entry, "console.log(JSON.stringify({ complaint: JSON.stringify(process.env) }))");
    process.env["SECRET_OF_THE_HOST"] = "canary";
    try {
      expect(await checkSource(path, never, entry)).not.toContain("canary");
    } finally {
      delete process.env["SECRET_OF_THE_HOST"];
    }
  });
});

const dayMs = 86_400_000;

describe("SourceChecker", () => {
  let clockMs: number;
  let complaint: string | undefined;
  let failure: Error | undefined;
  let checkedAtMs: number[];
  let events: SourceCheckEvent[];

  beforeEach(() => {
    clockMs = 1_795_557_600_000;
    complaint = undefined;
    failure = undefined;
    checkedAtMs = [];
    events = [];
  });

  /** Runs for so many virtual milliseconds. */
  async function live(
    forMs: number,
    last: SourceCheckStatus | undefined,
    onSleep: () => void = () => {},
  ): Promise<SourceChecker> {
    const end = new AbortController();
    const endMs = clockMs + forMs;
    const checker = new SourceChecker({
      load: async () => last,
      check: async () => {
        checkedAtMs.push(clockMs);
        clockMs += 1_000;
        if (failure !== undefined) throw failure;
        return complaint;
      },
      position: () => ({
        timeline: "00000001-aaaaaaaa",
        txid: toTxid(BigInt(checkedAtMs.length + 1)),
      }),
      save: (status) => writeSourceCheck(directory, status),
      emit: (event) => events.push(event),
      policy: defaultSourceCheckPolicy,
      now: () => clockMs,
      sleep: async (ms) => {
        clockMs += ms;
        onSleep();
        if (clockMs >= endMs) end.abort();
      },
    });
    await checker.run(end.signal);
    return checker;
  }

  it("checks once a day, and not in the first minutes of a start", async () => {
    const beganMs = clockMs;
    await live(9 * 60_000, undefined);
    expect(checkedAtMs).toEqual([]);
    const checker = await live(10 * dayMs, undefined);
    expect(checkedAtMs).toHaveLength(10);
    expect((checkedAtMs[0] ?? 0) - beganMs).toBeLessThan(3_600_000);
    expect(checker.status).toMatchObject({ complaint: undefined, durationMs: 1_000 });
  });

  it("remembers its last check over restarts, so that a restart loop checks nothing", async () => {
    await live(dayMs / 2, undefined);
    for (let life = 0; life < 10; life++) await live(3_600_000, await readSourceCheck(directory));
    expect(checkedAtMs).toHaveLength(1);
    await live(dayMs / 2, await readSourceCheck(directory));
    expect(checkedAtMs).toHaveLength(2);
  });

  it("is loud about damage, and keeps the last position that was sound", async () => {
    await live(dayMs / 2, undefined);
    complaint = "row 7 missing from index i";
    const checker = await live(2 * dayMs, await readSourceCheck(directory));
    expect(checkedAtMs.length).toBeGreaterThanOrEqual(2);
    expect(events.at(-1)).toMatchObject({ type: "source-checked", complaint });
    const sound = { timeline: "00000001-aaaaaaaa", txid: 1n };
    expect(checker.status).toMatchObject({ complaint, lastSound: sound });
    expect(checker.protected).toEqual([sound]);
    // And so in the next life, whatever else it finds.
    expect((await live(60_000, await readSourceCheck(directory))).protected).toEqual([sound]);
  });

  it("takes a check that could not look for none: it is told, tried again soon, and no result", async () => {
    failure = new Error("spawn EAGAIN");
    const checker = await live(dayMs / 4, undefined);
    expect(events[0]).toEqual({
      type: "source-check-failing",
      code: "UNKNOWN",
      message: "spawn EAGAIN",
    });
    expect(checkedAtMs.length).toBeGreaterThan(3);
    expect(checker.status).toBeUndefined();
    expect(await readSourceCheck(directory)).toBeUndefined();
  });

  it("is not stopped by a clock that was in the future", async () => {
    const future = {
      checkedAtMs: clockMs + 400 * dayMs,
      durationMs: 1,
      complaint: undefined,
      lastSound: undefined,
    };
    await live(dayMs / 2, future);
    expect(checkedAtMs).toHaveLength(1);
  });
});

it("takes a record that is torn or foreign for none", async () => {
  const path = join(directory, "source-check.json");
  await writeSourceCheck(directory, {
    checkedAtMs: 5,
    durationMs: 6,
    complaint: "bad",
    lastSound: { timeline: "t", txid: toTxid(7n), atMs: 4 },
  });
  expect(await readSourceCheck(directory)).toEqual({
    checkedAtMs: 5,
    durationMs: 6,
    complaint: "bad",
    lastSound: { timeline: "t", txid: 7n, atMs: 4 },
  });
  const whole = readFileSync(path, "utf8");
  for (let end = 0; end < whole.length - 2; end++) {
    writeFileSync(path, whole.slice(0, end));
    expect(await readSourceCheck(directory)).toBeUndefined();
  }
  writeFileSync(path, '{"checkedAtMs":"x"}');
  expect(await readSourceCheck(directory)).toBeUndefined();
});
