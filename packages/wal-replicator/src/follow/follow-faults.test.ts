import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { type Fault, FaultyStore, type StoreCall } from "@vaultwarden-stream/object-store";
import BetterSqlite3 from "better-sqlite3";
import { describe, expect, it } from "vitest";
import { encodeTestLtx } from "../replica/encode-test-ltx.ts";
import { ReplicaError } from "../replica/replica-error.ts";
import { spoolDirectory } from "../ship/spool.ts";
import {
  expectVerbatim,
  FollowPlace,
  OpenReader,
  reaches,
  readRows,
  says,
} from "./follower-testing.ts";

/** A store whose next faults a test decides as it goes. */
function faulty(place: FollowPlace): {
  over: FaultyStore;
  fault: (call: StoreCall) => Fault | undefined;
} {
  const plan = {
    over: undefined as unknown as FaultyStore,
    fault: (_: StoreCall): Fault | undefined => undefined,
  };
  plan.over = new FaultyStore(place.store, (call) => plan.fault(call));
  return plan;
}

describe("a store that fails", () => {
  it("is reported once, waited for, and gone on with", async () => {
    await using place = new FollowPlace();
    const { source } = place;
    await source.begin();
    await source.shipMany(1);
    const plan = faulty(place);
    const follower = place.start({ over: plan.over });
    await reaches(follower, 1);
    plan.fault = () => ({ kind: "error-before", code: "UNREACHABLE" });
    expect(await says(follower, "follow-failing")).toMatchObject({ code: "UNREACHABLE" });
    await source.shipMany(1);
    const before = place.sleepCount;
    await expect.poll(() => place.sleepCount - before).toBeGreaterThan(10);
    expect(follower.status()).toMatchObject({
      state: "failing",
      txid: 1n,
      failure: { code: "UNREACHABLE" },
    });
    expect(follower.status().lagMs).toBeGreaterThan(60_000);
    plan.fault = () => undefined;
    await reaches(follower, 2);
    await says(follower, "follow-recovered");
    expect(follower.events.filter(({ type }) => type === "follow-failing")).toHaveLength(1);
  });

  it("that does not answer at all is a stall, said beside the request that hangs", async () => {
    await using place = new FollowPlace();
    await place.source.begin();
    await place.source.shipMany(1);
    const plan = faulty(place);
    const follower = place.start({ over: plan.over });
    await reaches(follower, 1);
    let release: () => void = () => {};
    const hanging = new Promise<void>((resolve) => {
      release = resolve;
    });
    plan.fault = ({ operation }) =>
      operation === "get" ? { kind: "delay", wait: () => hanging } : undefined;
    place.elapse(40_000);
    const { lagMs } = await says(follower, "follow-stalled");
    expect(lagMs).toBeGreaterThanOrEqual(30_000);
    expect(follower.status().lagMs).toBeGreaterThanOrEqual(lagMs);
    plan.fault = () => undefined;
    release();
    await says(follower, "follow-recovered");
    expect(follower.status()).toMatchObject({ state: "following", failure: undefined });
  });

  it("before there is a copy ends the follower", async () => {
    await using place = new FollowPlace();
    const follower = place.start();
    await expect(follower.ready).rejects.toMatchObject({ code: "NOTHING_TO_RESTORE" });
    await expect(follower.done).rejects.toMatchObject({ code: "NOTHING_TO_RESTORE" });
  });
});

