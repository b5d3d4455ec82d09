import { readdirSync } from "node:fs";
import { join } from "node:path";
import { CountingStore, noCounts } from "@vaultwarden-stream/object-store";
import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { type EpochLease, encodeEpochLease } from "../replica/epoch-record.ts";
import { recordFor } from "../replica/epoch-testing.ts";
import {
  expectVerbatim,
  FollowPlace,
  OpenReader,
  reaches,
  readRows,
  says,
} from "./follower-testing.ts";

describe("a follower", () => {
  it("restores a copy that is not there, applies what arrives, and leaves it byte-equal to a restore", async () => {
    await using place = new FollowPlace();
    const { source } = place;
    await source.begin();
    await source.shipMany(3);
    const follower = place.start();
    await follower.ready;
    expect(place.read()).toEqual({ rows: 9, integrity: "ok" });
    await source.shipMany(4);
    await reaches(follower, 7);
    expect(place.read()).toEqual({ rows: 21, integrity: "ok" });
    const image = await source.shipMany(1);
    await reaches(follower, 8);
    expect(await follower.stop()).toMatchObject({
      timeline: source.timeline,
      txid: 8n,
      isVerbatim: true,
    });
    expect(follower.status().state).toBe("stopped");
    expectVerbatim(place, image);
    expect(readdirSync(place.directory).filter((name) => name.startsWith("copy"))).toEqual([
      "copy.db",
    ]);
    expect(readdirSync(join(place.directory, ".copy.db-follow")).sort()).toEqual([
      "lock",
      "state.json",
    ]);
    const types = new Set(follower.events.map(({ type }) => type));
    expect([...types]).toEqual(["copy-restoring", "copy-restored", "applied"]);
  });

  it("goes on from where it ended, without a restore", async () => {
    await using place = new FollowPlace();
    const { source } = place;
    await source.begin();
    await source.shipMany(2);
    const first = place.start();
    await reaches(first, 2);
    await source.shipMany(2);
    await reaches(first, 4);
    await first.stop();
    const image = await source.shipMany(5);
    const second = place.start();
    await reaches(second, 9);
    expect(second.events[0]).toMatchObject({ type: "copy-opened", txid: 4n });
    expect(second.events.map(({ type }) => type)).not.toContain("copy-restoring");
    await second.stop();
    expectVerbatim(place, image);
  });

  it.each([512, 4096, 65_536])(
    "shows an open reader each state, through growth, VACUUM and shrinking, with pages of %d bytes",
    async (pageSize) => {
      await using place = new FollowPlace({ pageSize });
      const { source } = place;
      await source.begin();
      await source.shipMany(1);
      const follower = place.start();
      await follower.ready;
      using reader = new OpenReader(place.copy);
      const { database } = source;
      const steps = [
        () => source.write(40, 2_000),
        () => database.exec("DELETE FROM t WHERE id % 3 > 0"),
        () => database.exec("VACUUM"),
        () => source.write(200, 900),
        () => database.exec("CREATE TABLE u (y); INSERT INTO u SELECT randomblob(700) FROM t"),
        () => database.exec("DROP TABLE u; DELETE FROM t WHERE id > 30; VACUUM"),
        () => source.write(1),
      ];
      let image: Uint8Array = new Uint8Array();
      for (const step of steps) {
        step();
        image = await source.ship();
        await reaches(follower, source.txid);
        expect(readRows(reader.database)).toEqual(readRows(database));
      }
      await follower.stop();
      expectVerbatim(place, image);
    },
  );

  it("asks the store once a poll while nothing happens, looks at epochs and leases included", async () => {
    await using place = new FollowPlace();
    const { source } = place;
    await source.begin();
    await source.shipMany(3);
    const store = new CountingStore(place.store);
    const follower = place.start({ over: store });
    await reaches(follower, 3);
    await expect.poll(() => place.sleepCount).toBeGreaterThan(5);
    Object.assign(store.counts, noCounts());
    const before = place.sleepCount;
    await expect.poll(() => place.sleepCount - before).toBeGreaterThan(1_300);
    await follower.stop();
    const { get, head, list } = store.counts;
    // One is under way when it is stopped.
    expect(get + head + list).toBeLessThanOrEqual(place.sleepCount - before + 1);
    // 1,300 s: an epoch number, or a lease, each minute, and a listing of the epochs every ten.
    expect(list).toBeLessThanOrEqual(3);
    expect(follower.events.map(({ type }) => type)).not.toContain("follow-stalled");
  });

  it("lags by no more than a poll while all is well", async () => {
    await using place = new FollowPlace();
    await place.source.begin();
    await place.source.shipMany(1);
    const follower = place.start({ pollIntervalMs: 700 });
    await reaches(follower, 1);
    await expect.poll(() => place.sleepCount).toBeGreaterThan(5);
    expect(follower.status()).toMatchObject({ state: "following", failure: undefined });
    expect(follower.status().lagMs).toBeLessThanOrEqual(1_400);
  });

  it("goes over merged files where level 0 is gone", async () => {
    await using place = new FollowPlace();
    const { source } = place;
    await source.begin();
    await source.shipMany(3);
    const first = place.start();
    await reaches(first, 3);
    await first.stop();
    await source.shipMany(7);
    // One begins before the copy's TXID: what it holds of what the copy has already does no harm.
    await source.compact(1, 2, 6);
    await source.compact(1, 7, 9);
    const image = await source.shipMany(1);
    const second = place.start();
    await reaches(second, 11);
    expect(second.events.map(({ type }) => type)).not.toContain("copy-restoring");
    await second.stop();
    expectVerbatim(place, image);
  });

  it("does not take a pruned file for one that was never there", async () => {
    await using place = new FollowPlace();
    const { source } = place;
    await source.begin();
    await source.shipMany(2);
    const follower = place.start();
    await reaches(follower, 2);
    // As if the machine had been suspended.
    await place.whileAsleep(async () => {
      place.elapse(600_000);
      await source.shipMany(4);
      await source.compact(1, 3, 6);
    });
    await reaches(follower, 6);
    expect(place.read().integrity).toBe("ok");
  });

  it("restores anew where only a snapshot bridges the gap, in place: an open reader sees it", async () => {
    await using place = new FollowPlace();
    const { source, store } = place;
    await source.begin();
    await source.shipMany(2);
    const follower = place.start();
    await reaches(follower, 2);
    using reader = new OpenReader(place.copy);
    expect(readRows(reader.database).rows).toBe(6);
    let image: Uint8Array = new Uint8Array();
    await place.whileAsleep(async () => {
      place.elapse(600_000);
      await source.shipMany(8, 50);
      await source.compact(9, 1, 9, false);
      for (let txid = 1; txid <= 9; txid += 1) await store.delete(source.keyOf(0, txid, txid));
      image = await source.shipMany(1);
    });
    await reaches(follower, 11);
    expect(follower.events).toContainEqual(
      expect.objectContaining({ type: "copy-restoring", reason: "gap" }),
    );
    expect(readRows(reader.database)).toEqual(readRows(source.database));
    await follower.stop();
    expectVerbatim(place, image);
  });

  it("says that files are missing where nothing bridges the gap, and stays where it is", async () => {
    await using place = new FollowPlace();
    const { source, store } = place;
    await source.begin();
    await source.shipMany(2);
    const first = place.start();
    await reaches(first, 2);
    await first.stop();
    await source.shipMany(3);
    await store.delete(source.keyOf(0, 3, 3));
    const follower = place.start();
    expect(await says(follower, "follow-failing")).toMatchObject({ code: "CHAIN_BROKEN" });
    expect(follower.status()).toMatchObject({ state: "failing", txid: 2n });
    expect(place.read()).toEqual({ rows: 6, integrity: "ok" });
  });

  it("follows a replica that stock Litestream writes, without epochs", async () => {
    await using place = new FollowPlace();
    const { source } = place;
    source.timeline = "";
    await source.shipMany(2);
    const follower = place.start();
    await reaches(follower, 2);
    expect(follower.status().timeline).toBe("");
    const image = await source.shipMany(3);
    await reaches(follower, 5);
    await follower.stop();
    expectVerbatim(place, image);
  });

  it.each([
    ["below the daemon's prefix", { timelinesUnder: "db/" }, undefined],
    ["in the layout of another kind of store", {}, "directory"],
  ] as const)("follows what lies %s", async (_, root, syntax) => {
    await using place = new FollowPlace();
    const { source } = place;
    source.root = { ...source.root, ...root };
    source.syntax = syntax;
    await source.begin();
    await source.shipMany(2);
    const follower = place.start();
    await reaches(follower, 2);
    const asked = place.sleepCount;
    await source.shipMany(2);
    await reaches(follower, 4);
    // Found at once, and not by a look a minute later.
    expect(place.sleepCount - asked).toBeLessThan(55);
    await source.begin("b", 4);
    const image = await source.shipMany(1);
    await reaches(follower, 5);
    await follower.stop();
    expectVerbatim(place, image);
  });

  it("believes the writer's lease that there is more than it found", async () => {
    await using place = new FollowPlace();
    const { source, store } = place;
    await source.begin();
    await source.shipMany(2);
    const follower = place.start();
    await reaches(follower, 2);
    // As a store that prunes faster than any policy: no poll can have seen it.
    await place.whileAsleep(async () => {
      await source.shipMany(3);
      await source.compact(1, 3, 5);
    });
    const nonce = `${"a".padEnd(31, "0")}1`;
    const lease = encodeEpochLease({
      ...{ nonce, renewedAt: "2026-11-24T22:00:00.000Z", txid: toTxid(5) },
      owner: recordFor("a")(1).owner,
    } as EpochLease);
    await store.put("epochs/00000001.lease.json", lease);
    await reaches(follower, 5);
    expect(follower.events.filter(({ type }) => type === "copy-restoring")).toHaveLength(1);
  });
});
