/** Child of `writers.ts`: carries out a `FillJob`. */
import { randomBytes } from "node:crypto";
import { setTimeout as sleepMs } from "node:timers/promises";
import Database from "better-sqlite3";
import type { FillJob } from "./writers.ts";

const job = JSON.parse(process.argv[2] ?? "null") as FillJob;
const rowBytes = 8192;
/** Longer than LZ4's window of 64 KiB, so that no row finds itself in a row before it. */
const pool = randomBytes(16 * 1024 * 1024);
const prose = Buffer.from(
  "the item folder holds a login, a secure note, an identity and a card; ".repeat(200),
);

const database = new Database(job.database, { timeout: 60_000 });
database.pragma(`page_size = ${job.pageSize ?? 4096}`);
database.pragma("journal_mode = wal");
database.pragma("synchronous = normal");
database.exec("create table if not exists filling (id integer primary key, body blob not null)");
const insert = database.prepare("insert into filling (body) values (?)");

let written = 0;
while (written < job.bytes) {
  const end = Math.min(job.bytes, written + job.transactionBytes);
  database.exec("begin immediate");
  for (; written < end; written += rowBytes) insert.run(makeBody());
  database.exec("commit");
  if (job.pauseMs !== undefined) await sleepMs(job.pauseMs);
}
database.close();

/** Drawn from the pool instead of the generator: making the data must not be what limits the writer. */
function makeBody(): Buffer {
  const randomLength = Math.round(rowBytes * job.randomShare);
  const offset = Math.floor(Math.random() * (pool.length - rowBytes));
  return Buffer.concat([
    pool.subarray(offset, offset + randomLength),
    prose.subarray(0, rowBytes - randomLength),
  ]);
}
