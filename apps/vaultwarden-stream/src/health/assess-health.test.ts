import { describe, expect, it } from "vitest";
import type { DaemonStatus, FilesStatus } from "../daemon/status-file.ts";
import { exampleFiles, exampleStatus } from "../daemon/status-testing.ts";
import { assessHealth, type HealthAnswers } from "./assess-health.ts";

const startMs = Date.parse("2026-11-24T22:00:00.000Z");
const minuteMs = 60_000;
const limits = { syncAgeMsMax: 10 * minuteMs };
const well: HealthAnswers = { isDaemonRunning: true, alive: { ok: true } };

function at(minutes: number): string {
  return new Date(startMs + minutes * minuteMs).toISOString();
}

/** Everything is stored at minute 0. */
function status(changes: Partial<DaemonStatus> = {}): DaemonStatus {
  return {
    ...exampleStatus,
    storedAsOf: at(0),
    waitingFiles: 0,
    waitingBytes: 0,
    waitingSince: null,
    ...changes,
  };
}

function assess(
  changes: Partial<DaemonStatus>,
  minutes: number,
  answers: Partial<HealthAnswers> = {},
) {
  // A vault that runs has a daemon that says so every half a minute.
  const heard =
    changes.server === null ? {} : { timestamp: (startMs + minutes * minuteMs) / 1_000 };
  return assessHealth(
    status({ ...heard, ...changes }),
    { ...well, ...answers },
    limits,
    startMs + minutes * minuteMs,
  );
}

function reason(...call: Parameters<typeof assess>): string {
  const health = assess(...call);
  return health.healthy ? "healthy" : health.reason;
}

const sound = exampleStatus.sourceCheck as NonNullable<DaemonStatus["sourceCheck"]>;
const stalled = { stage: "upload", since: at(0), bytes: 4_096 } as const;

it.each<[string, Partial<DaemonStatus>, string]>([
  [
    "a stage that stands still although no error says so",
    { watch: { uncapturedBytes: 0, uncapturedSince: null, walBytes: 0, stalls: [stalled] } },
    `stalled: what is captured does not reach the store since ${at(0)}, and no error says why; 4.0 KiB wait`,
  ],
  [
    "a budget that is used up",
    { budget: { bytes: 9, bytesMax: 9, objects: 1, objectsMax: null, stoppedUntil: at(30) } },
    `uploads are stopped until ${at(30)}`,
  ],
  [
    "a database that is damaged",
    { sourceCheck: { ...sound, complaint: "row 7 missing from index i" } },
    "the database is damaged: row 7 missing from index i",
  ],
  [
    "a daemon that stands still as a whole",
    { timestamp: startMs / 1_000 - 121 },
    "the daemon stands still: it has said nothing for 2 min 1 s",
  ],
])("is ill with %s", (_, changes, expected) => {
  expect(reason(changes, 0)).toContain(expected);
});

it("is well with a heartbeat that is late, a database that is sound, and nothing exceeded", () => {
  expect(reason({ timestamp: startMs / 1_000 - 119 }, 0)).toBe("healthy");
});

it("is well while daemon and vault live and everything is stored", () => {
  expect(assess({}, 0)).toEqual({ healthy: true, phase: "running", remarks: [] });
});

it.each<[string, Partial<DaemonStatus>, Partial<HealthAnswers>, string]>([
  ["a daemon that was killed", {}, { isDaemonRunning: false }, "process 7 is gone"],
  [
    "a daemon that ended",
    { status: "shutdown" },
    { isDaemonRunning: false },
    "it ended cleanly at 2026-11-24T22:00:00Z",
  ],
  [
    "a vault that does not answer",
    {},
    { alive: { ok: false, why: "http://127.0.0.1:8000/alive: it answers 503" } },
    "the vault does not answer: http://127.0.0.1:8000/alive: it answers 503",
  ],
  [
    "a vault that was fenced",
    { server: null, fencedBy: { epoch: 4, host: "b", pid: 9, timeline: "00000004-bbbbbbbb" } },
    {},
    "fenced: epoch 4 of process 9 on b",
  ],
  [
    "a full disk, since nothing is captured then",
    { status: "error", failure: { code: "SPOOL_FULL", message: "no room" } },
    {},
    "nothing is captured: no room (SPOOL_FULL)",
  ],
])("is ill with %s", (_, changes, answers, expected) => {
  expect(reason(changes, 0, answers)).toContain(expected);
});

it("knows no health where no daemon has run", () => {
  expect(assessHealth(undefined, well, limits, startMs)).toEqual({
    healthy: false,
    reason: "no daemon has run here",
  });
});

