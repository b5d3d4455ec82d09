import { createHash } from "node:crypto";
import type Database from "better-sqlite3";

/**
 * A database that says where each of its commits came from, and whether two lines of commits were ever blended in it.
 *
 * Each commit has a label (`A2-17`: the 17th commit of the second writer on host A), adds a row that chains all labels before it, and rewrites one of a few slots
 * in place. From the labels alone follows what every page must hold.
 */
export const rowSchema = `
  CREATE TABLE IF NOT EXISTS rows (position INTEGER PRIMARY KEY AUTOINCREMENT, label TEXT NOT NULL, chain TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS slots (slot INTEGER PRIMARY KEY, label TEXT NOT NULL, body BLOB NOT NULL);
`;

const slotCount = 16;

/** Commits one transaction. */
export function commitLabel(database: Database.Database, label: string): void {
  database.exec("BEGIN IMMEDIATE");
  const last = database.prepare("SELECT chain FROM rows ORDER BY position DESC LIMIT 1").pluck();
  const chain = nextChain((last.get() as string | undefined) ?? "", label);
  database.prepare("INSERT INTO rows (label, chain) VALUES (?, ?)").run(label, chain);
  database
    .prepare("INSERT OR REPLACE INTO slots (slot, label, body) VALUES (?, ?, ?)")
    .run(slotOf(label), label, bodyOf(label));
  database.exec("COMMIT");
}

/** The labels in the order of their commits. @throws {Error} if the database is no state that a line of commits leads to. */
export function readLabels(database: Database.Database): string[] {
  const integrity = database.pragma("integrity_check", { simple: true });
  if (integrity !== "ok") throw new Error(`integrity_check: ${String(integrity)}`);
  const tables = database.prepare(
    "SELECT count(*) FROM sqlite_schema WHERE name IN ('rows', 'slots')",
  );
  if (tables.pluck().get() !== 2) return []; // captured before the writer had made them
  const rows = database.prepare("SELECT position, label, chain FROM rows ORDER BY position").all();
  let chain = "";
  const slots = new Map<number, string>();
  const labels: string[] = [];
  for (const row of rows as { position: number; label: string; chain: string }[]) {
    chain = nextChain(chain, row.label);
    labels.push(row.label);
    if (row.position !== labels.length) throw new Error(`a row before ${row.position} is missing`);
    if (row.chain !== chain) throw new Error(`row ${row.label} does not follow those before it`);
    slots.set(slotOf(row.label), row.label);
  }
  const stored = database.prepare("SELECT slot, label, body FROM slots").all();
  for (const { slot, label, body } of stored as { slot: number; label: string; body: Buffer }[]) {
    if (slots.get(slot) !== label) throw new Error(`slot ${slot} is not that of the last row`);
    if (!body.equals(bodyOf(label)))
      throw new Error(`slot ${slot} holds other bytes than ${label}`);
    slots.delete(slot);
  }
  if (slots.size > 0) throw new Error("slots are missing");
  return labels;
}

function nextChain(before: string, label: string): string {
  return createHash("sha256").update(`${before} ${label}`).digest("hex").slice(0, 16);
}

function slotOf(label: string): number {
  return digest(label).readUInt8(0) % slotCount;
}

/** Up to two overflow pages. */
function bodyOf(label: string): Buffer {
  const seed = digest(label);
  return Buffer.alloc(seed.readUInt16LE(1) % 9000, seed);
}

function digest(label: string): Buffer {
  return createHash("sha256").update(label).digest();
}
