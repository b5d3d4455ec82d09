import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openObjectStore } from "@vaultwarden-stream/object-store";
import { type ChildExit, startS3Server, startTypeScriptChild } from "@vaultwarden-stream/testkit";
import BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, expect, it } from "vitest";
import { formatTxid, type Txid } from "../ltx/txid.ts";
import { replicate } from "../replicate.ts";

/** The executable, on a replica that stock Litestream wrote. */
const main = fileURLToPath(new URL("../main.ts", import.meta.url));
const stock = fileURLToPath(
  new URL("../../../../test/fixtures/litestream/file-4096/objects", import.meta.url),
);
let directory: string;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "verify-cli-"));
  await cp(stock, directory, { recursive: true });
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function run(...words: readonly string[]): Promise<ChildExit> {
  return startTypeScriptChild(main, { arguments: words }).exited;
}

it("ends with 0 and what was proved if all is well", async () => {
  const { code, stdout, stderr } = await run("verify", directory);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/: sound\n/);
  expect(stdout).toMatch(/trial restore: TXID [0-9a-f]{16} of .*integrity_check is right/);
});

it("ends with 4 and names the file if a byte is not what was written", async () => {
  const level = join(directory, "ltx", "9");
  const [name = ""] = readdirSync(level);
  const bytes = readFileSync(join(level, name));
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
  writeFileSync(join(level, name), bytes);
  const { code, stdout } = await run("verify", directory, "--json");
  expect(code).toBe(4);
  expect(JSON.parse(stdout)).toMatchObject({
    isSound: false,
    problems: [{ kind: "damaged", key: `ltx/9/${name}`, level: 9 }],
  });
  expect((await run("verify", directory, "--quick")).code).toBe(0);
});

it("says of each part of the chain whether it is found, lost, uploading, or delayed since its writer is gone", async () => {
  const server = await startS3Server();
  const { bucket, endpoint, region, credentials } = server;
  const url = `s3://${bucket}/app?endpoint=${encodeURIComponent(endpoint)}&region=${region}&forcePathStyle=true`;
  const env = {
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
  };
  const states = async (): Promise<unknown> => {
    const { stdout } = await startTypeScriptChild(main, {
      arguments: ["verify", url, "--quick", "--json"],
      env,
    }).exited;
    return JSON.parse(stdout).timelines[0].segments;
  };
  const database = join(directory, "app.db");
  const db = new BetterSqlite3(database);
  db.pragma("journal_mode = WAL");
  db.exec("create table rows (text)");
  const location = { bucket, prefix: "app", endpoint, region, credentials, forcePathStyle: true };
  const replication = await replicate({
    database,
    replica: location,
    home: "in-process",
    Database: BetterSqlite3,
    maintenance: false, // a merged file would hold what is deleted below
  });
  try {
    for (let count = 0; count < 3; count += 1) {
      await replication.flush();
      db.prepare("insert into rows values ('x')").run();
    }
    const { timeline, txid } = await replication.flush();
    const [first, last, next] = [1n, txid, txid + 1n].map((one) => formatTxid(one as Txid));
    expect(await states()).toEqual([
      { state: "found", minTxid: first, maxTxid: last },
      { state: "uploading", minTxid: next, maxTxid: null },
    ]);
    // By the store's clock, which alone says how old a lease is.
    server.advanceClock(600_000);
    await openObjectStore(location).delete(
      `${timeline}/0000/${"2".padStart(16, "0")}-${"2".padStart(16, "0")}.ltx`,
    );
    expect(await states()).toEqual([
      { state: "found", minTxid: first, maxTxid: first },
      { state: "lost", minTxid: formatTxid(2n as Txid), maxTxid: formatTxid(2n as Txid) },
      { state: "found", minTxid: formatTxid(3n as Txid), maxTxid: last },
      { state: "delayed", minTxid: next, maxTxid: null },
    ]);
  } finally {
    db.close();
    await replication.stop();
    await server.stop();
  }
}, 60_000);

it("ends with 3 where nothing is, and answers a typo with the nearest name", async () => {
  expect((await run("verify", join(directory, "ltx", "9"))).code).toBe(3);
  const typo = await run("verfy", directory);
  expect(typo.code).toBe(2);
  expect(typo.stderr).toContain("did you mean verify?");
});
