/**
 * An application with two copies of SQLite of its own beside the embedded engine: it commits as fast as it can with both, and
 * either one truncates the WAL time and again. Driven by a test over IPC; ends by itself when it has nothing more to do.
 */
import { DatabaseSync } from "node:sqlite";
import { setImmediate as turn } from "node:timers/promises";
import BetterSqlite3 from "better-sqlite3";
import { type ReplicationEvent, replicate } from "wal-replicator";

export type AppRequest = "flush" | "stop" | "write" | "leave";
export type AppReport =
  | { readonly type: "ready" | "left" }
  | { readonly type: "event"; readonly event: ReplicationEvent }
  | { readonly type: "flushed"; readonly rows: number }
  | { readonly type: "stopped"; readonly rows: number; readonly released: boolean }
  | { readonly type: "ended"; readonly name: string; readonly code: unknown };

const [database = "", replica = "", helperPath] = process.argv.slice(2);
// The test's channel is JSON, which knows no TXIDs.
const report = (message: AppReport): void => {
  process.send?.(
    JSON.parse(
      JSON.stringify(message, (_, value) => (typeof value === "bigint" ? String(value) : value)),
    ),
  );
};

const better = new BetterSqlite3(database);
better.pragma("journal_mode = WAL");
better.exec("create table if not exists rows (id integer primary key, writer text, payload text)");
const builtin = new DatabaseSync(database);
for (const db of [better, builtin])
  db.exec("pragma busy_timeout = 5000; pragma synchronous = normal");

const insert = "insert into rows (writer, payload) values (?, hex(randomblob(200)))";
const insertBetter = better.prepare(insert);
const insertBuiltin = builtin.prepare(insert);
const countRows = better.prepare("select count(*) from rows").pluck();
const rows = (): number => countRows.get() as number;

const replication = await replicate({
  database,
  replica,
  syncIntervalMs: 50,
  ...(helperPath === undefined ? {} : { helperPath }),
  onEvent: (event) => report({ type: "event", event }),
});
replication.ended.catch((error: { name: string; code: unknown }) =>
  report({ type: "ended", name: error.name, code: error.code }),
);

let isWriting = false;
async function write(): Promise<void> {
  isWriting = true;
  for (let step = 1; isWriting; step += 1) {
    if (step % 2 === 0) insertBetter.run("better-sqlite3");
    else insertBuiltin.run("node:sqlite");
    // Busy is an answer: the checkpoint did what it could.
    if (step % 7 === 0) better.pragma("wal_checkpoint(TRUNCATE)");
    if (step % 11 === 0) builtin.prepare("pragma wal_checkpoint(TRUNCATE)").get();
    await turn();
  }
}

process.on("message", async (request: AppRequest) => {
  if (request === "write") await write();
  if (request === "flush") {
    const before = rows();
    await replication.flush();
    report({ type: "flushed", rows: before });
  }
  if (request === "stop") {
    isWriting = false;
    await turn();
    const before = rows();
    better.close();
    builtin.close();
    const { released } = await replication.stop({ applicationEnded: true });
    report({ type: "stopped", rows: before, released });
  }
  if (request === "stop" || request === "leave") {
    // From here on only the stream could keep this process alive.
    isWriting = false;
    process.send?.({ type: "left" } satisfies AppReport, () => process.disconnect());
  }
});
report({ type: "ready" });
