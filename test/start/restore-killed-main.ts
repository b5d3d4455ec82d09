/**
 * Prepares a database, and kills itself with SIGKILL behind its nth rename: each is a step of a restore that a crash can come after.
 * Arguments: database, replica, n, and why a database that is there is restored over.
 */
import fs from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";

const [database = "", replica = "", nth, restoreBecause] = process.argv.slice(2);
const { rename } = fs;
let renameCount = 0;
fs.rename = async (from, to) => {
  renameCount += 1;
  try {
    await rename(from, to);
  } finally {
    // What is not there to be renamed is a moment all the same.
    if (renameCount === Number(nth)) process.kill(process.pid, "SIGKILL");
  }
};
syncBuiltinESMExports();

const { prepareDatabase } = await import("wal-replicator");
await prepareDatabase({
  database,
  replica,
  ...(restoreBecause === undefined ? {} : { restoreBecause }),
});