describe("a damaged file", () => {
  it("is an error, and the copy stays at its last good state until the file is whole", async () => {
    await using place = new FollowPlace();
    const { source } = place;
    await source.begin();
    await source.shipMany(2);
    const plan = faulty(place);
    const follower = place.start({ over: plan.over });
    await reaches(follower, 2);
    const damagedKey = source.keyOf(0, 3, 3);
    plan.fault = ({ operation, key }) =>
      operation === "get" && key === damagedKey ? { kind: "garble-body", atByte: 200 } : undefined;
    await source.shipMany(2);
    const failing = await says(follower, "follow-failing");
    expect(failing.code).toBe("VERIFICATION_FAILED");
    const before = place.sleepCount;
    await expect.poll(() => place.sleepCount - before).toBeGreaterThan(3);
    expect(follower.status()).toMatchObject({ state: "failing", txid: 2n });
    expect(place.read()).toEqual({ rows: 6, integrity: "ok" });
    plan.fault = () => undefined;
    await reaches(follower, 4);
    expect(follower.events.filter(({ type }) => type === "copy-restoring")).toHaveLength(1);
  });

  it("is passed over where a merged one makes up for it", async () => {
    await using place = new FollowPlace();
    const { source, store } = place;
    await source.begin();
    await source.shipMany(2);
    const first = place.start();
    await reaches(first, 2);
    await first.stop();
    const image = await source.shipMany(3);
    await source.compact(1, 3, 4, false);
    await source.compact(2, 3, 5, false);
    await store.put(source.keyOf(2, 3, 5), Buffer.alloc(500, 7));
    const second = place.start();
    await reaches(second, 5);
    expect(await says(second, "follow-failing")).toMatchObject({ code: "VERIFICATION_FAILED" });
    expect(second.events.map(({ type }) => type)).not.toContain("copy-restoring");
    await second.stop();
    expectVerbatim(place, image);
  });

  it("that claims a larger database than it has pages for is refused, and makes nothing larger", async () => {
    await using place = new FollowPlace();
    const { source, store } = place;
    await source.begin();
    const image = await source.shipMany(2);
    const follower = place.start();
    await reaches(follower, 2);
    const pages = new Map([[2, image.subarray(4096, 8192)]]);
    const hostile = encodeTestLtx({ pageSize: 4096, min: 3, commit: 0xffff_ffff, pages });
    await store.put(source.keyOf(0, 3, 3), hostile);
    expect(await says(follower, "follow-failing")).toMatchObject({ code: "CHAIN_BROKEN" });
    expect(follower.status().txid).toBe(2n);
    expect(statSync(place.copy).size).toBe(image.length);
    expect(place.read()).toEqual({ rows: 6, integrity: "ok" });
  });

  it("that is whole and is not of this database is not applied", async () => {
    await using place = new FollowPlace();
    const { source } = place;
    await source.begin();
    await source.shipMany(2);
    const follower = place.start();
    await reaches(follower, 2);
    source.write(1);
    await source.ship({ recorded: "8000000000000001" });
    expect(await says(follower, "follow-failing")).toMatchObject({ code: "VERIFICATION_FAILED" });
    expect(follower.events).toContainEqual(
      expect.objectContaining({ type: "copy-restoring", reason: "checksum" }),
    );
    expect(follower.status().txid).toBe(2n);
    expect(place.read()).toEqual({ rows: 6, integrity: "ok" });
    // Each attempt would be a whole restore: they are far between.
    const before = place.sleepCount;
    await expect.poll(() => place.sleepCount - before).toBeGreaterThan(30);
    expect(follower.events.filter(({ type }) => type === "copy-restoring").length).toBeLessThan(8);
  });
});

describe("a transaction that fails on the way", () => {
  it.each([
    "state-written",
    "journal-written",
    "journal-hot",
    "half-written",
    "pages-written",
    "committed",
  ] as const)("at %s is undone or done, and the copy goes on", async (point) => {
    await using place = new FollowPlace();
    const { source } = place;
    await source.begin();
    await source.shipMany(2, 30);
    let isFailing = false;
    const follower = place.start({
      at: (reached) => {
        if (!isFailing || reached !== point) return;
        isFailing = false;
        throw new ReplicaError("TARGET_UNWRITABLE", "the disk is full", {
          hint: "Free some space.",
        });
      },
    });
    await reaches(follower, 2);
    using reader = new OpenReader(place.copy);
    expect(readRows(reader.database).rows).toBe(60);
    isFailing = true;
    await source.shipMany(1, 200);
    expect(await says(follower, "follow-failing")).toMatchObject({ code: "TARGET_UNWRITABLE" });
    await reaches(follower, 3);
    expect(readRows(reader.database)).toEqual({ rows: 260, integrity: "ok" });
    source.database.exec("DELETE FROM t WHERE id > 4; VACUUM");
    const image = await source.ship();
    await reaches(follower, 4);
    expect(readRows(reader.database)).toEqual({ rows: 4, integrity: "ok" });
    await follower.stop();
    expectVerbatim(place, image);
  });
});

