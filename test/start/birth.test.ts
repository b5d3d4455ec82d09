/** A timeline that branches off: its increments restore over the parent at once, its base makes its directory a replica of its own. */
import { readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DirectoryStore, FaultyStore } from "@vaultwarden-stream/object-store";
import {
  checkWorkloadDatabase,
  readDatabaseImage,
  startWorkload,
} from "@vaultwarden-stream/testkit";
import BetterSqlite3 from "better-sqlite3";
import { expect, it } from "vitest";
import { restoreIntoPlace, type Txid } from "wal-replicator";
import { type Host, Place } from "./place.ts";

/** A host whose next start begins a timeline behind TXID 2 of its first one. */
async function aboutToBranch(
  place: Place,
): Promise<{ readonly host: Host; readonly parent: string }> {
  const host = place.host("a");
  host.write("one");
  const stream = await host.stream();
  await stream.flush();
  host.write("two");
  const { timeline } = await stream.flush();
  host.write("mistake");
  await stream.stop({ applicationEnded: true });
  await restoreIntoPlace({ database: host.database, replica: place.replica, txid: 2n as Txid });
  return { host, parent: timeline };
}

function files(place: Place, timeline: string, level: number): string[] {
  try {
    const directory = join(place.timelineDirectory(timeline), "ltx", String(level));
    return readdirSync(directory).filter((name) => name.endsWith(".ltx"));
  } catch {
    return [];
  }
}

/** Nothing but the timeline's own directory is there. */
async function rowsAlone(place: Place, timeline: string, parent: string): Promise<string[]> {
  const away = join(place.directory, "parent-away");
  renameSync(place.timelineDirectory(parent), away);
  try {
    return await place.rows({ timeline });
  } finally {
    renameSync(away, place.timelineDirectory(parent));
  }
}

it("increments restore over the parent before the base is stored, and without it afterwards", async () => {
  await using place = new Place();
  const { host, parent } = await aboutToBranch(place);
  const gate = Promise.withResolvers<void>();
  const store = new FaultyStore(new DirectoryStore(place.replica), ({ key }) =>
    key.includes("/ltx/9/") ? { kind: "delay", wait: () => gate.promise } : undefined,
  );
  const stream = await host.stream({}, { store });
  host.write("three");
  const { timeline } = await stream.flush();
  expect(files(place, timeline, 0)).toEqual(["0000000000000003-0000000000000003.ltx"]);
  expect(files(place, timeline, 9)).toEqual([]);
  expect(await place.rows()).toEqual(["one", "two", "three"]);
  expect(await place.rows({ timeline })).toEqual(["one", "two", "three"]);
  await expect(rowsAlone(place, timeline, parent)).rejects.toMatchObject({ name: "ReplicaError" });

  gate.resolve();
  const base = await stream.waitFor("base-stored");
  expect(files(place, timeline, 9)).toHaveLength(1);
  expect(base.key).toContain(files(place, timeline, 9)[0]);
  host.write("four");
  await stream.stop();
  expect(await rowsAlone(place, timeline, parent)).toEqual(["one", "two", "three", "four"]);
  expect(readdirSync(join(host.spool, timeline)).filter((name) => name.endsWith(".tmp"))).toEqual(
    [],
  );
});

it("a base that the store refuses is tried again, and nothing waits for it", async () => {
  await using place = new Place();
  const { host, parent } = await aboutToBranch(place);
  const store = new FaultyStore(new DirectoryStore(place.replica), ({ key, nth }) =>
    key.includes("/ltx/9/") && nth === 1 ? { kind: "error-before", code: "FORBIDDEN" } : undefined,
  );
  const stream = await host.stream({}, { store });
  expect(await stream.waitFor("base-failing")).toMatchObject({ code: "FORBIDDEN" });
  host.write("three");
  const { timeline } = await stream.flush();
  expect(await place.rows()).toEqual(["one", "two", "three"]);
  await stream.waitFor("base-stored");
  await stream.stop();
  expect(await rowsAlone(place, timeline, parent)).toEqual(["one", "two", "three"]);
});

