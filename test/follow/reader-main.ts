/**
 * An application that reads the copy as hard as it can, over a connection that stays and over new ones, from a process of its own. Ends by SIGTERM
 * with what it saw, or with the first state that was never committed. Argument: path of the copy.
 */
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import Database from "better-sqlite3";
import { checkLedger } from "./ledger.ts";

const path = process.argv[2] as string;
let isEnding = false;
process.once("SIGTERM", () => {
  isEnding = true;
});

let lookCount = 0;
let changeCount = 0;
let lastSeq = 0;
let kept: Database.Database | undefined;

function look(database: Database.Database): void {
  const seq = checkLedger(database);
  lookCount += 1;
  // A rollback to the state before may be seen after a kill, and never more than that: nothing was read from what was not committed.
  if (seq !== lastSeq) changeCount += 1;
  lastSeq = seq;
}

while (!isEnding) {
  await sleep(5);
  if (!existsSync(path)) continue;
  kept ??= open();
  look(kept);
  const fresh = open();
  look(fresh);
  fresh.close();
}
process.stdout.write(JSON.stringify({ lookCount, changeCount, lastSeq }));

/** A busy timeout above the time that one transaction of the follower takes. */
function open(): Database.Database {
  return new Database(path, { timeout: 30_000 });
}
