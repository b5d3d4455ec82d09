import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { cp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { listReplica } from "../list-replica.ts";
import { type Txid, toTxid } from "../ltx/txid.ts";
import { replicate } from "../replicate.ts";
import { restore } from "../restore-replica.ts";
import { badFiles, describeTimelines } from "./plan-verification.ts";
import { inReadingOrder, isInSubset } from "./read-files.ts";
import type { ReplicaVerification } from "./verification.ts";
import { type VerifyReplicaOptions, verifyReplica } from "./verify-replica.ts";

let directory: string;
let replica: string;
let temporaryDirectory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "verification-"));
  replica = join(directory, "store");
  temporaryDirectory = join(directory, "temporary");
  mkdirSync(replica);
  mkdirSync(temporaryDirectory);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function verify(options: Partial<VerifyReplicaOptions> = {}) {
  return verifyReplica({ replica, temporaryDirectory, ...options });
}

/** Streams so many commits, each a file of its own. @param end - how the stream ends. */
async function stream(
  name: string,
  commits: number,
  end: "released" | "running" = "released",
): Promise<{ timeline: string; txid: Txid; stop: () => Promise<void> }> {
  const database = join(directory, name);
  const db = new BetterSqlite3(database);
  db.pragma("journal_mode = WAL");
  db.exec("create table if not exists rows (text)");
  const replication = await replicate({
    database,
    replica,
    home: "in-process",
    Database: BetterSqlite3,
  });
  let position = await replication.flush();
  for (let count = 0; count < commits; count += 1) {
    db.prepare("insert into rows values (?)").run(`row ${count}`.repeat(100));
    position = await replication.flush();
  }
  const stop = async (): Promise<void> => {
    db.close();
    await replication.stop({ applicationEnded: true });
  };
  if (end === "released") await stop();
  return { ...position, stop };
}

/** In a directory, a file's time is the moment that its content is of. */
function putBack(path: string, bytes: Uint8Array, at: Date = new Date(0)): void {
  writeFileSync(path, bytes);
  utimesSync(path, at, at);
}

function ltxFiles(timeline: string): string[] {
  const level = join(replica, timeline, "ltx", "0");
  return readdirSync(level)
    .filter((name) => /\.ltx$/.test(name))
    .sort()
    .map((name) => join(level, name));
}

describe("a sound replica", () => {
  it("is read whole, restored and proved, and leaves nothing behind", async () => {
    const { timeline, txid } = await stream("a", 4);
    const verification = await verify();
    expect(verification).toMatchObject({
      isSound: true,
      head: timeline,
      problems: [],
      fileCount: Number(txid),
      filesRead: Number(txid),
      timelines: [
        { timeline, role: "head", segments: [{ state: "found", minTxid: 1n, maxTxid: txid }] },
      ],
      restore: { outcome: "proved", timeline, txid, isRollingChecksumProved: true },
    });
    expect(verification.bytesRead).toBe(verification.bytes);
    expect(readdirSync(temporaryDirectory)).toEqual([]);
  });

  it("reads nothing and restores nothing where it has to be quick", async () => {
    await stream("a", 2);
    expect(await verify({ isQuick: true })).toMatchObject({
      isSound: true,
      filesRead: 0,
      bytesRead: 0,
      restore: null,
    });
  });

  it("goes on uploading while its writer lives, and may still get what a writer had that is gone", async () => {
    const { stop, txid } = await stream("a", 1, "running");
    try {
      const alive = await verify();
      expect(alive.isSound).toBe(true);
      expect(alive.timelines[0]?.segments.at(-1)).toEqual({
        state: "uploading",
        minTxid: txid + 1n,
        maxTxid: null,
      });
      // The lease of a writer that is gone ages, by the store's clock.
      const listing = await listReplica({ replica });
      const epochs = listing.epochs.map((epoch) => ({ ...epoch, leaseAgeMs: 600_000 }));
      const [gone] = describeTimelines({ ...listing, epochs }, []);
      expect(gone?.segments.at(-1)).toMatchObject({ state: "delayed", minTxid: txid + 1n });
    } finally {
      await stop();
    }
  });

  it.each(["file-4096", "file-4096-lz4frame", "s3-512", "s3-4096", "s3-65536"])(
    "may be one that stock Litestream wrote (%s)",
    async (name) => {
      const fixtures = fileURLToPath(
        new URL("../../../../test/fixtures/litestream/", import.meta.url),
      );
      await cp(join(fixtures, name, "objects"), replica, { recursive: true });
      const place = name.startsWith("s3-") ? join(replica, "vault", "db") : replica;
      const { isSound, problems, head, restore } = await verify({ replica: place });
      expect(problems).toEqual([]);
      expect(isSound).toBe(true);
      expect(head).toBe("");
      expect(restore).toMatchObject({ outcome: "proved", isRollingChecksumProved: false });
    },
  );
});

