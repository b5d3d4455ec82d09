/** The rows of the start table that take time: each waits out the patience of a start, or a lease, so they run side by side. */
import { DirectoryStore, FaultyStore } from "@vaultwarden-stream/object-store";
import { describe, expect, it } from "vitest";
import { restoreIntoPlace, type Txid } from "wal-replicator";
import { type Host, listing, Place, type Stream } from "./place.ts";

/** A store that can be taken away. */
class AwayStore extends FaultyStore {
  isAway = true;

  constructor(place: Place) {
    super(new DirectoryStore(place.replica), () =>
      this.isAway ? { kind: "error-before", code: "UNREACHABLE" } : undefined,
    );
  }
}

async function streamed(host: Host, ...rows: readonly string[]): Promise<string> {
  const stream = await host.stream();
  let timeline = "";
  for (const row of rows) {
    host.write(row);
    timeline = (await stream.flush()).timeline;
  }
  await stream.stop({ applicationEnded: true });
  return timeline;
}

async function offline(host: Host, store: AwayStore): Promise<Stream> {
  const stream = await host.stream({}, { store });
  expect(stream.events.find(({ type }) => type === "started")).toMatchObject({ epoch: null });
  return stream;
}

describe.concurrent("the store does not answer", () => {
  it("no database: its error, and nothing was written anywhere", async () => {
    await using place = new Place();
    const other = place.host("other");
    other.write("zero");
    await streamed(other, "one");
    const before = listing(place.replica);
    const host = place.host("a");
    await expect(host.prepare({}, { store: new AwayStore(place) })).rejects.toMatchObject({
      code: "UNREACHABLE",
    });
    expect(listing(place.replica)).toEqual(before);
    expect(host.listing()).toEqual([]);
  });

  it("a database without state of ours: its error, and nothing was written anywhere", async () => {
    await using place = new Place();
    const host = place.host("a");
    host.write("one");
    const before = host.listing();
    await expect(host.stream({}, { store: new AwayStore(place) })).rejects.toMatchObject({
      code: "UNREACHABLE",
    });
    expect(listing(place.replica)).toEqual([]);
    expect(host.listing()).toEqual(before);
  });

  it("state of ours: it starts, spools, and catches up when the store is back", async () => {
    await using place = new Place();
    const host = place.host("a");
    host.write("zero");
    const timeline = await streamed(host, "one");
    const store = new AwayStore(place);
    const stream = await offline(host, store);
    host.write("away");
    await stream.waitFor("captured");
    expect(await stream.status()).toMatchObject({ epoch: null, timeline, waitingFiles: 1 });
    expect(await place.rows()).toEqual(["zero", "one"]);
    store.isAway = false;
    expect(await stream.waitFor("epoch-taken")).toMatchObject({ epoch: 2, timeline });
    await stream.flush();
    expect(await stream.stop()).toMatchObject({ released: true });
    expect(await place.rows()).toEqual(["zero", "one", "away"]);
  });

  it("somebody took over meanwhile: fenced when the store is back, and what was captured is kept", async () => {
    await using place = new Place();
    const host = place.host("a");
    host.write("zero");
    await streamed(host, "one");
    const store = new AwayStore(place);
    const stream = await offline(host, store);
    host.write("away");
    await stream.waitFor("captured");
    const b = place.host("b");
    await b.prepare();
    await streamed(b, "b1");
    store.isAway = false;
    expect((await stream.waitFor("fenced")).by).toMatchObject({ epoch: 2 });
    const { timeline } = await stream.flush();
    await stream.stop();
    expect(await place.rows()).toEqual(["zero", "one", "b1"]);
    expect(await place.rows({ timeline })).toEqual(["zero", "one", "away"]);
  });

  it("restored to an earlier moment: what was decided holds when the store is back", async () => {
    await using place = new Place();
    const host = place.host("a");
    host.write("zero");
    const timeline = await streamed(host, "one", "mistake");
    await restoreIntoPlace({ database: host.database, replica: place.replica, txid: 2n as Txid });
    const store = new AwayStore(place);
    const stream = await offline(host, store);
    host.write("away");
    await stream.waitFor("captured");
    store.isAway = false;
    const started = await stream.waitFor("started", ({ epoch }) => epoch !== null);
    expect(started).toMatchObject({ continued: false, parent: { timeline, txid: 2n } });
    await stream.flush();
    await stream.stop();
    expect(stream.events.filter(({ type }) => type === "fenced")).toEqual([]);
    expect(await place.rows()).toEqual(["zero", "one", "away"]);
    expect(await place.rows({ timeline })).toEqual(["zero", "one", "mistake"]);
  });
});

describe.concurrent("another owner's living lease", () => {
  it("is waited for until it is stale, and then a timeline of our own begins", async () => {
    await using place = new Place();
    const a = place.host("a");
    a.write("a1");
    const first = await a.streamInChild();
    const { timeline } = await first.flush();
    await first.kill();
    const b = a.copyTo("b");
    const waiting = b.launchStream({}, { leaseIntervalMs: 2_000 });
    const { epoch, owner, message } = await waiting.waitFor("waiting");
    expect({ epoch, pid: owner.pid }).toEqual({ epoch: 1, pid: first.pid });
    expect(message).toContain(`process ${first.pid}`);
    await waiting.started;
    expect(waiting.events.find(({ type }) => type === "started")).toMatchObject({
      continued: false,
      parent: { timeline, txid: 1n },
    });
    expect(waiting.events.filter(({ type }) => type === "waiting")).toHaveLength(1);
  });
});
