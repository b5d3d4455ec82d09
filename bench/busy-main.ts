/** Child of `writers.ts`: carries out a `BusyJob` and prints a `BusyResult`. */
import { randomBytes } from "node:crypto";
import Database from "better-sqlite3";
import { quantile } from "./statistics.ts";
import type { BusyJob, BusyResult } from "./writers.ts";

const job = JSON.parse(process.argv[2] ?? "null") as BusyJob;
const body = randomBytes(300);

// As Vaultwarden opens its database; automatic checkpoints are SQLite's default, 1,000 frames.
const database = new Database(job.database, { timeout: 30_000 });
database.pragma("journal_mode = wal");
database.pragma("synchronous = normal");
database.exec("create table if not exists busy (id integer primary key, at integer, body blob)");
const insert = database.prepare("insert into busy (at, body) values (?, ?)");
const begin = database.prepare("begin immediate");
const commit = database.prepare("commit");

const latenciesMs: number[] = [];
const startMs = performance.now();
let nowMs = startMs;
while (nowMs - startMs < job.durationMs) {
  begin.run();
  insert.run(Math.round(nowMs), body);
  commit.run();
  const endMs = performance.now();
  latenciesMs.push(endMs - nowMs);
  nowMs = endMs;
}
database.close();

const result: BusyResult = {
  commits: latenciesMs.length,
  commitsPerSecond: latenciesMs.length / ((nowMs - startMs) / 1000),
  p50Ms: quantile(latenciesMs, 0.5),
  p99Ms: quantile(latenciesMs, 0.99),
  maxMs: quantile(latenciesMs, 1),
};
process.stdout.write(`${JSON.stringify(result)}\n`);