it.each([
  ["before anything is captured", "timeline-entered", 1],
  ["when its first increment is stored", "marked", 1],
] as const)(
  "SIGKILL %s: the next start goes on in it and builds the base",
  async (_, crashAt, nth) => {
    await using place = new Place();
    const { host, parent } = await aboutToBranch(place);
    host.write("three");
    const engine = await host.launch({ crashAt, crashNth: nth });
    expect(await engine.exited).toMatchObject({ signal: "SIGKILL" });
    const stream = await host.stream();
    const started = stream.events[0];
    expect(started).toMatchObject({
      type: "started",
      continued: true,
      parent: { timeline: parent },
    });
    await stream.waitFor("base-stored");
    host.write("four");
    const { timeline } = await stream.flush();
    await stream.stop();
    expect(await rowsAlone(place, timeline, parent)).toEqual(["one", "two", "three", "four"]);
  },
);

it("SIGKILL before the full copy of a new timeline is captured: its TXIDs go on behind the parent's", async () => {
  await using place = new Place();
  const host = place.host("a");
  host.write("one");
  const { position } = await (await host.stream()).stop({ applicationEnded: true });
  const app = new BetterSqlite3(host.database);
  app.pragma("journal_mode = delete");
  app.pragma("page_size = 8192");
  app.exec("VACUUM");
  app.pragma("journal_mode = wal");
  app.close();
  const engine = await host.launch({ crashAt: "timeline-entered" });
  expect(await engine.exited).toMatchObject({ signal: "SIGKILL" });
  const stream = await host.stream();
  expect(stream.events[0]).toMatchObject({
    type: "started",
    continued: true,
    parent: { timeline: position?.timeline, txid: 1n },
  });
  const { timeline } = await stream.flush();
  await stream.stop();
  expect(files(place, timeline, 9)).toEqual(["0000000000000001-0000000000000002.ltx"]);
  expect(files(place, timeline, 0)).toEqual([]);
  expect(await rowsAlone(place, timeline, position?.timeline ?? "")).toEqual(["one"]);
});

it("a base that is built under constant writes has exactly the content of its TXID", async () => {
  await using place = new Place();
  const host = place.host("a");
  const writer = await startWorkload({
    databasePath: host.database,
    seed: 7,
    paused: true,
    walAutocheckpoint: "random",
  });
  place.atEnd(() => writer.kill());
  await writer.bigTransaction(2_000_000);
  const first = await host.streamInChild();
  const { timeline: parent } = await first.flush();
  await first.kill();
  // Without its state the database is compared, found equal, and goes on in a timeline of its own.
  rmSync(host.spool, { recursive: true });
  const engine = await host.streamInChild({
    ifHeld: "take-over",
    checkpointPolicy: { passiveFrames: 20, barrierBytes: 60 * 4_120 },
  });
  writer.resume();
  const { txid } = await engine.waitFor("base-stored");
  const committed = await writer.pause();
  const { timeline } = await engine.flush();
  await engine.stop(false);
  // The same TXID, over the parent without the base, and from the base alone.
  const base = join(place.timelineDirectory(timeline), "ltx", "9");
  renameSync(base, join(place.directory, "base-away"));
  const over = await place.restored({ timeline, txid });
  expect(over.result.files.some((file) => file.timeline === parent)).toBe(true);
  renameSync(join(place.directory, "base-away"), base);
  renameSync(place.timelineDirectory(parent), join(place.directory, "parent-away"));
  const alone = await place.restored({ timeline, txid });
  expect(alone.result.files.map(({ level }) => level)).toEqual([9]);
  expect(await readDatabaseImage(alone.path)).toEqual(await readDatabaseImage(over.path));
  const newest = await place.restored({ timeline });
  expect(await checkWorkloadDatabase(newest.path)).toMatchObject({
    problems: [],
    lastCommitId: committed,
  });
});