describe("rot", () => {
  it("is found in any file, wherever the byte is, and named with what it costs", async () => {
    const { timeline, txid } = await stream("a", 3);
    const { timelines } = await listReplica({ replica });
    const points = timelines[0]?.recoveryPoints ?? [];
    for (const [index, path] of ltxFiles(timeline).entries()) {
      const bytes = readFileSync(path);
      for (const offset of [5, bytes.length >> 1, bytes.length - 1]) {
        const rotten = Buffer.from(bytes);
        rotten.writeUInt8(rotten.readUInt8(offset) ^ 1, offset);
        writeFileSync(path, rotten);
        const { isSound, problems } = await verify();
        expect(isSound).toBe(false);
        const lost = points.slice(index);
        expect(problems[0]).toMatchObject({
          kind: "damaged",
          timeline,
          key: path.slice(replica.length + 1),
          level: 0,
          minTxid: BigInt(index + 1),
          costs: [
            { timeline, from: points[index - 1]?.at ?? null, to: null, pointCount: lost.length },
          ],
        });
        // The newest state needs every one of them.
        expect(problems[1]).toMatchObject({ kind: "not-restored" });
        expect((await verify({ isQuick: true })).isSound).toBe(true);
      }
      putBack(path, bytes, points[index]?.at);
    }
    expect(await verify()).toMatchObject({ isSound: true, restore: { txid } });
  });

  it("costs nothing where another file makes up for it", async () => {
    const old = await stream("a", 2);
    const at = toTxid(2);
    await restore({ replica, target: join(directory, "b"), txid: at });
    const { timeline, stop } = await stream("b", 1, "running");
    // The branch has its own base then, so that the head does not need its parent.
    const level = join(replica, timeline, "ltx", "9");
    const bases = (): string[] =>
      existsSync(level) ? readdirSync(level).filter((name) => /^[0-9a-f-]+\.ltx$/.test(name)) : [];
    await expect.poll(bases).toHaveLength(1);
    await stop();
    const base = join(level, bases()[0] ?? "");
    const bytes = readFileSync(base);
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
    writeFileSync(base, bytes);
    const { problems, restore: trial } = await verify();
    expect(problems).toMatchObject([{ kind: "damaged", level: 9, timeline, costs: [] }]);
    expect(old.timeline).not.toBe(timeline);
    expect(trial).toMatchObject({ outcome: "proved" });
  });
});

describe("an object that was removed", () => {
  it("is missed, whichever it is, and named with the instants that it costs", async () => {
    const { timeline, txid } = await stream("a", 4);
    const { timelines } = await listReplica({ replica });
    const points = timelines[0]?.recoveryPoints ?? [];
    for (const [index, path] of ltxFiles(timeline).entries()) {
      const bytes = readFileSync(path);
      rmSync(path);
      for (const isQuick of [true, false]) {
        const { isSound, problems } = await verify({ isQuick });
        expect(isSound).toBe(false);
        expect(problems[0]).toMatchObject({
          kind: "lost",
          timeline,
          minTxid: BigInt(index + 1),
          maxTxid: BigInt(index + 1),
          costs: [
            {
              timeline,
              from: points[index - 1]?.at ?? null,
              to: null,
              pointCount: points.length - index - 1,
            },
          ],
        });
      }
      putBack(path, bytes, points[index]?.at);
    }
    expect(await verify()).toMatchObject({ isSound: true, restore: { txid } });
  });

  it("is missed at the end too, if somebody knows that it was stored", async () => {
    const { timeline, txid, stop } = await stream("a", 2, "running");
    try {
      rmSync(ltxFiles(timeline).at(-1) ?? "");
      expect((await verify({ isQuick: true })).isSound).toBe(true);
      const { problems } = await verify({ isQuick: true, confirmed: [{ timeline, txid }] });
      expect(problems).toMatchObject([{ kind: "lost", minTxid: txid, maxTxid: txid }]);
    } finally {
      await stop();
    }
  });

  it("is missed at the end too, if its writer's lease says that it was stored", async () => {
    const { timeline, txid } = await stream("a", 2);
    rmSync(join(replica, "epochs", "00000001.released.json"));
    rmSync(ltxFiles(timeline).at(-1) ?? "");
    const { problems } = await verify({ isQuick: true });
    expect(problems).toMatchObject([
      { kind: "lost", timeline, minTxid: txid, maxTxid: txid },
      { kind: "lost", key: "epochs/00000001.released.json" },
    ]);
  });

  it("is no loss if retention removed the rest of a line that nothing comes from any more", async () => {
    const old = await stream("a", 3);
    await restore({ replica, target: join(directory, "b"), txid: toTxid(2) });
    await stream("b", 1);
    const tail = ltxFiles(old.timeline).slice(2);
    for (const path of tail) rmSync(path);
    // Its release says that it had more.
    const lost = { kind: "lost", timeline: old.timeline, minTxid: 3n, maxTxid: old.txid };
    expect((await verify({ isQuick: true })).problems).toMatchObject([lost]);
    const later = Date.now() + 31 * 86_400_000;
    expect((await verify({ isQuick: true, now: () => later })).problems).toEqual([]);
    // Of the head's own line nothing may be missing, however old it is.
    await restore({ replica, target: join(directory, "c") });
    const head = await stream("c", 1);
    rmSync(ltxFiles(head.timeline).at(-1) ?? "");
    expect((await verify({ isQuick: true, now: () => later })).problems[0]).toMatchObject({
      kind: "lost",
      timeline: head.timeline,
    });
  });

  it("is no loss if retention removed it while it was looked for", async () => {
    const { timeline } = await stream("a", 2);
    const listing = await listReplica({ replica });
    const files = listing.timelines[0]?.files ?? [];
    const vanished = new Map([[files[0]?.key ?? "", { state: "vanished" as const }]]);
    // Still listed: the store contradicts itself.
    expect(badFiles(listing, files, vanished)).toMatchObject([{ kind: "lost", timeline }]);
    rmSync(ltxFiles(timeline)[0] ?? "");
    expect(badFiles(await listReplica({ replica }), files, vanished)).toEqual([]);
  });
});

