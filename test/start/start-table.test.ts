/** Each row of the start table (architecture.md 5) with real files: what is in the store and beside the database afterwards. */
import { readdirSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DirectoryStore, FaultyStore, type StoreCall } from "@vaultwarden-stream/object-store";
import { readDatabaseImage } from "@vaultwarden-stream/testkit";
import { describe, expect, it } from "vitest";
import { listReplica, restoreIntoPlace, type Txid } from "wal-replicator";
import { listing, Place, rowsOf } from "./place.ts";

const isUpload = ({ operation, key }: StoreCall): boolean =>
  operation.startsWith("put") && key.endsWith(".ltx");

describe("no database", () => {
  it("nothing anywhere: the host makes a new one, and nothing was written", async () => {
    await using place = new Place();
    const host = place.host("a");
    expect(await host.prepare()).toEqual({ outcome: "nothing-anywhere" });
    expect(listing(place.replica)).toEqual([]);
    expect(host.listing()).toEqual([]);
  });

  it("a store that refuses us: its error, and nothing was written anywhere", async () => {
    await using place = new Place();
    const other = place.host("other");
    other.write("one");
    await (await other.stream()).stop();
    const before = listing(place.replica);
    const host = place.host("a");
    const store = new FaultyStore(new DirectoryStore(place.replica), () => ({
      kind: "error-before",
      code: "FORBIDDEN",
    }));
    await expect(host.prepare({}, { store })).rejects.toMatchObject({ code: "FORBIDDEN" });
    expect(listing(place.replica)).toEqual(before);
    expect(host.listing()).toEqual([]);
  });

  it("an epoch that cannot be read: an error, and nothing was written anywhere", async () => {
    await using place = new Place();
    const other = place.host("other");
    other.write("one");
    await (await other.stream()).stop();
    writeFileSync(join(place.replica, "epochs", "00000002.json"), "torn {");
    const before = listing(place.replica);
    const host = place.host("a");
    await expect(host.prepare()).rejects.toMatchObject({ code: "REPLICA_MALFORMED" });
    expect(listing(place.replica)).toEqual(before);
    expect(host.listing()).toEqual([]);
  });

  it("spool ahead: it is shipped, then all of it restored", async () => {
    await using place = new Place();
    const host = place.host("a");
    let isAway = false;
    const store = new FaultyStore(new DirectoryStore(place.replica), (call) =>
      isAway && isUpload(call) ? { kind: "error-before", code: "UNREACHABLE" } : undefined,
    );
    host.write("stored");
    const stream = await host.stream({}, { store });
    await stream.flush();
    isAway = true;
    host.write("captured");
    await stream.waitFor("captured", ({ txid }) => txid === 2n);
    expect(await stream.stop({ timeoutMs: 1 })).toMatchObject({ released: false, waitingFiles: 1 });
    expect(await place.rows()).toEqual(["stored"]);
    host.deleteDatabase();
    expect(await host.prepare()).toMatchObject({ outcome: "restored", aside: undefined });
    expect(host.rows()).toEqual(["stored", "captured"]);
    expect(await place.rows()).toEqual(["stored", "captured"]);
    const next = await host.stream();
    expect(next.events[0]).toMatchObject({ type: "started", continued: true, epoch: 3 });
  });

  it("spool ahead, and the prefix is another one: refused, and the spool keeps what waits", async () => {
    await using place = new Place();
    const host = place.host("a");
    let isAway = false;
    const store = new FaultyStore(new DirectoryStore(place.replica), (call) =>
      isAway && isUpload(call) ? { kind: "error-before", code: "UNREACHABLE" } : undefined,
    );
    host.write("stored");
    const stream = await host.stream({}, { store });
    await stream.flush();
    isAway = true;
    host.write("captured");
    await stream.waitFor("captured", ({ txid }) => txid === 2n);
    await stream.stop({ timeoutMs: 1 });
    host.deleteDatabase();
    const wrong = join(place.directory, "stroe");
    const before = host.listing();
    await expect(host.prepare({ replica: wrong })).rejects.toMatchObject({ code: "START_REFUSED" });
    expect(listing(wrong)).toEqual([]);
    expect(host.listing()).toEqual(before);
    await host.prepare();
    expect(host.rows()).toEqual(["stored", "captured"]);
  });

  it("recovery points: restored, verified, and streamed from there on", async () => {
    await using place = new Place();
    const other = place.host("other");
    other.write("one");
    const stream = await other.stream();
    other.write("two");
    await stream.stop();
    const host = place.host("a");
    expect(await host.prepare()).toMatchObject({
      outcome: "restored",
      result: { txid: 2n, isRollingChecksumProved: true },
    });
    expect(await readDatabaseImage(host.database)).toEqual(await readDatabaseImage(other.database));
    const next = await host.stream();
    expect(next.events[0]).toMatchObject({ continued: true, resume: "compare" });
    host.write("three");
    await next.stop();
    expect(await place.rows()).toEqual(["one", "two", "three"]);
  });

  it("a process of ours was killed, and the database lost: its lease is not waited for, before the restore nor after it", async () => {
    await using place = new Place();
    const host = place.host("a");
    host.write("one");
    const engine = await host.streamInChild();
    const { timeline } = await engine.flush();
    await engine.kill();
    host.deleteDatabase();
    expect(await host.prepare({ ifHeld: "refuse" })).toMatchObject({ outcome: "restored" });
    const next = await host.stream({ ifHeld: "refuse" });
    expect(next.events[0]).toMatchObject({ type: "started", continued: true, timeline });
  });

  it("a used prefix whose files are gone: refused, naming what was found", async () => {
    await using place = new Place();
    const other = place.host("other");
    other.write("one");
    const { position } = await (await other.stream()).stop();
    rmSync(place.timelineDirectory(position?.timeline ?? ""), { recursive: true });
    const before = listing(place.replica);
    const host = place.host("a");
    await expect(host.prepare()).rejects.toMatchObject({
      code: "START_REFUSED",
      message: expect.stringContaining("epoch 1"),
    });
    // The one whose database it was is told the same, and what is left of it stays.
    other.deleteDatabase();
    await expect(other.prepare()).rejects.toMatchObject({ code: "START_REFUSED" });
    rmSync(place.replica, { recursive: true });
    await expect(other.prepare()).rejects.toMatchObject({
      code: "START_REFUSED",
      message: expect.stringContaining(`timeline ${position?.timeline}`),
    });
    // The record, the lease, and the release.
    expect(before).toHaveLength(3);
    expect(listing(place.replica)).toEqual([]);
    expect(host.listing()).toEqual([]);
  });
});

