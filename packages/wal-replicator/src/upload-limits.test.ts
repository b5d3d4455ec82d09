import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MemoryStore, type ObjectStore } from "@vaultwarden-stream/object-store";
import BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ReplicationEvent } from "./events.ts";
import { replicate } from "./replicate.ts";
import type { Replication } from "./replication.ts";
import { startReplicator } from "./replicator.ts";
import { restoreDatabase } from "./restore/restore.ts";
import { type LimitedStore, limitUploads, type UploadLimits } from "./upload-limits.ts";

const hourMs = 3_600_000;

let directory: string;
let database: string;
let nowMs: number;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "upload-limits-"));
  database = join(directory, "db");
  nowMs = 0;
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function limited(
  inner: ObjectStore,
  limits: UploadLimits,
  others?: () => { readonly objects: number; readonly bytes: number },
): LimitedStore {
  return limitUploads(inner, {
    limits,
    database,
    timelinesUnder: "",
    nowMs: () => nowMs,
    ...(others === undefined ? {} : { others }),
  });
}

describe("limitUploads", () => {
  it("has budgets by default that grow with the database and with what else is stored", () => {
    let files = { objects: 0, bytes: 0 };
    const { usage } = limited(new MemoryStore(), {}, () => files);
    expect(usage().budget).toMatchObject({ bytesMax: 10e9, objectsMax: 20_000 });
    files = { objects: 50_000, bytes: 40e9 };
    expect(usage().budget).toMatchObject({ bytesMax: 90e9, objectsMax: 120_000 });
    writeFileSync(database, "");
    truncateSync(database, 2e9);
    expect(usage().budget.bytesMax).toBe(120e9);
  });

  it("takes the limits that it is given", () => {
    const limits = { hourlyBytesMax: 7, hourlyObjectsMax: Number.POSITIVE_INFINITY };
    expect(limited(new MemoryStore(), limits).usage().budget).toMatchObject({
      bytesMax: 7,
      objectsMax: Number.POSITIVE_INFINITY,
    });
  });

  it("says what went to the store", async () => {
    const { store, usage } = limited(new MemoryStore(), {});
    await store.putIfAbsent("epochs/00000001.json", new Uint8Array(10));
    await store.put("a", new Uint8Array(10));
    await expect(store.get("b")).rejects.toThrow();
    expect(usage()).toMatchObject({
      requests: [
        { operation: "putIfAbsent", outcome: "ok", count: 1 },
        { operation: "put", outcome: "ok", count: 1 },
        { operation: "get", outcome: "NOT_FOUND", count: 1 },
      ],
      bytesUp: 20,
      budget: { objects: 1, bytes: 10 },
    });
  });
});

describe("a stream whose budget is used up", () => {
  let application: BetterSqlite3.Database;
  let replication: Replication | undefined;
  let events: ReplicationEvent[];

  beforeEach(() => {
    application = new BetterSqlite3(database);
    application.pragma("journal_mode = WAL");
    application.exec("CREATE TABLE t (x)");
    events = [];
  });
  afterEach(async () => {
    await replication?.stop({ timeoutMs: 1_000 }).catch(() => {});
    replication = undefined;
    application.close();
  });

  const commit = (x: number): unknown => application.prepare("INSERT INTO t VALUES (?)").run(x);

  it("stops uploads loudly, not the lease nor the captures, and catches up with the next hour", async () => {
    const memory = new MemoryStore();
    const { store, usage } = limited(memory, { hourlyObjectsMax: 4 });
    replication = await startReplicator(
      {
        database,
        replica: "memory",
        store,
        syncIntervalMs: 10,
        onEvent: (event) => events.push(event),
      },
      { leaseIntervalMs: 50 },
    );
    await replication.flush();
    for (let x = 1; x <= 3; x++) {
      commit(x);
      await replication.flush();
    }
    commit(4);
    const flushed = replication.flush();
    await expect
      .poll(() => events.filter(({ type }) => type === "store-failing"))
      .toMatchObject([{ code: "BUDGET_EXCEEDED", waitingFiles: 1 }]);
    expect((await replication.status()).storeFailure).toMatchObject({ code: "BUDGET_EXCEEDED" });
    expect(usage().budget).toMatchObject({ isExceeded: true, objects: 4 });

    const renewals = () =>
      usage().requests.filter(({ operation }) => operation === "put")[0]?.count ?? 0;
    const before = renewals();
    commit(5);
    await expect.poll(renewals).toBeGreaterThan(before + 2);
    await expect
      .poll(async () => (await replication?.status())?.waitingFiles)
      .toBeGreaterThanOrEqual(2);
    expect(events.some(({ type }) => type === "lease-failing")).toBe(false);

    nowMs += hourMs;
    await flushed;
    await replication.flush();
    expect(events.map(({ type }) => type)).toContain("store-recovered");
    await replication.stop();
    const target = join(directory, "restored");
    await restoreDatabase({
      root: { store: memory, prefix: "", timelinesUnder: "" },
      path: target,
    });
    const restored = new BetterSqlite3(target, { readonly: true });
    expect(restored.prepare("SELECT count(*) AS n FROM t").get()).toEqual({ n: 5 });
    restored.close();
  });

  it("is limited where the stream opens the store itself, too", async () => {
    replication = await startReplicator({
      database,
      replica: join(directory, "replica"),
      limits: { hourlyObjectsMax: 0 },
      onEvent: (event) => events.push(event),
    });
    await expect
      .poll(() => events.filter(({ type }) => type === "store-failing"))
      .toMatchObject([{ code: "BUDGET_EXCEEDED" }]);
  });

  it("cannot have an open store in another process", async () => {
    await expect(
      replicate({ database, replica: "memory", store: new MemoryStore() }),
    ).rejects.toMatchObject({ code: "OPTIONS_CONFLICT" });
  });
});
