/** Both sides have what the other lacks: copies of a volume, databases that nobody knows, captures that nobody confirmed. Both are kept. */
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DirectoryStore, FaultyStore, type StoreCall } from "@vaultwarden-stream/object-store";
import { readDatabaseImage } from "@vaultwarden-stream/testkit";
import { describe, expect, it } from "vitest";
import { listReplica, type ReplicationError } from "wal-replicator";
import { type Host, listing, Place, rowsOf } from "./place.ts";

const isUpload = ({ operation, key }: StoreCall): boolean =>
  operation.startsWith("put") && key.endsWith(".ltx");

async function refusalOf(host: Host, onDivergence?: "remote"): Promise<ReplicationError> {
  const error = await host.stream(onDivergence === undefined ? {} : { onDivergence }).then(
    () => new Error("it started"),
    (refusal: unknown) => refusal,
  );
  return error as ReplicationError;
}

/** The name of the one branch. */
async function branchOf(place: Place): Promise<string> {
  const { timelines } = await listReplica({ replica: place.replica });
  const branches = timelines.filter(({ role }) => role === "branch");
  expect(branches).toHaveLength(1);
  return branches[0]?.timeline as string;
}

/** Two databases with a common past, of which `first` is the store's by now, and `second` has gone on without it. */
async function copied(place: Place, order: "original first" | "copy first") {
  const original = place.host("original");
  original.write("common");
  await (await original.stream()).stop();
  const copy = original.copyTo("copy");
  const [first, second] = order === "original first" ? [original, copy] : [copy, original];
  const stream = await first.stream();
  first.write("first");
  const { position } = await stream.stop();
  second.write("second");
  return { first, second, timeline: position?.timeline as string };
}

describe.each(["original first", "copy first"] as const)(
  "a volume copied and started twice, %s",
  (order) => {
    it("stop: the second is stored as a branch and refused; both lines restore, and a second start stores nothing", async () => {
      await using place = new Place();
      const { first, second, timeline } = await copied(place, order);
      const refusal = await refusalOf(second);
      expect(refusal).toMatchObject({ code: "LOCAL_DIVERGED" });
      const branch = await branchOf(place);
      expect(refusal.hint).toContain(branch);
      const head = await place.restored();
      expect(head.result.timeline).toBe(timeline);
      expect(await readDatabaseImage(head.path)).toEqual(await readDatabaseImage(first.database));
      const lost = await place.restored({ timeline: branch });
      expect(rowsOf(lost.path)).toEqual(["common", "second"]);
      expect(await readDatabaseImage(lost.path)).toEqual(await readDatabaseImage(second.database));

      const stored = listing(place.replica);
      expect(await refusalOf(second)).toMatchObject({ code: "LOCAL_DIVERGED" });
      expect(listing(place.replica)).toEqual(stored);
      // What is committed after all is not lost either.
      second.write("later");
      expect(await refusalOf(second)).toMatchObject({ code: "LOCAL_DIVERGED" });
      const { timelines } = await listReplica({ replica: place.replica });
      const branches = timelines.filter(({ role }) => role === "branch");
      const rows = await Promise.all(
        branches.map(({ timeline: name }) => place.rows({ timeline: name })),
      );
      expect(rows).toContainEqual(["common", "second", "later"]);
      expect(await place.rows()).toEqual(["common", "first"]);
    });

    it("remote: the second is stored as a branch, kept aside, and the store's takes its place", async () => {
      await using place = new Place();
      const { second } = await copied(place, order);
      const refusal = await refusalOf(second, "remote");
      expect(refusal).toMatchObject({ code: "LOCAL_BEHIND" });
      const branch = await branchOf(place);
      const prepared = await second.prepare({ restoreBecause: refusal.message });
      expect(second.rows()).toEqual(["common", "first"]);
      expect(rowsOf((prepared as { aside: string }).aside)).toEqual(["common", "second"]);
      const stream = await second.stream();
      expect(stream.events[0]).toMatchObject({ type: "started", continued: true });
      second.write("more");
      await stream.stop();
      expect(await place.rows()).toEqual(["common", "first", "more"]);
      expect(await place.rows({ timeline: branch })).toEqual(["common", "second"]);
    });

    it("local: the second goes on as the new head, and the first's line is kept", async () => {
      await using place = new Place();
      const { first, second, timeline } = await copied(place, order);
      const stream = await second.stream({ onDivergence: "local" });
      expect(stream.events.find(({ type }) => type === "started")).toMatchObject({
        continued: false,
        parent: { timeline, txid: 1n },
      });
      await stream.flush();
      await stream.waitFor("base-stored");
      await stream.stop();
      expect(await place.rows()).toEqual(["common", "second"]);
      expect(await place.rows({ timeline })).toEqual(["common", "first"]);
      // And now it is the first that has what the store's head lacks: nothing of it is nowhere else.
      const stored = listing(place.replica);
      expect(await refusalOf(first)).toMatchObject({ code: "LOCAL_DIVERGED" });
      expect(listing(place.replica)).toEqual(stored);
    });
  },
);

