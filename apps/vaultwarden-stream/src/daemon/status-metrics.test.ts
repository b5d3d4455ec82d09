import { expect, it } from "vitest";
import { parseTxid, type ReplicationEvent, type StoreUsage, type Txid } from "wal-replicator";
import { describeStatus } from "../health/status-report.ts";
import { parseMetrics } from "./parse-metrics-testing.ts";
import type { DaemonStatus } from "./status-file.ts";
import { formatMetrics } from "./status-metrics.ts";
import { exampleFiles, exampleStatus } from "./status-testing.ts";
import { StreamCounters } from "./stream-counters.ts";

const nowMs = Date.parse("2026-11-24T22:00:10.000Z");
const txid = parseTxid("0000000000000009") as Txid;
const usage: StoreUsage = {
  requests: [
    { operation: "put", outcome: "ok", count: 61 },
    { operation: "get", outcome: "NOT_FOUND", count: 60 },
  ],
  bytesUp: 4_096,
  bytesDown: 7,
  budget: { bytes: 0, bytesMax: 1, objects: 0, objectsMax: 1, isExceeded: false, refillMs: 0 },
};

function read(counters: StreamCounters, changes: Partial<DaemonStatus> = {}): Map<string, number> {
  const report = describeStatus({ ...exampleStatus, files: exampleFiles, ...changes }, true, nowMs);
  const health = { healthy: true, phase: "running", remarks: [] } as const;
  const text = formatMetrics({ report, health, counters, version: "1.2.3" }, nowMs);
  return new Map(
    [...parseMetrics(text)].map(([name, value]) => [
      name.replace("vaultwarden_stream_", ""),
      value,
    ]),
  );
}

/** One of everything that is counted. */
const events: readonly ReplicationEvent[] = [
  { type: "captured", txid, kind: "wal", pages: 1, bytes: 100, dbPageCount: 5 },
  { type: "stored", txid, key: "k", bytes: 100, sinceCaptureMs: 1 },
  { type: "stored", txid, key: "k", bytes: 50, sinceCaptureMs: 1 },
  {
    type: "compacted",
    level: 1,
    minTxid: txid,
    maxTxid: txid,
    key: "k",
    files: 2,
    bytesBefore: 150,
    bytes: 120,
  },
  { type: "snapshot-stored", txid, key: "k", bytes: 1_000 },
  { type: "base-stored", txid, key: "k", bytes: 500 },
  { type: "checkpointed", walFrames: 1, checkpointedFrames: 1, writeLockHeldMs: 0 },
  {
    type: "store-failing",
    code: "UNREACHABLE",
    message: "m",
    hint: undefined,
    sinceMs: 0,
    waitingFiles: 1,
    waitingBytes: 1,
  },
  {
    type: "maintenance-failing",
    work: "compaction",
    level: 1,
    code: "UNREACHABLE",
    message: "m",
    hint: undefined,
    sinceMs: 0,
  },
  { type: "stalled", stage: "upload", sinceMs: 0, bytes: 9 },
  {
    type: "retained",
    files: 3,
    bytes: 300,
    reasons: { merged: 3, "beyond-retention": 0, "dead-line": 0 },
    remaining: 0,
  },
];

it("counts what was done since the daemon began, by level, by verb and by stage", () => {
  const counters = new StreamCounters();
  counters.follow(() => usage);
  for (const event of events) counters.note(event);
  expect(Object.fromEntries(read(counters))).toMatchObject({
    captures_total: 1,
    captured_bytes_total: 100,
    'uploads_total{level="0"}': 2,
    'upload_bytes_total{level="0"}': 150,
    'uploads_total{level="1"}': 1,
    'upload_bytes_total{level="1"}': 120,
    'uploads_total{level="9"}': 2,
    'upload_bytes_total{level="9"}': 1_500,
    checkpoints_total: 1,
    store_failures_total: 1,
    maintenance_failures_total: 1,
    retention_deleted_files_total: 3,
    retention_deleted_bytes_total: 300,
    'stalls_total{stage="upload"}': 1,
    'stalls_total{stage="capture"}': 0,
    'store_requests_total{operation="put",outcome="ok"}': 61,
    'store_requests_total{operation="get",outcome="not_found"}': 60,
    store_sent_bytes_total: 4_096,
    store_received_bytes_total: 7,
    [`build_info{version="1.2.3",node="${process.version}"}`]: 1,
  });
});

it("has counters that only grow, whatever happens", () => {
  const counters = new StreamCounters();
  const totals = (): [string, number][] =>
    [...read(counters)].filter(([name]) => /_total/.test(name));
  let before = totals();
  expect(before.length).toBeGreaterThan(8);
  for (const event of [...events, ...events]) {
    counters.note(event);
    const after = new Map(totals());
    for (const [name, value] of before) expect(after.get(name), name).toBeGreaterThanOrEqual(value);
    before = [...after];
  }
});

it("says how far commits are behind in both stages, what stands still, and what the database is worth", () => {
  const counters = new StreamCounters();
  expect(Object.fromEntries(read(counters))).toMatchObject({
    database_lag_seconds: 7.5,
    database_lag_bytes: 4_096,
    database_uncaptured_seconds: 0,
    database_uncaptured_bytes: 0,
    wal_bytes: 8_240,
    'stalled{stage="capture"}': 0,
    'stalled{stage="upload"}': 0,
    'stalled{stage="maintenance"}': 0,
    source_sound: 1,
    source_check_timestamp_seconds: Date.parse("2026-11-24T21:30:00.000Z") / 1_000,
    last_compaction_timestamp_seconds: Date.parse("2026-11-24T21:59:30.000Z") / 1_000,
    maintenance_failing: 0,
    budget_bytes: 1_024,
    budget_bytes_max: 10_000_000_000,
    budget_objects: 12,
    budget_objects_max: 20_000,
    budget_exceeded: 0,
  });
  const bad = read(counters, {
    watch: {
      uncapturedBytes: 4_120,
      uncapturedSince: "2026-11-24T22:00:06.000Z",
      walBytes: 0,
      stalls: [{ stage: "capture", since: "2026-11-24T22:00:06.000Z", bytes: 4_120 }],
    },
    sourceCheck: {
      checkedAt: "2026-11-24T21:30:00.000Z",
      durationMs: 1,
      complaint: "bad page",
      lastSound: null,
    },
    budget: {
      bytes: 9,
      bytesMax: null,
      objects: 9,
      objectsMax: 9,
      stoppedUntil: "2026-11-24T22:30:00.000Z",
    },
  });
  expect(Object.fromEntries(bad)).toMatchObject({
    database_uncaptured_seconds: 4,
    database_uncaptured_bytes: 4_120,
    'stalled{stage="capture"}': 1,
    'stalled{stage="upload"}': 0,
    source_sound: 0,
    budget_exceeded: 1,
  });
  expect(bad.has("budget_bytes_max")).toBe(false);
  expect(bad.has("source_last_sound_timestamp_seconds")).toBe(false);
});

it("leaves out what is not known yet, and never says that it is 0", () => {
  const unknown = read(new StreamCounters(), {
    watch: null,
    sourceCheck: null,
    budget: null,
    maintenance: null,
    files: null,
  });
  for (const name of [
    "wal_bytes",
    "source_sound",
    "budget_bytes",
    "files_count",
    "store_sent_bytes_total",
  ]) {
    expect(unknown.has(name), name).toBe(false);
  }
});