describe("the copy", () => {
  it("that a disk changed is restored anew, loudly", async () => {
    await using place = new FollowPlace();
    const { source } = place;
    await source.begin();
    const image = await source.shipMany(2, 60);
    await endWithReader(place);
    const bytes = readFileSync(place.copy);
    bytes[bytes.length - 100] = (bytes[bytes.length - 100] as number) ^ 1;
    writeFileSync(place.copy, bytes);
    const second = place.start();
    await second.ready;
    expect(second.events).toContainEqual(
      expect.objectContaining({ type: "copy-restoring", reason: "damaged-copy" }),
    );
    expect(place.read()).toEqual({ rows: 120, integrity: "ok" });
    await second.stop();
    expectVerbatim(place, image);
  });

  it.each([
    ["rows were written", (path: string) => execute(path, "DELETE FROM t WHERE id = 1")],
    ["its journal mode was changed", (path: string) => execute(path, "PRAGMA journal_mode = wal")],
    ["another file lies there", (path: string) => writeFileSync(`${path}.new`, readFileSync(path))],
    [
      "its header was put back",
      (path: string, image: Uint8Array) => {
        const bytes = readFileSync(path);
        bytes.set(image.subarray(0, 100));
        writeFileSync(path, bytes);
      },
    ],
    ["it was moved away", (path: string) => renameSync(path, `${path}.old`)],
    ["a WAL lies beside it", (path: string) => appendFileSync(`${path}-wal`, "frames")],
  ])("is not touched any more while it is followed if %s", async (_, change) => {
    await using place = new FollowPlace();
    const { source } = place;
    await source.begin();
    const image = await source.shipMany(2);
    const follower = place.start();
    await reaches(follower, 2);
    change(place.copy, image);
    const replaced = `${place.copy}.new`;
    try {
      renameSync(replaced, place.copy);
    } catch (error) {
      expect((error as NodeJS.ErrnoException).code).toBe("ENOENT");
    }
    const left = readOrNothing(place.copy);
    await source.shipMany(1);
    await expect(follower.done).rejects.toMatchObject({ code: "COPY_CHANGED" });
    expect(readOrNothing(place.copy)).toEqual(left);
  });

  it.each([
    ["rows were written", (path: string) => execute(path, "DELETE FROM t WHERE id = 1")],
    [
      "it is another database",
      (path: string) => {
        rmSync(path);
        execute(path, "CREATE TABLE other (y)");
      },
    ],
    ["it is none", (path: string) => writeFileSync(path, "my thesis")],
    ["a WAL lies beside it", (path: string) => writeFileSync(`${path}-wal`, "frames")],
  ])(
    "is not followed on if %s meanwhile, and replaced only where that is asked for",
    async (_, change) => {
      await using place = new FollowPlace();
      const { source } = place;
      await source.begin();
      const image = await source.shipMany(2);
      const first = place.start();
      await reaches(first, 2);
      await first.stop();
      change(place.copy);
      const left = readFileSync(place.copy);
      const refused = place.start();
      await expect(refused.ready).rejects.toMatchObject({ code: "COPY_CHANGED" });
      expect(readFileSync(place.copy)).toEqual(left);
      const overwriting = place.start({ overwrite: true });
      await reaches(overwriting, 2);
      await overwriting.stop();
      expectVerbatim(place, image);
    },
  );

  it("is not made out of a database that was there, nor beside a stream's spool", async () => {
    await using place = new FollowPlace();
    await place.source.begin();
    await place.source.shipMany(1);
    writeFileSync(place.copy, "something");
    await expect(place.start().ready).rejects.toMatchObject({ code: "TARGET_EXISTS" });
    expect(readFileSync(place.copy, "utf8")).toBe("something");
    mkdirSync(spoolDirectory(place.copy));
    const overwriting = place.start({ overwrite: true });
    await expect(overwriting.ready).rejects.toMatchObject({ code: "COPY_CHANGED" });
    expect(readFileSync(place.copy, "utf8")).toBe("something");
  });

  it("has one follower", async () => {
    await using place = new FollowPlace();
    await place.source.begin();
    await place.source.shipMany(1);
    const first = place.start();
    await first.ready;
    await expect(place.start().ready).rejects.toMatchObject({ code: "COPY_IN_USE" });
    expect(first.status().state).toBe("following");
  });

  it("waits for a reader that holds it, says so, and goes on", async () => {
    await using place = new FollowPlace();
    const { source } = place;
    await source.begin();
    await source.shipMany(1);
    const follower = place.start();
    await follower.ready;
    using reader = new OpenReader(place.copy);
    reader.database.exec("BEGIN");
    expect(readRows(reader.database).rows).toBe(3);
    await source.shipMany(1);
    await says(follower, "copy-blocked");
    expect(follower.status()).toMatchObject({ state: "blocked", txid: 1n });
    expect(readRows(reader.database).rows).toBe(3);
    reader.database.exec("COMMIT");
    await reaches(follower, 2);
    expect(follower.status().state).toBe("following");
    expect(readRows(reader.database).rows).toBe(6);
  });

  it("that readers hold at the end keeps the header of a followed one, and is followed on", async () => {
    await using place = new FollowPlace();
    const { source } = place;
    await source.begin();
    await source.shipMany(2);
    await endWithReader(place);
    const second = place.start();
    await reaches(second, 2);
    expect(second.events[0]).toMatchObject({ type: "copy-opened", txid: 2n });
    const image = await source.shipMany(1);
    await reaches(second, 3);
    expect(await second.stop()).toMatchObject({ txid: 3n, isVerbatim: true });
    expectVerbatim(place, image);
  });
});

/** A follower's end while a reader holds the copy: it stays in the form of a followed one. */
async function endWithReader(place: FollowPlace): Promise<void> {
  const follower = place.start();
  await reaches(follower, 2);
  using reader = new OpenReader(place.copy);
  reader.database.exec("BEGIN");
  expect(readRows(reader.database).integrity).toBe("ok");
  expect(await follower.stop()).toMatchObject({ txid: 2n, isVerbatim: false });
}

function execute(path: string, sql: string): void {
  const database = new BetterSqlite3(path);
  database.exec(sql);
  database.close();
}

function readOrNothing(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined; // it was moved away
  }
}
