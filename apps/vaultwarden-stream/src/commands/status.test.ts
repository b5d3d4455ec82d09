import { expect, it } from "vitest";
import { exampleFiles, exampleStatus } from "../daemon/status-testing.ts";
import { describeStatus } from "../health/status-report.ts";
import { formatStatus } from "./status.ts";

const nowMs = Date.parse("2026-11-24T22:00:10.000Z");
const status = exampleStatus;
const sourceCheck = exampleStatus.sourceCheck as NonNullable<typeof status.sourceCheck>;

it("reports the lag in seconds and bytes, counted from the oldest file that waits", () => {
  const report = describeStatus(status, true, nowMs);
  expect(report).toMatchObject({
    running: true,
    pid: 7,
    serverPid: 8,
    lagSeconds: 7.5,
    lagBytes: 4_096,
  });
  expect(formatStatus(report)).toContain("lag:           7.5 s, 4.0 KiB in 2 files");
});

it("has no lag while nothing waits", () => {
  const idle = { ...status, waitingFiles: 0, waitingBytes: 0, waitingSince: null };
  expect(describeStatus(idle, true, nowMs).lagSeconds).toBe(0);
  expect(formatStatus(describeStatus(idle, true, nowMs))).toContain("nothing waits for the store");
});

it("says that no daemon runs, and whether the last one ended cleanly", () => {
  const stale = describeStatus(status, false, nowMs);
  expect(stale).toMatchObject({ running: false, serverPid: null });
  expect(formatStatus(stale)).toContain("process 7 is gone without a clean end");
  const ended = describeStatus({ ...status, status: "shutdown", server: null }, false, nowMs);
  expect(formatStatus(ended)).toContain("it ended cleanly at 2026-11-24T22:00:00Z");
});

it("says how the files are, and names those that cannot be stored", () => {
  const report = describeStatus({ ...status, files: exampleFiles }, true, nowMs);
  expect(report.filesLagSeconds).toBe(0);
  expect(formatStatus(report)).toContain(
    "files:         3 files in 2 places, 4.0 KiB; stored at 2026-11-24T21:59:00.000Z",
  );
  const waiting = {
    ...exampleFiles,
    state: "failing" as const,
    reason: "no room",
    waiting: 1,
    held: 2,
    backlogSince: "2026-11-24T22:00:00.000Z",
    problems: [{ path: "attachments/a/b", why: "it is a link" }],
  };
  const late = describeStatus({ ...status, files: waiting }, true, nowMs);
  expect(late.filesLagSeconds).toBe(10);
  expect(formatStatus(late)).toContain(
    "1 file waiting for 10.0 s, 2 deletions held back, failing: no room",
  );
  expect(formatStatus(late)).toContain("attachments/a/b: it is a link");
});

it("names a store that fails", () => {
  const failing = {
    ...status,
    status: "error" as const,
    failure: { code: "UNREACHABLE", message: "no route" },
  };
  expect(formatStatus(describeStatus(failing, true, nowMs))).toContain("no route (UNREACHABLE)");
});

it.each([
  [{ createIfAbsent: "atomic" }, "second writer: prevented by the store"],
  [{ createIfAbsent: "unproved" }, "second writer: only detected"],
  [{ lastProvenRestore: null }, "restore proof: never"],
  [
    { lastProvenRestore: "2026-11-24T19:00:10.000Z" },
    "restore proof: last proven 3 h ago, at 2026-11-24T19:00:10.000Z",
  ],
  [
    {
      lastProvenRestore: "2026-11-23T22:00:10.000Z",
      drill: {
        intervalMs: 86_400_000,
        ageMsMax: null,
        outcome: "failed",
        endedAt: "2026-11-24T22:00:00.000Z",
        message: "one: missing",
        key: null,
      },
    },
    "restore proof: FAILED at 2026-11-24T22:00:00.000Z: one: missing; last proven 1 d",
  ],
  [{ files: null }, "files:         nothing is known of"],
  [
    {
      restoring: {
        since: "2026-11-24T21:50:00.000Z",
        progressAt: "2026-11-24T22:00:00.000Z",
        bytesDone: 1_024,
        bytesTotal: 4_096,
      },
    },
    "restoring:     1.0 KiB of 4.0 KiB, since 2026-11-24T21:50:00.000Z",
  ],
  [{ createIfAbsent: null }, "second writer: not known yet"],
  [
    {
      watch: {
        uncapturedBytes: 4_120,
        uncapturedSince: "2026-11-24T22:00:01.000Z",
        walBytes: 0,
        stalls: [{ stage: "capture", since: "2026-11-24T22:00:02.000Z", bytes: 4_120 }],
      },
    },
    "not captured:  4.0 KiB in the WAL, committed since 2026-11-24T22:00:01.000Z\nSTALLED:       commits are made and not captured since 2026-11-24T22:00:02.000Z",
  ],
  [{ sourceCheck: null }, "source check:  the vault's own database was not looked through yet"],
  [{}, "source check:  the vault's own database was sound at 2026-11-24T21:30:00.000Z (120 ms)"],
  [
    { sourceCheck: { ...sourceCheck, complaint: "row 7 missing from index i" } },
    "is DAMAGED at 2026-11-24T21:30:00.000Z: row 7 missing from index i; it was sound at 2026-11-24T21:30:00.000Z, TXID 0000000000000005 of timeline 00000003-aaaaaaaa, which is kept",
  ],
  [{}, "this hour:     12 of 20000 objects and 1.0 KiB of 9.3 GiB stored"],
  [
    {
      budget: {
        bytes: 10,
        bytesMax: null,
        objects: 3,
        objectsMax: 3,
        stoppedUntil: "2026-11-24T22:30:00.000Z",
      },
    },
    "this hour:     UPLOADS ARE STOPPED until 2026-11-24T22:30:00.000Z: 3 of 3 objects and 10 B stored",
  ],
  [
    {
      maintenance: {
        failures: [
          {
            work: "compaction",
            level: 1,
            code: "FORBIDDEN",
            message: "no",
            since: "2026-11-24T21:00:00Z",
          },
        ],
        lastCompaction: null,
        lastSnapshot: null,
      },
    },
    "maintenance:   compaction of level 1 fails since 2026-11-24T21:00:00Z: no (FORBIDDEN); merged nothing yet",
  ],
  [{ epoch: null }, "no epoch until the store answers"],
  [
    { waitingFor: { epoch: 2, host: "b", pid: 9, until: "2026-11-24T22:03:00.000Z" } },
    "waits for:     epoch 2 of process 9 on b, until 2026-11-24T22:03:00.000Z",
  ],
  [
    { leaseFailure: { code: "UNREACHABLE", message: "no route", since: "2026-11-24T21:59:00Z" } },
    "lease:         not renewed since 2026-11-24T21:59:00Z: no route (UNREACHABLE)",
  ],
  [
    { fencedBy: { epoch: 4, host: "b", pid: 9, timeline: "00000004-bbbbbbbb" } },
    "fenced by:     epoch 4 of process 9 on b, which goes on in timeline 00000004-bbbbbbbb",
  ],
] as const)("says %j", (changes, line) => {
  expect(formatStatus(describeStatus({ ...status, ...changes }, true, nowMs))).toContain(line);
});
