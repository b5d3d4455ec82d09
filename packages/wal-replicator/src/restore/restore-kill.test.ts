import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DirectoryStore } from "@vaultwarden-stream/object-store";
import { startTypeScriptChild } from "@vaultwarden-stream/testkit";
import BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { encodeTestLtx } from "../replica/encode-test-ltx.ts";
import { formatLtxKey } from "../replica/replica-layout.ts";

const entry = new URL("restore-kill-child.ts", import.meta.url).pathname;

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "restore-kill-"));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** A small database, whole at TXID 1, and page 2 once more at TXID 2. */
async function makeReplica(): Promise<{ readonly store: string; readonly database: Buffer }> {
  const source = join(directory, "source.db");
  const connection = new BetterSqlite3(source);
  connection.exec("CREATE TABLE t (x); INSERT INTO t VALUES (randomblob(200000))");
  connection.close();
  const database = await readFile(source);
  const pages = new Map<number, Uint8Array>();
  for (let at = 0; at < database.length; at += 4096) {
    pages.set(at / 4096 + 1, database.subarray(at, at + 4096));
  }
  const store = join(directory, "store");
  const base = { pageSize: 4096, commit: pages.size, pages };
  for (const file of [
    { ...base, min: 1 },
    { ...base, min: 2, pages: new Map([[2, pages.get(2) as Uint8Array]]) },
  ]) {
    const txid = toTxid(file.min);
    const key = formatLtxKey({ level: 0, minTxid: txid, maxTxid: txid }, "directory");
    await new DirectoryStore(store).put(key, encodeTestLtx(file));
  }
  return { store, database };
}

describe.each(["local", "thread"])("a restore that is killed (%s)", (where) => {
  it("leaves the target and its WAL as they were, and the next one clears up and succeeds", async () => {
    const { store, database } = await makeReplica();
    const targetDirectory = join(directory, "target");
    const path = join(targetDirectory, "vault.db");
    const run = (when: string) =>
      startTypeScriptChild(entry, {
        arguments: [store, path, when, where],
      }).exited;
    expect((await run("done")).code).toBe(0);
    await writeFile(path, "old database");
    await writeFile(`${path}-wal`, "old WAL");

    for (const when of ["1", "2"]) {
      expect(await run(when)).toMatchObject({ signal: "SIGKILL" });
      expect(await readFile(path, "utf8")).toBe("old database");
      expect(await readFile(`${path}-wal`, "utf8")).toBe("old WAL");
      const left = (await readdir(targetDirectory)).filter(
        (name) => !/^vault\.db(-wal)?$/.test(name),
      );
      expect(left).toEqual([expect.stringMatching(/^vault\.db\.restore-[0-9a-f]{16}\.tmp$/)]);
    }

    expect(await run("done")).toMatchObject({ code: 0, stderr: "" });
    expect(await readdir(targetDirectory)).toEqual(["vault.db"]);
    expect(await readFile(path)).toEqual(database);
  });
});
