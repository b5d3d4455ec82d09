import { createHash } from "node:crypto";
import type Database from "better-sqlite3";
import type { WorkloadCheck } from "./sqlite-workload.ts";
import { defaultWorkloadName, formatDigest, rowDigest } from "./workload-plan.ts";

/** The checker of `workload-plan.ts`: reads the whole database, changes nothing. @param name - of the workload. */
export function checkOpenWorkloadDatabase(
  database: Database.Database,
  name: string = defaultWorkloadName,
): WorkloadCheck {
  const problems: string[] = [];
  const integrity = database.pragma("integrity_check") as { integrity_check: string }[];
  if (integrity.length !== 1 || integrity[0]?.integrity_check !== "ok") {
    problems.push(...integrity.map((row) => `integrity_check: ${row.integrity_check}`));
  }
  const tables = database
    .prepare(`SELECT count(*) FROM sqlite_schema WHERE name IN ('${name}_log', '${name}_rows')`)
    .pluck()
    .get();
  // Captured before the workload made its tables: a committed state like any other.
  if (tables !== 2) return { lastCommitId: 0, rowCount: 0, problems };

  let rowCount = 0;
  let digest = 0n;
  const rows = database.prepare(`SELECT id, body, sha256 FROM ${name}_rows`).iterate();
  for (const row of rows as Iterable<{ id: number; body: Uint8Array; sha256: string }>) {
    rowCount += 1;
    digest ^= rowDigest(row.id, row.sha256);
    if (createHash("sha256").update(row.body).digest("hex") !== row.sha256) {
      problems.push(`row ${row.id}: its body does not match its digest`);
    }
  }
  const log = database
    .prepare(`SELECT count(*) AS count, coalesce(max(id), 0) AS last FROM ${name}_log`)
    .get() as { count: number; last: number };
  if (log.count !== log.last) {
    problems.push(`the log has ${log.count} rows, but its newest is ${log.last}`);
  }
  const expected = database
    .prepare(`SELECT payload_sha256 FROM ${name}_log WHERE id = ?`)
    .pluck()
    .get(log.last) as string | undefined;
  if ((expected ?? formatDigest(0n)) !== formatDigest(digest)) {
    problems.push(`the rows are not those of commit ${log.last}`);
  }
  return { lastCommitId: log.last, rowCount, problems };
}
