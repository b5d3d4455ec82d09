import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ManifestRef } from "@vaultwarden-stream/file-sync";
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, it } from "vitest";
import {
  listReplica,
  parseTxid,
  policyWithin,
  replicate,
  restore,
  type Txid,
} from "wal-replicator";
import { describeHistory, formatHistory } from "./history.ts";

let directory: string;
let replica: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "history-"));
  replica = join(directory, "store");
  mkdirSync(replica);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Streams the database with so many commits, each stored as such, and lets go. @returns the timeline and where it ended. */
async function stream(name: string, commits: number): Promise<{ timeline: string; txid: Txid }> {
  const path = join(directory, name);
  const db = new Database(path);
  db.pragma("journal_mode = WAL");
  db.exec("create table if not exists rows (text)");
  const replication = await replicate({
    database: path,
    replica,
    timelinesUnder: "db/",
    home: "in-process",
    Database,
  });
  let position = await replication.flush();
  for (let count = 0; count < commits; count += 1) {
    db.prepare("insert into rows values (?)").run(`row ${count}`);
    position = await replication.flush();
  }
  db.close();
  await replication.stop({ applicationEnded: true });
  return position;
}

function manifest(timeline: string, time: string): ManifestRef {
  return { timeline, epoch: 1, sequence: 1, txid: "0000000000000001", time: new Date(time) };
}

it("has the head's line up to where it branched, and what lies behind by its name", async () => {
  const old = await stream("a", 4);
  const at = parseTxid("0000000000000003") as Txid;
  await restore({ replica, target: join(directory, "b"), timelinesUnder: "db/", txid: at });
  const head = await stream("b", 2);
  const listing = await listReplica({ replica, timelinesUnder: "db/" });
  const manifests = [
    manifest(old.timeline, "2026-01-02T00:00:00.000Z"),
    manifest(old.timeline, "2026-01-01T00:00:00.000Z"),
    manifest(head.timeline, "2026-01-03T00:00:00.000Z"),
  ];
  const report = describeHistory(listing, manifests, policyWithin({}), Date.now());

  expect(report).toMatchObject({
    head: head.timeline,
    files: { manifestCount: 3, from: new Date("2026-01-01"), to: new Date("2026-01-03") },
  });
  const [first, second] = report.timelines;
  expect(report.timelines).toHaveLength(2);
  expect(first).toMatchObject({
    timeline: head.timeline,
    role: "head",
    parent: { timeline: old.timeline, txid: at },
    upToTxid: null,
    pointCountBehind: 0,
    keptUntil: null,
    files: { manifestCount: 1 },
  });
  const behind = Number(old.txid - at);
  expect(behind).toBeGreaterThan(0);
  // Three of the parent up to the branch, and those of the head: nothing is an hour old.
  const offered = (first?.offeredCount ?? 0) + 3;
  expect(report.instants).toMatchObject([{ level: 0, precisionSeconds: 0, count: offered }]);
  const dayMs = 86_400_000;
  const keptForMs = (second?.keptUntil?.getTime() ?? 0) - Date.now();
  expect(keptForMs).toBeGreaterThan(29 * dayMs);
  expect(keptForMs).toBeLessThanOrEqual(30 * dayMs);
  expect(second).toMatchObject({
    timeline: old.timeline,
    offeredCount: 3,
    role: "ancestor",
    upToTxid: at,
    pointCount: 3,
    pointCountBehind: behind,
    ranges: [{ level: 0, pointCount: 3, precisionMs: 0 }],
    files: { manifestCount: 2 },
  });
  const text = formatHistory(report);
  expect(text).toContain(`timeline ${head.timeline}, the head: what a restore takes`);
  expect(text).toContain(`branched from ${old.timeline} at TXID 0000000000000003`);
  expect(text).toContain(`behind TXID 0000000000000003, where the head left it`);
  expect(text).toContain(`${offered} recovery points, every stored change`);
  expect(text).toContain("what lies behind the branch is kept until");
  expect(text).toContain("attachments, sends and keys: 3 states, 2026-01-01T00:00:00.000Z to");
});

it("names the snapshots, and files that cannot be used", async () => {
  const { timeline } = await stream("a", 3);
  const levelZero = join(replica, "db", timeline, "ltx", "0");
  rmSync(join(levelZero, "0000000000000002-0000000000000002.ltx"));
  const listing = await listReplica({ replica, timelinesUnder: "db/" });
  const report = describeHistory(listing, [], policyWithin({}), Date.now());
  expect(report.timelines[0]).toMatchObject({ pointCount: 1, unusableFileCount: 2 });
  expect(formatHistory(report)).toContain("2 files cannot be used");
  expect(formatHistory(report)).toContain("no state of them is stored");
});