describe("a store that is away (weakness 20, H5)", () => {
  const away: Partial<DaemonStatus> = {
    status: "error",
    failure: { code: "UNREACHABLE", message: "no\n route" },
    leaseFailure: { code: "UNREACHABLE", message: "no route", since: at(1) },
  };

  it("is said, and is no illness before a commit has waited too long", () => {
    const waiting = { ...away, waitingSince: at(1), waitingFiles: 1, waitingBytes: 10 };
    expect(assess(waiting, 10.9)).toMatchObject({
      healthy: true,
      remarks: ["no\n route (UNREACHABLE)", expect.stringContaining("the lease is not renewed")],
    });
    expect(reason(waiting, 11.1)).toBe(
      "the oldest commit has waited for the store for 10 min 6 s (limit 10 min): no route (UNREACHABLE)",
    );
  });

  it("is none at all while nothing waits, which each heartbeat says", () => {
    expect(assess({ ...away, storedAsOf: at(1_000) }, 1_000.5).healthy).toBe(true);
  });
});

it("sees a stream that has stopped in silence: nothing says any more that everything is stored", () => {
  expect(assess({}, 10.9).healthy).toBe(true);
  expect(reason({}, 11.1)).toContain("nothing says for 11 min 6 s that the database is stored");
  // The store has never answered, and nothing was captured either.
  const never = { storedAsOf: null, streamingSince: at(0) };
  expect(reason(never, 11.1)).toContain("nothing says for 11 min 6 s");
});

describe("files", () => {
  function files(changes: Partial<FilesStatus>): Partial<DaemonStatus> {
    const files = { ...exampleFiles, lastLook: at(20), ...changes };
    return { storedAsOf: at(20), files };
  }

  it("may wait as long as the limit says", () => {
    expect(assess(files({ backlogSince: at(10.1) }), 20).healthy).toBe(true);
    expect(reason(files({ backlogSince: at(9.9), reason: "no route" }), 20)).toBe(
      "files have waited for the store for 10 min 6 s (limit 10 min): no route",
    );
  });

  it("have to be looked at", () => {
    expect(assess(files({ lastLook: at(9.1) }), 20).healthy).toBe(true);
    expect(reason(files({ lastLook: at(8.9) }), 20)).toContain("nobody has looked at the files");
    const never = { ...files({ lastLook: null }), streamingSince: at(8.9) };
    expect(reason(never, 20)).toContain("nobody has looked at the files");
  });

  it("whose deletions are held back are said, and make nobody ill", () => {
    expect(assess(files({ state: "held", reason: "17 vanished" }), 20)).toMatchObject({
      healthy: true,
      remarks: ["17 vanished"],
    });
  });
});

it("a look at the files every 900 s is well for a day with the limit that 600 is raised to (weakness 21)", () => {
  const unhealthy = { raised: 0, asGiven: 0 };
  for (let minute = 0; minute <= 24 * 60; minute += 0.5) {
    const lastLook = at(Math.floor(minute / 15) * 15);
    // Something changes right after each look, and the next one stores it.
    const backlogSince = minute % 15 === 0 ? null : lastLook;
    const now = status({
      timestamp: (startMs + minute * minuteMs) / 1_000,
      storedAsOf: at(minute),
      files: { ...exampleFiles, lastLook, backlogSince },
    });
    const nowMs = startMs + minute * minuteMs;
    if (!assessHealth(now, well, { syncAgeMsMax: 1_800_000 }, nowMs).healthy) unhealthy.raised += 1;
    if (!assessHealth(now, well, { syncAgeMsMax: 600_000 }, nowMs).healthy) unhealthy.asGiven += 1;
  }
  expect(unhealthy.raised).toBe(0);
  expect(unhealthy.asGiven).toBeGreaterThan(0);
});

describe("a start (weakness 22)", () => {
  const starting = {
    server: null,
    streamingSince: null,
    storedAsOf: null,
    timestamp: startMs / 1_000,
  };
  const asked = { alive: undefined };

  it("that restores for ten minutes and longer is well while it gets on", () => {
    for (let minute = 0; minute < 60; minute += 1) {
      const restoring = { since: at(0), progressAt: at(minute), bytesDone: minute, bytesTotal: 60 };
      expect(assess({ ...starting, restoring }, minute + 0.5, asked)).toMatchObject({
        healthy: true,
        phase: "starting",
      });
    }
  });

  it("that does not get on is ill", () => {
    const restoring = { since: at(0), progressAt: at(5), bytesDone: 1, bytesTotal: 60 };
    expect(reason({ ...starting, restoring }, 15.1, asked)).toBe(
      "the restore has not got on for 10 min 6 s",
    );
    expect(assess(starting, 9.9, asked).healthy).toBe(true);
    expect(reason(starting, 10.1, asked)).toBe("the start has not got on for 10 min 6 s");
  });

  it("that waits for another machine is well for as long as that one lives", () => {
    const waitingFor = { epoch: 2, host: "b", pid: 9, until: at(3) };
    expect(assess({ ...starting, waitingFor }, 5_000, asked)).toMatchObject({
      healthy: true,
      phase: "starting",
      remarks: ["waits for epoch 2 of process 9 on b"],
    });
  });
});
