import { expect, it } from "vitest";
import type { DaemonStatus } from "../daemon/status-file.ts";
import { describeStatus, formatStatus } from "./status.ts";

const nowMs = Date.parse("2026-11-24T22:00:10.000Z");
const status: DaemonStatus = {
  status: "ok",
  role: "primary",
  timestamp: 1_795_557_600,
  datetime: "2026-11-24T22:00:00Z",
  daemon: { pid: 7, startedTicks: "42" },
  server: { pid: 8, startedTicks: "43" },
  url: "http://127.0.0.1:8000",
  database: "/data/db.sqlite3",
  store: "/store",
  createIfAbsent: "atomic",
  epoch: 3,
  timeline: "00000003-aaaaaaaa",
  capturedTxid: "0000000000000009",
  storedTxid: "0000000000000007",
  storedAsOf: "2026-11-24T22:00:01.000Z",
  waitingFiles: 2,
  waitingBytes: 4_096,
  waitingSince: "2026-11-24T22:00:02.500Z",
  waitingFor: null,
  leaseFailure: null,
  fencedBy: null,
  failure: null,
};

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
  [{ createIfAbsent: null }, "second writer: not known yet"],
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
