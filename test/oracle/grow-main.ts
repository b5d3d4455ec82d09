/** Child of `growth-outside-wal.ts`: makes a transaction that grows the database by free pages, says which they are, and dies by SIGKILL. */
import { writeSync } from "node:fs";
import Database from "better-sqlite3";

const database = new Database(process.argv[2] as string);
database.pragma("wal_autocheckpoint = 0");
const pageSize = database.pragma("page_size", { simple: true }) as number;
const oldPageCount = database.pragma("page_count", { simple: true }) as number;
const freePages = database.pragma("freelist_count", { simple: true }) as number;
database.exec("BEGIN IMMEDIATE; CREATE TABLE grown (body BLOB)");
database.prepare("INSERT INTO grown VALUES (zeroblob(?))").run((freePages + 12) * pageSize);
database.exec("DROP TABLE grown; COMMIT");

const image = database.serialize();
const freeLeaves: number[] = [];
let trunk = image.readUInt32BE(32);
while (trunk !== 0) {
  const at = (trunk - 1) * pageSize;
  const leafCount = image.readUInt32BE(at + 4);
  for (let index = 0; index < leafCount; index++)
    freeLeaves.push(image.readUInt32BE(at + 8 + 4 * index));
  trunk = image.readUInt32BE(at);
}
writeSync(1, JSON.stringify({ oldPageCount, freeLeaves }));
// Without a close: a close would checkpoint and remove the WAL.
process.kill(process.pid, "SIGKILL");
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