describe("restored to an earlier moment", () => {
  it("a new timeline goes on from there; the old one is listed and restores; a time means the new line", async () => {
    await using place = new Place();
    const host = place.host("a");
    host.write("one");
    const stream = await host.stream();
    const { timeline } = await stream.flush();
    for (const row of ["two", "mistake"]) {
      host.write(row);
      await stream.flush();
    }
    await stream.stop();
    const { aside, result } = await restoreIntoPlace({
      database: host.database,
      replica: place.replica,
      txid: 2n as Txid,
    });
    expect(rowsOf(aside ?? "")).toEqual(["one", "two", "mistake"]);
    expect(result).toMatchObject({ timeline, txid: 2n });

    const next = await host.stream();
    const [started] = next.events;
    expect(started).toMatchObject({ continued: false, parent: { timeline, txid: 2n } });
    host.write("three");
    const { timeline: newer } = await next.flush();
    await next.waitFor("base-stored");
    await next.stop();
    expect(newer).not.toBe(timeline);
    expect(await place.rows()).toEqual(["one", "two", "three"]);
    expect(await place.rows({ timeline })).toEqual(["one", "two", "mistake"]);

    const listed = await listReplica({ replica: place.replica });
    expect(listed.head).toBe(newer);
    expect(listed.timelines.map(({ timeline: name, role }) => [name, role])).toEqual([
      [newer, "head"],
      [timeline, "ancestor"],
    ]);
    // Right before the new line's first file: the mistake was made by then, and is on no line to the head.
    const first = listed.timelines[0]?.files.find(({ level }) => level === 0);
    expect(await place.rows({ before: first?.createdAt as Date })).toEqual(["one", "two"]);
  });
});