it("a volume copied while the original runs: the copy waits, nobody is fenced, and then it is behind", async () => {
  await using place = new Place();
  const original = place.host("original");
  original.write("one");
  const stream = await original.stream();
  await stream.flush();
  const copy = original.copyTo("copy");
  const waiting = copy.launchStream({}, { leaseIntervalMs: 3_000 });
  await waiting.waitFor("waiting");
  original.write("two");
  expect(await stream.stop()).toMatchObject({ released: true });
  await expect(waiting.started).rejects.toMatchObject({ code: "LOCAL_BEHIND" });
  expect(stream.events.filter(({ type }) => type === "fenced")).toEqual([]);
  const { epochs } = await listReplica({ replica: place.replica });
  expect(epochs).toHaveLength(1);
});

describe("clones that share their identity, and start in the same moment from the same position", () => {
  /** Makes the copy believe that it is the original: its notes name itself. */
  function giveIdentity(host: Host): void {
    const path = join(host.spool, "nonces.json");
    const content = JSON.parse(readFileSync(path, "utf8")) as { installation: object };
    const { ino, birthtimeNs } = statSync(host.spool, { bigint: true });
    const installation = {
      ...content.installation,
      spoolInode: String(ino),
      spoolBornAt: String(birthtimeNs),
    };
    writeFileSync(path, JSON.stringify({ ...content, installation }));
  }

  it("the later one meets the other's file under its TXID, and begins a timeline of its own; nothing is lost", async () => {
    await using place = new Place();
    const a = place.host("a");
    a.write("common");
    const engine = await a.streamInChild();
    const { timeline } = await engine.flush();
    await engine.kill();
    const b = a.copyTo("b");
    giveIdentity(b);
    // Both have read the same epochs; the later one takes its own only now.
    const gate = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    const store = new FaultyStore(new DirectoryStore(place.replica), ({ operation, key }) => {
      if (operation !== "putIfAbsent" || !key.startsWith("epochs/")) return undefined;
      asked.resolve();
      return { kind: "delay", wait: () => gate.promise };
    });
    const later = b.launchStream({}, { store });
    await asked.promise;
    const earlier = await a.stream({}, { leaseIntervalMs: 500 });
    expect(earlier.events[0]).toMatchObject({ type: "started", continued: true, timeline });
    a.write("a1");
    await earlier.flush();
    gate.resolve();
    await later.started;
    b.write("b1");
    const { timeline: latest } = await later.flush();
    expect(latest).not.toBe(timeline);
    await earlier.waitFor("fenced");
    a.write("a2");
    const { timeline: branch } = await earlier.flush();
    await Promise.all([earlier.stop(), later.stop()]);
    expect(await place.rows()).toEqual(["common", "b1"]);
    expect(await place.rows({ timeline: branch })).toEqual(["common", "a1", "a2"]);
    expect(await place.rows({ timeline })).toEqual(["common", "a1"]);
  });

  it("a clone that was taken before the original's last start waits like a stranger", async () => {
    await using place = new Place();
    const a = place.host("a");
    a.write("common");
    await (await a.streamInChild()).kill();
    const b = a.copyTo("b");
    giveIdentity(b);
    await a.stream();
    await expect(b.stream({ ifHeld: "refuse" })).rejects.toMatchObject({ code: "HELD" });
  });
});

