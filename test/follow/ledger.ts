import { createHash } from "node:crypto";
import type { Prng } from "@vaultwarden-stream/testkit";
import type Database from "better-sqlite3";

/**
 * A database that shows at one look whether it is a state that was committed. Each transaction moves money between accounts far apart, so that it
 * touches many pages, and notes itself in a log with a body that grows and shrinks; the balances add up to 0, and what the log holds is what the
 * one row of `meta` says.
 */
export const ledgerSchema = `
  CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL, padding BLOB NOT NULL);
  CREATE TABLE log (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
  CREATE INDEX log_length ON log (length(body));
  CREATE TABLE meta (seq INTEGER NOT NULL, entries INTEGER NOT NULL, bytes INTEGER NOT NULL);
  INSERT INTO meta VALUES (0, 0, 0);
  WITH RECURSIVE ids (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < 200)
  INSERT INTO accounts SELECT id, 0, zeroblob(400) FROM ids;
`;

/** Commits one transaction. @returns its number. */
export function commitTransfer(database: Database.Database, prng: Prng): number {
  const seq = 1 + (database.prepare("SELECT seq FROM meta").pluck().get() as number);
  const amount = prng.integer(1, 1_000);
  const body = createHash("sha256").update(String(seq)).digest();
  const bytes = Buffer.concat(Array.from({ length: prng.integer(1, 60) }, () => body));
  database.transaction(() => {
    const move = database.prepare("UPDATE accounts SET balance = balance + ? WHERE id = ?");
    move.run(amount, prng.integer(1, 200));
    move.run(-amount, prng.integer(1, 200));
    database.prepare("INSERT INTO log VALUES (?, ?)").run(seq, bytes);
    if (prng.chance(0.01)) database.exec("DELETE FROM log WHERE seq % 3 = 0");
    database.exec(
      `UPDATE meta SET seq = ${seq}, entries = (SELECT count(*) FROM log), bytes = (SELECT total(length(body)) FROM log)`,
    );
  })();
  return seq;
}

/** @returns the number of the newest transaction. @throws {Error} if the database is in no state that was committed. */
export function checkLedger(database: Database.Database): number {
  return database.transaction(() => {
    const integrity = database.pragma("integrity_check", { simple: true });
    if (integrity !== "ok") throw new Error(`integrity_check: ${String(integrity)}`);
    const balance = database.prepare("SELECT total(balance) FROM accounts").pluck().get();
    const log = database
      .prepare("SELECT max(seq) AS seq, count(*) AS entries, total(length(body)) AS bytes FROM log")
      .get() as { seq: number; entries: number; bytes: number };
    const meta = database.prepare("SELECT * FROM meta").get() as typeof log;
    const { seq, entries, bytes } = meta;
    if (balance !== 0 || log.entries !== entries || log.bytes !== bytes || (log.seq ?? 0) > seq) {
      throw new Error(`balance ${balance}, ${JSON.stringify({ log, meta })}`);
    }
    return seq;
  })();
}
