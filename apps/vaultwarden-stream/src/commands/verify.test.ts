import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { manifestKey } from "@vaultwarden-stream/file-sync";
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, it } from "vitest";
import { formatTxid, replicate } from "wal-replicator";
import { type CommandAnswer, runForTest } from "./command-testing.ts";
import { verifyCommand } from "./verify.ts";

let directory: string;
let store: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "verify-"));
  store = join(directory, "store");
  mkdirSync(store);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function verify(...words: readonly string[]): Promise<CommandAnswer> {
  const environment = { STORE_DIR: store, DATA_FOLDER: join(directory, "data") };
  return runForTest(verifyCommand, environment, ...words);
}

/** A vault's store: three commits, and one manifest with one file. @returns where things lie. */
async function fill(): Promise<{ levelZero: string; blob: string; manifest: string }> {
  const database = join(directory, "db.sqlite3");
  const db = new Database(database);
  db.pragma("journal_mode = WAL");
  db.exec("create table rows (text)");
  const replication = await replicate({
    database,
    replica: store,
    timelinesUnder: "db/",
    home: "in-process",
    Database,
  });
  for (const text of ["a", "b"]) {
    await replication.flush();
    db.prepare("insert into rows values (?)").run(text);
  }
  const { timeline, txid } = await replication.flush();
  db.close();
  await replication.stop({ applicationEnded: true });

  const content = Buffer.from("an attachment");
  const sha256 = createHash("sha256").update(content).digest("hex");
  const blob = join(store, "files", "blobs", sha256.slice(0, 2), sha256);
  put(blob, content);
  const time = new Date("2026-11-24T22:00:00.000Z");
  const ref = { timeline, epoch: 1, sequence: 1, txid: formatTxid(txid), time };
  const path = "attachments/cipher/id";
  const entry = { kind: "file", path, mode: 0o600, mtimeMs: 0, size: content.length, sha256 };
  const manifest = join(store, ...manifestKey(ref).split("/"));
  put(manifest, Buffer.from(JSON.stringify({ version: 1, ...ref, entries: [entry] })));
  return { levelZero: join(store, "db", timeline, "ltx", "0"), blob, manifest };
}

function put(path: string, bytes: Uint8Array): void {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, bytes);
}

it("proves database and files, exit 0", async () => {
  await fill();
  const { code, stdout, stderr } = await verify();
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toContain(": sound");
  expect(stdout).toContain("trial restore: TXID");
  expect(stdout).toContain("files: sound");
  const json = JSON.parse((await verify("--json")).stdout);
  expect(json).toMatchObject({
    isSound: true,
    database: { isSound: true, restore: { outcome: "proved" } },
    files: { found: 1, bytes: 13, bad: [] },
  });
});

it("names a file whose bytes are bad, or that is missing, exit 4", async () => {
  const { blob } = await fill();
  writeFileSync(blob, "an Attachment");
  const bad = await verify();
  expect(bad.code).toBe(4);
  expect(bad.stdout).toContain("BAD attachments/cipher/id: wrong-bytes");
  expect((await verify("--quick")).code).toBe(0);
  rmSync(blob);
  for (const words of [[], ["--quick"]]) {
    const missing = await verify(...words);
    expect(missing.code).toBe(4);
    expect(missing.stdout).toContain("BAD attachments/cipher/id: missing");
  }
});

it("names a manifest that cannot be read, exit 4", async () => {
  const { manifest } = await fill();
  writeFileSync(manifest, "{}");
  const { code, stdout } = await verify("--quick");
  expect(code).toBe(4);
  expect(stdout).toContain("BAD files/manifests/");
});

it("names a damaged file of the database with what it costs, exit 4", async () => {
  const { levelZero } = await fill();
  const name = readdirSync(levelZero)
    .filter((entry) => entry.endsWith(".ltx"))
    .sort()[1];
  const path = join(levelZero, name ?? "");
  const bytes = readFileSync(path);
  bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1);
  writeFileSync(path, bytes);
  const { code, stdout } = await verify();
  expect(code).toBe(4);
  expect(stdout).toMatch(
    /DAMAGED db\/\S+\/ltx\/0\/0000000000000002-0000000000000002\.ltx \(level 0\)/,
  );
  expect(stdout).toMatch(/costs everything after \S+ of timeline \S+, 2 recovery points/);
  expect(JSON.parse((await verify("--json")).stdout)).toMatchObject({
    isSound: false,
    database: { problems: [{ kind: "damaged", minTxid: "0000000000000002" }, {}] },
  });
});

it("ends with 3 where nothing is, and with 6 where the store does not answer", async () => {
  const nothing = await verify();
  expect(nothing.code).toBe(3);
  expect(nothing.stderr.trimEnd().split("\n")).toHaveLength(3);
  rmSync(store, { recursive: true });
  writeFileSync(store, "a file where the store should be");
  const { code, stderr } = await verify();
  expect(stderr.trimEnd().split("\n")).toHaveLength(3);
  expect(code).toBe(6);
}, 60_000);

it.each(["0/3", "4/3", "1", "x/y", "1/0"])("takes %s for no part of the data", async (text) => {
  const { code, stderr } = await verify("--read-data-subset", text);
  expect(code).toBe(2);
  expect(stderr).toContain("is not a part of the data");
});
