import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MemoryStore } from "@vaultwarden-stream/object-store";
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, it } from "vitest";
import { startReplicator } from "./replicator.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "replicator-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

it("a stream whose database was deleted and does not come back can be stopped", async () => {
  const database = join(directory, "app.db");
  const app = new Database(database);
  app.pragma("journal_mode = wal");
  app.exec("CREATE TABLE t (a)");
  const replaced = Promise.withResolvers<void>();
  const replication = await startReplicator(
    {
      database,
      replica: "memory",
      syncIntervalMs: 10,
      onEvent: ({ type }) => type === "database-replaced" && replaced.resolve(),
    },
    { store: new MemoryStore() },
  );
  await replication.flush();
  app.close();
  for (const suffix of ["", "-wal", "-shm"]) rmSync(`${database}${suffix}`, { force: true });
  await replaced.promise;
  await expect(replication.stop()).rejects.toMatchObject({ code: "DATABASE_MISSING" });
  await expect(replication.ended).rejects.toMatchObject({ code: "DATABASE_MISSING" });
});
