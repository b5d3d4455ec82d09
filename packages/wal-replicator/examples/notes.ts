// A notes server. A writer hears "201 Created" when the note is in the replica: it survives the loss of this machine.
//
//   node notes.ts [database] [replica] [port]
//   curl --data "Water the plants" localhost:8080
//   curl localhost:8080
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import Database from "better-sqlite3";
import { replicate } from "wal-replicator";

const [database = "notes.db", replica = "notes-replica", port = "8080"] = process.argv.slice(2);

// The application's database, opened as any application opens it.
const db = new Database(database);
db.pragma("journal_mode = WAL");
db.exec("create table if not exists notes (id integer primary key, text text not null)");
const insertNote = db.prepare("insert into notes (text) values (?)");
const selectNotes = db.prepare("select id, text from notes order by id");

// From here on no commit is missed. The engine runs in a process of its own and shares nothing with `db` but the file.
const replication = await replicate({
  database,
  replica,
  onEvent: (event) => {
    if (event.type === "store-failing") console.error(`the store fails: ${event.message}`);
    if (event.type === "store-recovered") console.error("the store answers again");
  },
});

const server = createServer(async (request, response) => {
  if (request.method !== "POST") {
    response.setHeader("content-type", "application/json").end(JSON.stringify(selectNotes.all()));
    return;
  }
  insertNote.run(await text(request));
  // Every commit made before this call is confirmed by the store when it resolves.
  await replication.flush();
  response.writeHead(201).end();
});
server.listen(Number(port), () => console.log(`notes on port ${Object(server.address()).port}`));

// The end: no new requests, the database closed, the last commits stored, the replica released.
async function end(): Promise<void> {
  server.closeAllConnections();
  server.close();
  db.close();
  const { released, waitingFiles } = await replication.stop({
    applicationEnded: true,
    timeoutMs: 10_000,
  });
  if (!released) console.error(`${waitingFiles} files wait for the next start to be stored`);
}
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => void end());
