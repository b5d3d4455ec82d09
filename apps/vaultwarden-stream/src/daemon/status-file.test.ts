import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { readStatusFile, StatusFile, stateDirectory } from "./status-file.ts";

let directory: string;
let database: string;

const whereItRuns = {
  daemon: { pid: 7, startedTicks: "42" },
  url: "http://127.0.0.1:8000",
  aliveUrl: "http://127.0.0.1:8000/alive",
  syncAgeMsMax: 600_000,
  store: "/s",
};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "status-"));
  database = join(directory, "db.sqlite3");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function open(): StatusFile {
  return new StatusFile(
    { ...whereItRuns, database },
    (error) => {
      throw error;
    },
    () => new Date("2026-11-24T21:54:21.987Z"),
  );
}

it("begins with the predecessor's keys, on one line without a space", () => {
  open().update({});
  const text = readFileSync(join(stateDirectory(database), "status.json"), "utf8");
  expect(text).toMatch(
    /^\{"status":"ok","role":"primary","timestamp":1795557261,"datetime":"2026-11-24T21:54:21Z",\S*\}\n$/,
  );
  // Readers cut the keys out with grep: the first of each name is theirs.
  expect(text.match(/"(status|timestamp)":/g)).toHaveLength(2);
});

it("keeps what an update does not mention", () => {
  const file = open();
  file.update({ epoch: 3, timeline: "00000003-aaaaaaaa" });
  file.update({ storedTxid: "0000000000000002" });
  expect(readStatusFile(database)).toMatchObject({
    epoch: 3,
    timeline: "00000003-aaaaaaaa",
    storedTxid: "0000000000000002",
    daemon: { pid: 7, startedTicks: "42" },
  });
});

it("knows no daemon where there is no file, or one that it does not understand", () => {
  expect(readStatusFile(database)).toBeUndefined();
  open().update({});
  writeFileSync(join(stateDirectory(database), "status.json"), '{"status":"ok"}');
  expect(readStatusFile(database)).toBeUndefined();
});

it("may be read by every user, whatever our umask is", () => {
  const umask = process.umask(0o077);
  try {
    open().update({});
  } finally {
    process.umask(umask);
  }
  const state = stateDirectory(database);
  expect(statSync(state).mode & 0o777).toBe(0o755);
  expect(statSync(join(state, "status.json")).mode & 0o777).toBe(0o644);
});

it("goes on where the file cannot be written, and says so", () => {
  const trouble: unknown[] = [];
  writeFileSync(join(directory, "file"), "");
  const file = new StatusFile(
    { ...whereItRuns, database: join(directory, "file", "db.sqlite3") },
    (error) => trouble.push(error),
  );
  file.update({});
  expect(trouble).toHaveLength(1);
});
