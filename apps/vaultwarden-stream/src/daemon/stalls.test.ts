import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FaultyStore, MemoryStore } from "@vaultwarden-stream/object-store";
import BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Replication } from "wal-replicator";
import { startReplicator } from "wal-replicator/internals";
import { assessHealth, type Health } from "../health/assess-health.ts";
import { describeStatus } from "../health/status-report.ts";
import { parseMetrics } from "./parse-metrics-testing.ts";
import { identifyProcess } from "./process-identity.ts";
import { StatusFile } from "./status-file.ts";
import { formatMetrics } from "./status-metrics.ts";
import { StatusReporter } from "./status-reporter.ts";
import { StreamCounters } from "./stream-counters.ts";

let directory: string;
let application: BetterSqlite3.Database;
let replication: Replication | undefined;
let reporter: StatusReporter;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "stalls-"));
  application = new BetterSqlite3(join(directory, "db"));
  application.pragma("journal_mode = WAL");
  application.exec("CREATE TABLE t (x)");
});
afterEach(async () => {
  reporter.stop();
  await replication?.stop({ timeoutMs: 500 }).catch(() => {});
  application.close();
  rmSync(directory, { recursive: true, force: true });
});

it("a PUT that is never answered is told by status, health and metrics, and so is its end", async () => {
  const answers = Promise.withResolvers<void>();
  let hangs = false;
  const store = new FaultyStore(new MemoryStore(), ({ key }) =>
    hangs && key.includes("/0000/") ? { kind: "delay", wait: () => answers.promise } : undefined,
  );
  const database = join(directory, "db");
  const file = new StatusFile(
    {
      daemon: identifyProcess(process.pid),
      url: "http://127.0.0.1",
      aliveUrl: "http://127.0.0.1/alive",
      syncAgeMsMax: 600_000,
      database,
      store: "/store",
    },
    (error) => {
      throw error;
    },
  );
  const counters = new StreamCounters();
  reporter = new StatusReporter(file, database, () => undefined);
  replication = await startReplicator(
    {
      database,
      replica: "memory",
      store,
      onEvent: (event) => {
        reporter.note(event);
        counters.note(event);
      },
    },
    // A thirtieth of the product's.
    { watchPolicy: { intervalMs: 170, stallAfterMs: 1_500 } },
  );
  await replication.flush();
  file.update({ server: identifyProcess(process.pid) });
  reporter.follow(replication);
  const health = (): Health =>
    assessHealth(
      file.current,
      { isDaemonRunning: true, alive: { ok: true } },
      { syncAgeMsMax: 600_000 },
      Date.now(),
    );
  const metrics = (): Map<string, number> => {
    const report = describeStatus(file.current, true, Date.now());
    const source = { report, health: health(), counters, version: "0" };
    return parseMetrics(formatMetrics(source, Date.now()));
  };
  await expect.poll(health).toMatchObject({ healthy: true });

  hangs = true;
  application.exec("INSERT INTO t VALUES (1)");
  await expect.poll(() => file.current.watch?.stalls).toMatchObject([{ stage: "upload" }]);
  expect(file.current).toMatchObject({ status: "error", failure: null, waitingFiles: 1 });
  expect(health()).toMatchObject({
    healthy: false,
    reason: expect.stringContaining("stalled: what is captured does not reach the store"),
  });
  expect(metrics().get('vaultwarden_stream_stalled{stage="upload"}')).toBe(1);
  expect(metrics().get('vaultwarden_stream_stalls_total{stage="upload"}')).toBe(1);
  expect(metrics().get("vaultwarden_stream_healthy")).toBe(0);

  hangs = false;
  answers.resolve();
  await expect.poll(() => file.current.watch?.stalls).toEqual([]);
  await expect.poll(health).toMatchObject({ healthy: true });
  expect(metrics().get('vaultwarden_stream_stalled{stage="upload"}')).toBe(0);
});
