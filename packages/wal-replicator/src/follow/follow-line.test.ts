import { CountingStore } from "@vaultwarden-stream/object-store";
import { describe, expect, it } from "vitest";
import { takeEpoch } from "../replica/epoch.ts";
import { recordFor } from "../replica/epoch-testing.ts";
import type { TimelineChangedEvent } from "./follow-events.ts";
import {
  expectVerbatim,
  FollowPlace,
  OpenReader,
  reaches,
  readRows,
  type TestFollower,
} from "./follower-testing.ts";

/** A place whose follower looks for something else than the next file at every second poll. */
function startLooking(place: FollowPlace): TestFollower {
  return place.start({ pollIntervalMs: 40_000 });
}

function changes(follower: TestFollower): TimelineChangedEvent[] {
  return follower.events.filter((event) => event.type === "timeline-changed");
}

describe("a change of the writer", () => {
  it("is followed from the TXID where the new timeline branches off", async () => {
    await using place = new FollowPlace();
    const { source } = place;
    const before = await source.begin();
    await source.shipMany(3);
    const follower = startLooking(place);
    await reaches(follower, 3);
    const after = await source.begin("b", 3);
    // The new writer has nothing yet: the copy stays, and waits for its first file.
    await expect.poll(() => place.sleepCount).toBeGreaterThan(30);
    expect(follower.status()).toMatchObject({ timeline: before, txid: 3n, failure: undefined });
    const image = await source.shipMany(2);
    await reaches(follower, 5);
    expect(changes(follower)).toEqual([
      { type: "timeline-changed", from: before, to: after, txid: 3n },
    ]);
    expect(follower.events.map(({ type }) => type)).toContain("applied");
    expect(follower.events.filter(({ type }) => type === "copy-restoring")).toHaveLength(1);
    await follower.stop();
    expectVerbatim(place, image);
  });

  it("that was missed is caught up with, up to the branch and on from there", async () => {
    await using place = new FollowPlace();
    const { source } = place;
    const before = await source.begin();
    await source.shipMany(2);
    const first = place.start();
    await reaches(first, 2);
    await first.stop();
    const branch = await source.shipMany(2);
    // The overtaken writer's tail, which is no part of the line.
    await source.shipMany(2, 90);
    source.database.exec("DELETE FROM t WHERE id > 12");
    source.rewind(branch, 4);
    const after = await source.begin("b", 4);
    await source.shipMany(1);
    await source.begin("c", 5);
    const image = await source.shipMany(2);
    const second = place.start();
    await reaches(second, 7);
    expect(second.status().timeline).toBe(source.timeline);
    expect(changes(second)).toMatchObject([{ from: before, to: source.timeline, txid: 5n }]);
    expect(after).not.toBe(source.timeline);
    expect(second.events.map(({ type }) => type)).not.toContain("copy-restoring");
    await second.stop();
    expectVerbatim(place, image);
  });

  it("stops the copy at the branch point while the new writer has no file", async () => {
    await using place = new FollowPlace();
    const { source } = place;
    const before = await source.begin();
    await source.shipMany(2);
    const follower = startLooking(place);
    await reaches(follower, 2);
    await place.whileAsleep(async () => {
      const branch = await source.shipMany(2);
      await source.shipMany(2);
      source.database.exec("DELETE FROM t WHERE id > 12");
      await source.begin("b", 4);
      source.rewind(branch, 4);
      // The listing is what sees the epoch and the files at once.
      place.elapse(600_000);
    });
    await reaches(follower, 4);
    await expect.poll(() => place.sleepCount).toBeGreaterThan(60);
    expect(follower.status()).toMatchObject({ timeline: before, txid: 4n, failure: undefined });
    const image = await source.shipMany(1);
    await reaches(follower, 5);
    expect(follower.events.filter(({ type }) => type === "copy-restoring")).toHaveLength(1);
    await follower.stop();
    expectVerbatim(place, image);
  });

  it("behind what the copy has leads to a restore in place, once the new writer has a file", async () => {
    await using place = new FollowPlace();
    const { source } = place;
    const before = await source.begin();
    const branch = await source.shipMany(3);
    await source.shipMany(3);
    const follower = startLooking(place);
    await reaches(follower, 6);
    using reader = new OpenReader(place.copy);
    expect(readRows(reader.database).rows).toBe(18);
    source.database.exec("DELETE FROM t WHERE id > 9");
    source.rewind(branch, 3);
    const after = await source.begin("b", 3);
    await expect.poll(() => place.sleepCount).toBeGreaterThan(30);
    expect(follower.status()).toMatchObject({ timeline: before, txid: 6n, failure: undefined });
    const image = await source.shipMany(1);
    await expect.poll(() => follower.status().timeline).toBe(after);
    await reaches(follower, 4);
    expect(follower.events).toContainEqual(
      expect.objectContaining({ type: "copy-restoring", reason: "diverged" }),
    );
    expect(readRows(reader.database)).toEqual(readRows(source.database));
    await follower.stop();
    expectVerbatim(place, image);
  });

  it("to a line that has nothing of the copy's leads to a restore in place, with other pages too", async () => {
    await using place = new FollowPlace();
    await place.source.begin();
    await place.source.shipMany(3, 40);
    const follower = startLooking(place);
    await reaches(follower, 3);
    using reader = new OpenReader(place.copy);
    expect(readRows(reader.database).rows).toBe(120);
    await using other = new FollowPlace({ pageSize: 512 });
    other.source.root = place.source.root;
    await other.source.begin("b");
    const image = await other.source.shipMany(2);
    await expect.poll(() => follower.status().timeline).toBe(other.source.timeline);
    expect(follower.events).toContainEqual(
      expect.objectContaining({ type: "copy-restoring", reason: "other-line" }),
    );
    expect(readRows(reader.database)).toEqual(readRows(other.source.database));
    await follower.stop();
    expectVerbatim(place, image);
  });

  it("in the same timeline changes nothing, and branches claim nothing", async () => {
    await using place = new FollowPlace();
    const { source } = place;
    const timeline = await source.begin();
    await source.shipMany(1);
    const store = new CountingStore(place.store);
    const follower = place.start({ pollIntervalMs: 40_000, over: store });
    await reaches(follower, 1);
    const { root } = source;
    await takeEpoch(root, { kind: "exclusive" }, recordFor("b", { kind: "branch", parent: null }));
    const goesOn = (epoch: number) => ({ ...recordFor("c", { parent: null })(epoch), timeline });
    await takeEpoch(root, { kind: "exclusive" }, goesOn);
    const before = place.sleepCount;
    await expect.poll(() => place.sleepCount - before).toBeGreaterThan(20);
    const image = await source.shipMany(1);
    await reaches(follower, 2);
    expect(follower.events.filter(({ type }) => type === "copy-restoring")).toHaveLength(1);
    await follower.stop();
    expectVerbatim(place, image);
  });

  it("is seen in listings where epochs have no number of their own", async () => {
    await using place = new FollowPlace();
    const { source } = place;
    const { root } = source;
    const mode = { kind: "detected", alsoPlain: false } as const;
    source.timeline = (await takeEpoch(root, mode, recordFor("a", { parent: null }))).timeline;
    await source.shipMany(2);
    const follower = startLooking(place);
    await reaches(follower, 2);
    const parent = { timeline: source.timeline, txid: 2n };
    const make = recordFor("b", { parent } as never);
    source.timeline = (await takeEpoch(root, mode, make)).timeline;
    await source.shipMany(1);
    await reaches(follower, 3);
    expect(follower.status().timeline).toBe(source.timeline);
  });

  it("is nothing to a follower of a named timeline", async () => {
    await using place = new FollowPlace();
    const { source } = place;
    const timeline = await source.begin();
    const branch = await source.shipMany(3);
    const follower = place.start({ pollIntervalMs: 40_000, timeline });
    await reaches(follower, 3);
    await source.begin("b", 3);
    await source.shipMany(2);
    const before = place.sleepCount;
    await expect.poll(() => place.sleepCount - before).toBeGreaterThan(30);
    expect(follower.status()).toMatchObject({ timeline, txid: 3n, failure: undefined });
    await follower.stop();
    expectVerbatim(place, branch);
  });
});