it("says that it found nothing out where the trial restore has no place", async () => {
  await stream("a", 1);
  const missing = join(directory, "missing");
  const { isSound, problems, restore } = await verify({ temporaryDirectory: missing });
  expect(problems).toEqual([]);
  expect(isSound).toBe(false);
  expect(restore).toMatchObject({ outcome: "inconclusive" });
});

it("reads everything in t runs, each file in one of them", async () => {
  await stream("a", 12);
  const all = (await verify()).fileCount;
  let read = 0;
  for (const n of [1, 2, 3]) {
    const verification = await verify({ subset: { n, t: 3 } });
    expect(verification).toMatchObject({ isSound: true, restore: { outcome: "proved" } });
    read += verification.filesRead;
  }
  expect(read).toBe(all);
  expect([1, 2, 3].filter((n) => isInSubset("x", { n, t: 3 }))).toHaveLength(1);
});

it("reads what fits into its time, goes on where it stopped, and reads everything in a few runs", async () => {
  await stream("a", 8);
  const read = new Set<string>();
  let startAt: string | null = null;
  let runs = 0;
  do {
    const done: number[] = [];
    // The clock goes on a second each time that it is asked, so that a run has time for some.
    let nowMs = Date.now();
    const verification: ReplicaVerification = await verify({
      timeLimitMs: 3_000,
      ...(startAt === null ? {} : { startAt }),
      now: () => {
        nowMs += 1_000;
        return nowMs;
      },
      onProgress: ({ phase, bytesDone }) => phase === "reading" && done.push(bytesDone),
    });
    expect(verification).toMatchObject({ isSound: true, restore: { outcome: "proved" } });
    expect(verification.filesRead).toBeGreaterThan(0);
    expect(verification.filesRead).toBeLessThan(verification.fileCount);
    expect(verification.bytesRead).toBe(done.at(-1));
    for (const key of order(verification, startAt)) read.add(key);
    startAt = verification.stoppedAt;
    expect(startAt).toMatch(/^[0-9a-f]{8}$/);
    runs += 1;
  } while (runs < 8 && read.size < 9);
  expect(read.size).toBe(9);
  expect(runs).toBeGreaterThan(1);
  expect((await verify({ startAt: "80000000" })).stoppedAt).toBeNull();
  // Without time for any, one is read, or a large one would never be.
  expect((await verify({ timeLimitMs: 0 })).filesRead).toBe(1);

  function order({ filesRead }: ReplicaVerification, from: string | null): string[] {
    const [timeline = ""] = readdirSync(replica).filter((name) => name.startsWith("0"));
    const keys = ltxFiles(timeline).map((path) => ({ key: path.slice(replica.length + 1) }));
    return inReadingOrder(keys, from ?? undefined)
      .slice(0, filesRead)
      .map(({ key }) => key);
  }
});

it("fails with the store's own error, and takes it for no verdict", async () => {
  const place = join(directory, "file");
  writeFileSync(place, "");
  await expect(verify({ replica: place })).rejects.toMatchObject({ name: "ObjectStoreError" });
});

it("knows nothing of a place where nothing is", async () => {
  await expect(verify()).rejects.toMatchObject({ code: "NOTHING_TO_RESTORE" });
});
