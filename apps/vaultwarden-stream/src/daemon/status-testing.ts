import type { DaemonStatus, FilesStatus } from "./status-file.ts";

/** For tests: a vault that runs, and of which the store has two commits still to confirm. */
export const exampleStatus: DaemonStatus = {
  status: "ok",
  role: "primary",
  timestamp: 1_795_557_600,
  datetime: "2026-11-24T22:00:00Z",
  daemon: { pid: 7, startedTicks: "42" },
  startedAt: "2026-11-24T21:00:00.000Z",
  server: { pid: 8, startedTicks: "43" },
  url: "http://127.0.0.1:8000",
  aliveUrl: "http://127.0.0.1:8000/alive",
  syncAgeMsMax: 600_000,
  database: "/data/db.sqlite3",
  store: "/store",
  createIfAbsent: "atomic",
  epoch: 3,
  timeline: "00000003-aaaaaaaa",
  streamingSince: "2026-11-24T21:00:01.000Z",
  capturedTxid: "0000000000000009",
  storedTxid: "0000000000000007",
  storedAsOf: "2026-11-24T22:00:01.000Z",
  lastCommitAt: "2026-11-24T22:00:02.000Z",
  waitingFiles: 2,
  waitingBytes: 4_096,
  waitingSince: "2026-11-24T22:00:02.500Z",
  restoring: null,
  waitingFor: null,
  leaseFailure: null,
  fencedBy: null,
  failure: null,
  files: null,
  lastProvenRestore: null,
};

/** For tests: files that are all stored. */
export const exampleFiles: FilesStatus = {
  state: "ok",
  roots: 2,
  files: 3,
  bytes: 4_096,
  storedAsOf: "2026-11-24T22:00:00.000Z",
  backlogSince: null,
  waiting: 0,
  held: 0,
  problems: [],
  lastLook: "2026-11-24T22:00:00.000Z",
  lastPush: "2026-11-24T21:59:00.000Z",
  manifest:
    "files/manifests/00000003-aaaaaaaa/00000003-00000001-0000000000000007-20261124T215900000Z.json",
};
