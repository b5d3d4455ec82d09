import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DirectoryStore } from "@vaultwarden-stream/object-store";
import { afterEach, beforeEach, expect, it } from "vitest";
import { listReplica } from "./list-replica.ts";
import { formatTxid, type Txid, toTxid } from "./ltx/txid.ts";
import { encodeEpochLease, encodeEpochRecord, encodeEpochRelease } from "./replica/epoch-record.ts";
import { formatEpochKey, formatLtxKey, formatTimelineName } from "./replica/replica-layout.ts";

/** Listings go by names alone, so the files here have none of their content. */
let replica: string;

beforeEach(async () => {
  replica = await mkdtemp(join(tmpdir(), "list-"));
});

afterEach(async () => {
  await rm(replica, { recursive: true, force: true });
});

it("a timeline without its base yet is listed with what it restores over its parent, up to the branch", async () => {
  const parent = await putEpoch(1, null);
  await putFiles(parent, [0, 1, 1], [0, 2, 2], [0, 3, 3]);
  const head = await putEpoch(2, { timeline: parent, txid: toTxid(2) });
  await putFiles(head, [0, 3, 3], [0, 4, 4]);
  const listing = await listReplica({ replica });
  expect(listing.head).toBe(head);
  expect(listing.timelines.map(({ timeline }) => timeline)).toEqual([head, parent]);
  expect(pointsOf(listing, head)).toEqual([3n, 4n]);
  expect(pointsOf(listing, parent)).toEqual([1n, 2n, 3n]);
  expect(listing.timelines[0]).toMatchObject({
    parent: { timeline: parent, txid: 2n },
    unreachableFileCount: 0,
  });
});

it("files behind a hole are counted, and are no recovery points", async () => {
  const timeline = await putEpoch(1, null);
  await putFiles(timeline, [9, 1, 2], [0, 3, 3], [0, 5, 5], [1, 5, 6]);
  const listing = await listReplica({ replica });
  expect(pointsOf(listing, timeline)).toEqual([2n, 3n]);
  expect(listing.timelines[0]).toMatchObject({
    unreachableFileCount: 2,
    levels: [
      { level: 0, fileCount: 2, minTxid: 3n, maxTxid: 5n },
      { level: 1, fileCount: 1, minTxid: 5n, maxTxid: 6n },
      { level: 9, fileCount: 1, minTxid: 1n, maxTxid: 2n },
    ],
  });
});

it("what a parent wrote after the branch makes up for nothing that is missing behind it", async () => {
  const parent = await putEpoch(1, null);
  await putFiles(parent, [0, 1, 1], [0, 2, 2], [0, 3, 3], [0, 4, 4]);
  const head = await putEpoch(2, { timeline: parent, txid: toTxid(2) });
  await putFiles(head, [0, 5, 5]);
  const listing = await listReplica({ replica });
  expect(pointsOf(listing, head)).toEqual([]);
  expect(listing.timelines[0]).toMatchObject({ timeline: head, unreachableFileCount: 1 });
});

it("epochs that name each other as parents in a circle end", async () => {
  const [first, second] = [formatTimelineName(1, nonce(1)), formatTimelineName(2, nonce(2))];
  await putEpoch(1, { timeline: second, txid: toTxid(1) });
  await putEpoch(2, { timeline: first, txid: toTxid(1) });
  await putFiles(second, [0, 2, 2]);
  expect(pointsOf(await listReplica({ replica }), second)).toEqual([]);
});

it("an epoch says whether it was released, and where", async () => {
  const timeline = await putEpoch(1, null);
  await putFiles(timeline, [0, 1, 1]);
  expect((await listReplica({ replica })).epochs).toMatchObject([
    { epoch: 1, timeline, released: null },
  ]);
  await put(
    formatEpochKey({ epoch: 1, nonce: undefined }, "released"),
    encodeEpochRelease({
      nonce: nonce(1),
      txid: toTxid(1),
      rollingChecksum: "0".repeat(16),
      releasedAt: new Date(0).toISOString(),
    }),
  );
  expect((await listReplica({ replica })).epochs).toMatchObject([
    { released: { txid: 1n, at: new Date(0) } },
  ]);
});

