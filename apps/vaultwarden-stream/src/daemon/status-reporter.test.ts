import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type {
  FencedEvent,
  Position,
  Replication,
  ReplicationStatus,
  StoreUsage,
} from "wal-replicator";
import { readStatusFile, StatusFile } from "./status-file.ts";
import { describeEvent, StatusReporter } from "./status-reporter.ts";
import { exampleFiles, exampleStatus } from "./status-testing.ts";

const now = new Date("2026-11-24T22:00:00.000Z");
const fenced: FencedEvent = {
  type: "fenced",
  by: { epoch: 4, host: "b", pid: 9, timeline: "00000004-bbbbbbbb" },
  message: "process 9 on b took epoch 4",
};

const { daemon, url, aliveUrl, syncAgeMsMax, store } = exampleStatus;

describe("StatusReporter", () => {
  let directory: string;
  let reporter: StatusReporter;
  let database: string;
  let flushed: PromiseWithResolvers<Position>;
  let failures: Partial<ReplicationStatus>;
  let usage: StoreUsage | undefined;
  let flushCount = 0;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "reporter-"));
    database = join(directory, "db.sqlite3");
    writeFileSync(`${database}-wal`, "as after a commit");
    flushed = Promise.withResolvers();
    flushCount = 0;
    failures = {};
    usage = undefined;
    const file = new StatusFile(
      {
        daemon,
        url,
        aliveUrl,
        syncAgeMsMax,
        store,
        database,
      },
      (error) => {
        throw error;
      },
    );
    reporter = new StatusReporter(file, database, () => usage);
  });
  afterEach(() => {
    reporter.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  function replication(): Replication {
    const status = (): ReplicationStatus => ({
      epoch: 1,
      timeline: "00000001-aaaaaaaa",
      fencedBy: undefined,
      createIfAbsent: "unproved",
      captured: undefined,
      storedTxid: undefined,
      waitingFiles: 0,
      waitingBytes: 0,
      waitingSinceMs: undefined,
      storeFailure: undefined,
      spoolFailure: undefined,
      walBytes: 0,
      writeLockHeldMsMax: 0,
      uncapturedBytes: 0,
      uncapturedSinceMs: undefined,
      stalls: [],
      sourceCheck: undefined,
      maintenance: undefined,
      ...failures,
    });
    return {
      flush: () => {
        flushCount += 1;
        return flushed.promise;
      },
      status: async () => status(),
      snapshot: () => Promise.reject(new Error("not asked for here")),
      stop: () => Promise.reject(new Error("not asked for here")),
      ended: new Promise(() => {}),
    };
  }

  it("also says to whoever asks a moment after the last commit that everything is stored", async () => {
    reporter.follow(replication());
    await vi.waitFor(() => expect(flushCount).toBe(1));
    // The look that saw the commit was before now, and nothing is committed any more.
    const askedMs = Date.now() + 1;
    flushed.resolve({ timeline: "", txid: 1n as Position["txid"], rollingChecksum: "" });
    await vi.waitFor(
      () => {
        const storedAsOf = readStatusFile(database)?.storedAsOf ?? "";
        expect(Date.parse(storedAsOf)).toBeGreaterThan(askedMs);
      },
      { timeout: 5_000 },
    );
    expect(readStatusFile(database)).toMatchObject({ status: "ok", createIfAbsent: "unproved" });
    expect(flushCount).toBe(1);
  });

  it("says nothing of the kind before the store has confirmed", async () => {
    reporter.follow(replication());
    await vi.waitFor(() => expect(readStatusFile(database)?.epoch).toBe(1));
    reporter.note(fenced);
    await vi.waitFor(() => expect(readStatusFile(database)?.fencedBy).not.toBe(null));
    expect(readStatusFile(database)?.storedAsOf).toBe(null);
  });

  it("names a full disk before a store that fails", async () => {
    failures = {
      storeFailure: { code: "UNREACHABLE", message: "no route" },
      spoolFailure: { code: "SPOOL_FULL", message: "no room" },
    };
    reporter.follow(replication());
    await vi.waitFor(() => expect(readStatusFile(database)?.epoch).toBe(1));
    expect(readStatusFile(database)).toMatchObject({
      status: "error",
      failure: failures.spoolFailure,
    });
  });

  it("says what the watchdog sees, and that it is no good sign", async () => {
    failures = {
      uncapturedBytes: 4_120,
      uncapturedSinceMs: now.getTime(),
      stalls: [{ stage: "upload", sinceMs: now.getTime(), bytes: 9 }],
    };
    reporter.follow(replication());
    await vi.waitFor(() => expect(readStatusFile(database)?.epoch).toBe(1));
    expect(readStatusFile(database)).toMatchObject({
      status: "error",
      failure: null,
      watch: {
        uncapturedBytes: 4_120,
        uncapturedSince: now.toISOString(),
        stalls: [{ stage: "upload", since: now.toISOString(), bytes: 9 }],
      },
    });
    failures = {};
    reporter.note({ type: "stall-ended", stage: "upload", stalledForMs: 1 });
    await vi.waitFor(() => expect(readStatusFile(database)?.status).toBe("ok"));
    expect(readStatusFile(database)?.watch?.stalls).toEqual([]);
  });

  it("says what is known of the vault's own database, and that damage is an error", async () => {
    const lastSound = {
      timeline: "00000001-aaaaaaaa",
      txid: 7n as Position["txid"],
      atMs: now.getTime(),
    };
    const checkedAtMs = now.getTime();
    failures = { sourceCheck: { checkedAtMs, durationMs: 5, complaint: "bad page", lastSound } };
    reporter.follow(replication());
    await vi.waitFor(() => expect(readStatusFile(database)?.status).toBe("error"));
    expect(readStatusFile(database)?.sourceCheck).toEqual({
      checkedAt: now.toISOString(),
      durationMs: 5,
      complaint: "bad page",
      lastSound: {
        timeline: "00000001-aaaaaaaa",
        txid: "0000000000000007",
        at: now.toISOString(),
      },
    });
  });

  it("says what of this hour's budget is used, and at once when uploads are stopped", async () => {
    const budget = {
      bytes: 1,
      bytesMax: Number.POSITIVE_INFINITY,
      objects: 2,
      objectsMax: 2,
      isExceeded: false,
      refillMs: 60_000,
    };
    usage = { requests: [], bytesUp: 1, bytesDown: 0, budget };
    reporter.follow(replication());
    await vi.waitFor(() => expect(readStatusFile(database)?.budget).not.toBe(null));
    expect(readStatusFile(database)?.budget).toEqual({
      bytes: 1,
      bytesMax: null,
      objects: 2,
      objectsMax: 2,
      stoppedUntil: null,
    });
    usage = { ...usage, budget: { ...budget, isExceeded: true } };
    reporter.noteBudget();
    const until = readStatusFile(database)?.budget?.stoppedUntil ?? "";
    expect(Date.parse(until)).toBeGreaterThan(Date.now());
  });

  it("says how far a restore is, until the stream runs", () => {
    reporter.noteRestoring({ bytesDone: 1, bytesTotal: 4 });
    // Called for every piece, and not written down for every piece.
    reporter.noteRestoring({ bytesDone: 2, bytesTotal: 4 });
    expect(readStatusFile(database)).toMatchObject({
      restoring: { bytesDone: 1, bytesTotal: 4 },
      streamingSince: null,
    });
    reporter.follow(replication());
    expect(readStatusFile(database)?.restoring).toBe(null);
    expect(readStatusFile(database)?.streamingSince).not.toBe(null);
  });

  it("says how the files are, twenty of the problems by name, and an error while they cannot be stored", async () => {
    reporter.follow(replication());
    const problems = Array.from({ length: 30 }, (_, index) => ({ path: `a/${index}`, why: "x" }));
    reporter.noteFiles({ ...exampleFiles, state: "failing", reason: "no room", problems });
    expect(readStatusFile(database)?.files?.problems).toHaveLength(20);
    await vi.waitFor(() => expect(readStatusFile(database)?.status).toBe("error"));
    expect(readStatusFile(database)).toMatchObject({
      failure: { code: "FILES_FAILING", message: "no room" },
      files: { state: "failing", files: 3 },
    });
    reporter.noteFiles(exampleFiles);
    await vi.waitFor(() => expect(readStatusFile(database)?.status).toBe("ok"));
  });

  it("knows when the database was last written to, and nothing of it from an empty WAL", async () => {
    writeFileSync(`${database}-wal`, "");
    reporter.follow(replication());
    await vi.waitFor(() => expect(readStatusFile(database)?.epoch).toBe(1));
    expect(readStatusFile(database)?.lastCommitAt).toBe(null);
    writeFileSync(`${database}-wal`, "a commit");
    utimesSync(`${database}-wal`, now, now);
    flushed.resolve({ timeline: "", txid: 1n as Position["txid"], rollingChecksum: "" });
    await vi.waitFor(() => expect(readStatusFile(database)?.lastCommitAt).toBe(now.toISOString()), {
      timeout: 5_000,
    });
  });

  it("stays with an error once it was fenced, whatever the store says", async () => {
    reporter.note(fenced);
    reporter.follow(replication());
    await vi.waitFor(() => expect(readStatusFile(database)?.epoch).toBe(1));
    expect(readStatusFile(database)).toMatchObject({
      status: "error",
      fencedBy: fenced.by,
      failure: { code: "FENCED", message: fenced.message },
    });
  });
});

it("tells what only events say: whom the start waits for, and a lease that is not renewed", () => {
  const owner = { host: "b", pid: 9 };
  const waiting = { type: "waiting", epoch: 2, owner, forMs: 90_000, message: "held" } as const;
  expect(describeEvent(waiting, now)).toEqual({
    waitingFor: { epoch: 2, host: "b", pid: 9, until: "2026-11-24T22:01:30.000Z" },
  });
  const failing = { type: "lease-failing", code: "UNREACHABLE", message: "no route" } as const;
  expect(describeEvent(failing, now)).toEqual({
    leaseFailure: { code: "UNREACHABLE", message: "no route", since: now.toISOString() },
  });
  expect(describeEvent({ type: "lease-renewed" }, now)).toEqual({ leaseFailure: null });
});
