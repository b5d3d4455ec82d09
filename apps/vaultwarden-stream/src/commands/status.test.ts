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
  epoch: 3,
  timeline: "00000003-aaaaaaaa",
  capturedTxid: "0000000000000009",
  storedTxid: "0000000000000007",
  storedAsOf: "2026-11-24T22:00:01.000Z",
  waitingFiles: 2,
  waitingBytes: 4_096,
  waitingSince: "2026-11-24T22:00:02.500Z",
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
  expect(formatStatus(report)).toContain("lag:          7.5 s, 4.0 KiB in 2 files");
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