describe("another owner's living lease", () => {
  it("is waited for until its owner releases it, and then its timeline goes on", async () => {
    await using place = new Place();
    const [a, b] = [place.host("a"), place.host("b")];
    a.write("a1");
    const first = await a.stream();
    await first.flush();
    // A lease of a minute, of which the one that waits looks every second.
    const waits = Promise.withResolvers<void>();
    const preparing = b.prepare(
      { onEvent: ({ type }) => type === "waiting" && waits.resolve() },
      { leaseIntervalMs: 6_000 },
    );
    await waits.promise;
    a.write("a2");
    await first.stop();
    expect(await preparing).toMatchObject({ outcome: "restored" });
    expect(b.rows()).toEqual(["a1", "a2"]);
    const stream = await b.stream();
    expect(stream.events[0]).toMatchObject({ type: "started", continued: true, epoch: 2 });
  });

  it("refuses who does not want to wait, and writes nothing", async () => {
    await using place = new Place();
    const a = place.host("a");
    a.write("a1");
    const first = await a.streamInChild();
    await first.flush();
    await first.kill();
    const before = listing(place.replica);
    const b = a.copyTo("b");
    await expect(b.stream({ ifHeld: "refuse" })).rejects.toMatchObject({
      code: "HELD",
      message: expect.stringContaining(`process ${first.pid}`),
    });
    b.deleteDatabase();
    await expect(b.prepare({ ifHeld: "refuse" })).rejects.toMatchObject({ code: "HELD" });
    expect(listing(place.replica)).toEqual(before);
    // Who is the owner after all is not refused: a process that was killed has no lease to wait for.
    const again = await a.stream({ ifHeld: "refuse" });
    expect(again.events[0]).toMatchObject({ type: "started", continued: true });
  });

  it("does not stop a take-over: at once, and the owner is fenced at its next look", async () => {
    await using place = new Place();
    const a = place.host("a");
    a.write("a1");
    const first = await a.stream({}, { leaseIntervalMs: 200 });
    await first.flush();
    const b = place.host("b");
    expect(await b.prepare({ ifHeld: "take-over" })).toMatchObject({ outcome: "restored" });
    const second = await b.stream({ ifHeld: "take-over" });
    b.write("b1");
    await second.flush();
    const { by } = await first.waitFor("fenced");
    expect(by).toMatchObject({ epoch: 2, timeline: (await second.status()).timeline });
    a.write("a2");
    const { timeline } = await first.flush();
    await first.stop();
    await second.stop();
    expect(await place.rows()).toEqual(["a1", "b1"]);
    expect(await place.rows({ timeline })).toEqual(["a1", "a2"]);
  });
});

it("who is fenced and stopped in the same moment keeps its last commits on a branch", async () => {
  await using place = new Place();
  const a = place.host("a");
  a.write("a1");
  // No pass but at the stop: what is committed after the fence is captured by nothing else.
  const first = await a.stream({ syncIntervalMs: 60_000 }, { leaseIntervalMs: 200 });
  await first.flush();
  const b = place.host("b");
  await b.prepare({ ifHeld: "take-over" });
  const second = await b.stream({ ifHeld: "take-over" });
  await first.waitFor("fenced");
  a.write("a2");
  const { position, released } = await first.stop();
  expect(released).toBe(true);
  await second.stop();
  expect(await place.rows({ timeline: position?.timeline as string })).toEqual(["a1", "a2"]);
});