describe("a database without state of ours, and another content in the store", () => {
  it("is stored whole as a branch and refused; a second start stores nothing; either side can be chosen", async () => {
    await using place = new Place();
    const other = place.host("other");
    other.write("theirs");
    const { position } = await (await other.stream()).stop();
    const host = place.host("a");
    host.write("ours");
    expect(await refusalOf(host)).toMatchObject({ code: "LOCAL_DIVERGED" });
    const branch = await branchOf(place);
    const kept = await place.restored({ timeline: branch });
    expect(await readDatabaseImage(kept.path)).toEqual(await readDatabaseImage(host.database));
    expect(await place.rows()).toEqual(["theirs"]);
    const stored = listing(place.replica);
    expect(await refusalOf(host)).toMatchObject({ code: "LOCAL_DIVERGED" });
    expect(listing(place.replica)).toEqual(stored);
    const stream = await host.stream({ onDivergence: "local" });
    // Nothing was committed since, so that the base is the first file of the new line.
    await stream.waitFor("base-stored");
    await stream.stop();
    expect(await place.rows()).toEqual(["ours"]);
    expect(await place.rows({ timeline: position?.timeline ?? "" })).toEqual(["theirs"]);
  });
});

it("captures that nobody confirmed before somebody else took over: they are stored as a branch", async () => {
  await using place = new Place();
  const a = place.host("a");
  let isAway = false;
  const store = new FaultyStore(new DirectoryStore(place.replica), (call) =>
    isAway && isUpload(call) ? { kind: "error-before", code: "UNREACHABLE" } : undefined,
  );
  a.write("common");
  const stream = await a.stream({}, { store });
  await stream.flush();
  isAway = true;
  a.write("captured");
  await stream.waitFor("captured", ({ txid }) => txid === 2n);
  await stream.stop({ timeoutMs: 1 });
  const b = place.host("b");
  await b.prepare({ ifHeld: "take-over" });
  const other = await b.stream({ ifHeld: "take-over" });
  b.write("b1");
  await other.stop();
  expect(await refusalOf(a)).toMatchObject({ code: "LOCAL_DIVERGED" });
  expect(await place.rows({ timeline: await branchOf(place) })).toEqual(["common", "captured"]);
  expect(await place.rows()).toEqual(["common", "b1"]);
});

it("the same without the database: what the spool holds is stored as a branch before the store's is restored, if it takes two starts", async () => {
  await using place = new Place();
  const a = place.host("a");
  let isAway = false;
  const store = new FaultyStore(new DirectoryStore(place.replica), (call) =>
    isAway && isUpload(call) ? { kind: "error-before", code: "UNREACHABLE" } : undefined,
  );
  a.write("common");
  const stream = await a.stream({}, { store });
  await stream.flush();
  isAway = true;
  for (const [index, row] of ["captured", "and more"].entries()) {
    a.write(row);
    await stream.waitFor("captured", ({ txid }) => txid === BigInt(2 + index));
  }
  await stream.stop({ timeoutMs: 1 });
  const b = place.host("b");
  await b.prepare({ ifHeld: "take-over" });
  const other = await b.stream({ ifHeld: "take-over" });
  b.write("b1");
  await other.stop();
  a.deleteDatabase();
  let uploadCount = 0;
  const refusing = new FaultyStore(new DirectoryStore(place.replica), (call) => {
    if (isUpload(call)) uploadCount += 1;
    return uploadCount === 2 ? { kind: "error-before", code: "FORBIDDEN" } : undefined;
  });
  await expect(a.prepare({}, { store: refusing })).rejects.toMatchObject({ code: "FORBIDDEN" });
  expect(await a.prepare()).toMatchObject({ outcome: "restored" });
  expect(a.rows()).toEqual(["common", "b1"]);
  const { timelines } = await listReplica({ replica: place.replica });
  const branches = timelines.filter(({ role }) => role === "branch");
  const kept = await Promise.all(branches.map(({ timeline }) => place.rows({ timeline })));
  expect(kept).toContainEqual(["common", "captured", "and more"]);
});
