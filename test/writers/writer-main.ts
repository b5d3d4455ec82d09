/** An application in a process of its own: commits labelled rows when it is told to, and says of each when its COMMIT has returned. */
import Database from "better-sqlite3";
import { commitLabel, readLabels, rowSchema } from "./row-database.ts";
import type { WriterReport, WriterRequest } from "./row-writer.ts";

const [path, name] = process.argv.slice(2);
if (path === undefined || name === undefined) throw new Error("started by startRowWriter only");
const database = new Database(path, { timeout: 20_000 });
database.pragma("journal_mode = wal");
database.pragma("wal_autocheckpoint = 40");
database.exec(rowSchema);

let next = 1;
let timer: NodeJS.Timeout | undefined;

function report(message: WriterReport): void {
  process.send?.(message);
}

function commit(): void {
  const label = `${name}-${next}`;
  next += 1;
  commitLabel(database, label);
  report({ type: "committed", label });
}

process.on("message", (request: WriterRequest) => {
  if (request.type === "go-on") {
    timer ??= setInterval(commit, request.everyMs);
    return;
  }
  clearInterval(timer);
  timer = undefined;
  if (request.type === "stop") {
    database.close();
    process.disconnect();
    return;
  }
  for (let count = 0; count < request.commits; count++) commit();
  report({ type: "paused" });
});
process.on("disconnect", () => process.exit());
report({ type: "ready", labels: readLabels(database) });