it("says which timeline is the head, what it came from, and what others wrote", async () => {
  const first = await putEpoch(1, null);
  await putFiles(first, [0, 1, 1], [0, 2, 2]);
  const lost = await putEpoch(2, { timeline: first, txid: toTxid(1) });
  await putFiles(lost, [0, 2, 2]);
  const head = await putEpoch(3, { timeline: first, txid: toTxid(2) });
  await putFiles(head, [0, 3, 3]);
  const branch = await putEpoch(4, { timeline: lost, txid: toTxid(2) }, "branch");
  await putFiles(branch, [0, 3, 3], [0, 4, 4]);
  // Takes over and has stored nothing yet.
  await putEpoch(5, { timeline: head, txid: toTxid(3) });
  await putFiles("", [0, 1, 1]);
  const listing = await listReplica({ replica });
  expect(listing.head).toBe(head);
  expect(listing.timelines.map(({ timeline, role }) => [timeline, role])).toEqual([
    [head, "head"],
    [branch, "branch"],
    [lost, "lost"],
    [first, "ancestor"],
    ["", "stock"],
  ]);
  // Over its parents, up to where it left them: all of it restores by its name.
  expect(pointsOf(listing, branch)).toEqual([3n, 4n]);
  expect(pointsOf(listing, lost)).toEqual([2n]);
  expect(listing.epochs.map(({ kind, leaseAgeMs }) => [kind, leaseAgeMs !== null])).toEqual([
    ["writer", false],
    ["writer", false],
    ["writer", false],
    ["branch", false],
    ["writer", true],
  ]);
});

it("says who has the epoch and when it last showed that it lives", async () => {
  const timeline = await putEpoch(1, null);
  await putFiles(timeline, [0, 1, 1]);
  const [before] = (await listReplica({ replica })).epochs;
  expect(before).toMatchObject({ owner: { host: "host", pid: 1 }, kind: "writer" });
  const key = formatEpochKey({ epoch: 1, nonce: undefined }, "lease");
  const renewedAt = new Date(0).toISOString();
  await put(key, encodeEpochLease({ nonce: nonce(1), owner, renewedAt, txid: null }));
  const [epoch] = (await listReplica({ replica })).epochs;
  expect(epoch?.aliveAt).toEqual((await new DirectoryStore(replica).head(key)).lastModified);
  expect(epoch?.leaseAgeMs).toEqual(expect.any(Number));
  // Nobody renews what was released.
  await put(
    formatEpochKey({ epoch: 1, nonce: undefined }, "released"),
    encodeEpochRelease({
      nonce: nonce(1),
      txid: toTxid(1),
      rollingChecksum: "0".repeat(16),
      releasedAt: renewedAt,
    }),
  );
  expect((await listReplica({ replica })).epochs).toMatchObject([{ leaseAgeMs: null }]);
});

it("a replica in which only a branch has anything has no head, and is listed", async () => {
  await putEpoch(1, null);
  const branch = await putEpoch(2, null, "branch");
  await putFiles(branch, [0, 1, 1]);
  const listing = await listReplica({ replica });
  expect(listing.head).toBeNull();
  expect(listing.timelines).toMatchObject([{ timeline: branch, role: "branch" }]);
});

it("finds the timelines of the daemon's store below `db/`", async () => {
  const timeline = await putEpoch(1, null);
  await putFiles(`db/${timeline}`, [0, 1, 1]);
  const found = await listReplica({ replica });
  expect(found).toMatchObject({ head: timeline, timelines: [{ timeline }] });
  expect(await listReplica({ replica, timelinesUnder: "db/" })).toMatchObject({ head: timeline });
});

it.each([
  ["no replica at all", false],
  ["an epoch without any file", true],
])("%s is NOTHING_TO_RESTORE", async (_, hasEpoch) => {
  if (hasEpoch) await putEpoch(1, null);
  await expect(listReplica({ replica })).rejects.toMatchObject({ code: "NOTHING_TO_RESTORE" });
});

function pointsOf(
  listing: Awaited<ReturnType<typeof listReplica>>,
  timeline: string,
): bigint[] | undefined {
  return listing.timelines
    .find((candidate) => candidate.timeline === timeline)
    ?.recoveryPoints.map(({ txid }) => txid);
}

const owner = {
  host: "host",
  pid: 1,
  installation: { hostId: "", spoolInode: "1", spoolBornAt: "1" },
};

async function putEpoch(
  epoch: number,
  parent: { readonly timeline: string; readonly txid: Txid } | null,
  kind: "writer" | "branch" = "writer",
): Promise<string> {
  const timeline = formatTimelineName(epoch, nonce(epoch));
  const startedAt = new Date(0).toISOString();
  const record = {
    version: 1,
    epoch,
    nonce: nonce(epoch),
    kind,
    owner,
    timeline,
    parent,
    startedAt,
  } as const;
  await put(formatEpochKey({ epoch, nonce: undefined }, "record"), encodeEpochRecord(record));
  return timeline;
}

async function putFiles(
  timeline: string,
  ...files: [level: number, min: number, max: number][]
): Promise<void> {
  for (const [level, min, max] of files) {
    const key = formatLtxKey({ level, minTxid: toTxid(min), maxTxid: toTxid(max) }, "directory");
    const under = timeline === "" ? "" : `${timeline}/`;
    await put(`${under}${key}`, new TextEncoder().encode(formatTxid(toTxid(max))));
  }
}

async function put(key: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(join(replica, key)), { recursive: true });
  await writeFile(join(replica, key), bytes);
}

function nonce(epoch: number): string {
  return epoch.toString(16).padStart(32, "0");
}