describe("the same timeline", () => {
  it("same position: it goes on, and nothing is stored again", async () => {
    await using place = new Place();
    const host = place.host("a");
    host.write("one");
    const { position } = await (await host.stream()).stop({ applicationEnded: true });
    const next = await host.stream();
    expect(next.events[0]).toMatchObject({
      type: "started",
      continued: true,
      timeline: position?.timeline,
      epoch: 2,
    });
    await next.flush();
    await next.stop();
    expect(next.events.filter(({ type }) => type === "stored" || type === "base-stored")).toEqual(
      [],
    );
  });

  it("ahead: the difference is stored, and it goes on", async () => {
    await using place = new Place();
    const host = place.host("a");
    host.write("one");
    const engine = await host.streamInChild();
    const { timeline } = await engine.flush();
    await engine.kill();
    host.write("two");
    const next = await host.stream();
    await next.flush();
    expect(next.events[0]).toMatchObject({ continued: true, timeline });
    expect(next.events.filter(({ type }) => type === "stored")).toMatchObject([{ txid: 2n }]);
    await next.stop();
    expect(await place.rows()).toEqual(["one", "two"]);
  });

  it.each(["before its last start", "while it streamed"] as const)(
    "behind, an old volume, copied %s: refused; asked for, its copy is kept and the store's is restored",
    async (when) => {
      await using place = new Place();
      const host = place.host("a");
      host.write("old");
      let stream = await host.stream();
      await stream.flush();
      if (when === "before its last start") await stream.stop({ applicationEnded: true });
      const old = host.copyTo("old");
      if (when === "before its last start") stream = await host.stream();
      host.write("new");
      await stream.flush();
      await stream.stop({ applicationEnded: true });
      host.bringBack(old, { keepsIdentity: true });
      expect(host.rows()).toEqual(["old"]);
      const before = listing(place.replica);
      const refusal = await host.stream().catch((error: unknown) => error as Error);
      expect(refusal).toMatchObject({ code: "LOCAL_BEHIND" });
      expect(listing(place.replica)).toEqual(before);
      const prepared = await host.prepare({ restoreBecause: (refusal as Error).message });
      expect(prepared.outcome).toBe("restored");
      expect(host.rows()).toEqual(["old", "new"]);
      expect(rowsOf((prepared as { aside: string }).aside)).toEqual(["old"]);
      const next = await host.stream();
      host.write("newer");
      await next.stop();
      expect(await place.rows()).toEqual(["old", "new", "newer"]);
    },
  );

  it("behind, a power cut took the end of the WAL: refused; asked for, the store's is restored", async () => {
    await using place = new Place();
    const host = place.host("a");
    host.write("one");
    const engine = await host.streamInChild();
    // Kept open by nobody but the engine, whose death leaves the WAL.
    host.write("two");
    await engine.flush();
    host.write("three");
    await engine.flush();
    await engine.kill();
    const wal = `${host.database}-wal`;
    rmSync(`${host.database}-shm`, { force: true });
    truncateSync(wal, 32 + 4_120);
    const refusal = await host.stream().catch((error: unknown) => error as Error);
    expect(refusal).toMatchObject({ code: "LOCAL_BEHIND" });
    await host.prepare({ restoreBecause: (refusal as Error).message });
    expect(host.rows()).toEqual(["one", "two", "three"]);
    const next = await host.stream();
    await next.flush();
    await next.stop();
    expect(await place.rows()).toEqual(["one", "two", "three"]);
  });
});

describe("a database without state of ours", () => {
  it("empty prefix: adopted, whole", async () => {
    await using place = new Place();
    const host = place.host("a");
    host.write("one");
    const stream = await host.stream();
    expect(stream.events[0]).toMatchObject({ continued: false, parent: null, resume: "snapshot" });
    await stream.stop();
    expect(await place.rows()).toEqual(["one"]);
  });

  it("the content of the store's newest state: goes on from there without a full copy", async () => {
    await using place = new Place();
    const host = place.host("a");
    host.write("one", "two");
    const { position } = await (await host.stream()).stop({ applicationEnded: true });
    rmSync(host.spool, { recursive: true });
    const stream = await host.stream();
    expect(stream.events[0]).toMatchObject({
      continued: false,
      parent: { timeline: position?.timeline, txid: position?.txid },
      resume: "compare",
    });
    host.write("three");
    await stream.flush();
    expect(stream.events.filter(({ type }) => type === "captured")).toMatchObject([
      { kind: "wal" },
    ]);
    await stream.waitFor("base-stored");
    await stream.stop();
    expect(await place.rows()).toEqual(["one", "two", "three"]);
  });
});

it("files moved away under a timeline of ours: a new one begins, whole", async () => {
  await using place = new Place();
  const host = place.host("a");
  host.write("one");
  const { position } = await (await host.stream()).stop();
  renameSync(place.replica, `${place.replica}.moved`);
  const stream = await host.stream();
  expect(stream.events[0]).toMatchObject({ continued: false, parent: null, resume: "snapshot" });
  await stream.stop();
  expect(await place.rows()).toEqual(["one"]);
  expect(readdirSync(place.replica)).not.toContain(position?.timeline);
});
