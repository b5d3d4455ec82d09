import { FaultyStore, noCounts, type ObjectStore } from "@vaultwarden-stream/object-store";
import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { type EpochMode, takeEpoch } from "../replica/epoch.ts";
import type { EpochRecord, TimelinePosition } from "../replica/epoch-record.ts";
import {
  detected,
  exclusive,
  putText,
  recordFor,
  rootOf,
  TestStore,
} from "../replica/epoch-testing.ts";
import { formatLtxKey } from "../replica/replica-layout.ts";
import { readRestorePlan } from "./read-plan.ts";

/** Plans go by names alone, so the files here have no content. */
async function putFiles(
  store: ObjectStore,
  timeline: string,
  ...files: (readonly [level: number, min: number, max: number])[]
): Promise<void> {
  for (const [level, min, max] of files) {
    const key = formatLtxKey({ level, minTxid: toTxid(min), maxTxid: toTxid(max) }, "s3");
    await store.put(`vault/db/${timeline}/${key}`, new Uint8Array(200), {
      timestamp: new Date(max * 1_000),
    });
  }
}

function take(
  store: ObjectStore,
  owner: string,
  parent: TimelinePosition | null,
  kind: EpochRecord["kind"] = "writer",
  mode: EpochMode = exclusive,
): Promise<EpochRecord> {
  return takeEpoch(rootOf(store), mode, recordFor(owner, { parent, kind }));
}

function at(record: EpochRecord, txid: number): TimelinePosition {
  return { timeline: record.timeline, txid: toTxid(txid) };
}

/** Three writers, one after the other, and a branch of what the second one still had when the third took over. */
async function takenOver(mode: EpochMode = exclusive) {
  const store = new TestStore();
  const first = await take(store, "a", null, "writer", mode);
  await putFiles(store, first.timeline, [0, 1, 1], [0, 2, 2], [0, 3, 3]);
  const second = await take(store, "b", at(first, 2), "writer", mode);
  await putFiles(store, second.timeline, [0, 3, 3], [0, 4, 4]);
  const third = await take(store, "c", at(second, 3), "writer", mode);
  await putFiles(store, third.timeline, [9, 1, 3], [0, 4, 4]);
  const branch = await take(store, "b", at(second, 4), "branch", mode);
  await putFiles(store, branch.timeline, [0, 5, 5]);
  return { store, first, second, third, branch };
}

describe("readRestorePlan", () => {
  it.each([
    ["exclusive", exclusive, 1],
    ["detected", detected, 2],
  ] as const)(
    "costs one LIST of the epochs, the newest writer, and one LIST of its timeline: %s",
    async (_, mode, perEpoch) => {
      const { store, third } = await takenOver(mode);
      Object.assign(store.counts, noCounts());
      expect(await readRestorePlan(rootOf(store), {})).toMatchObject({
        timeline: third.timeline,
        txid: 4n,
      });
      // The branch is newer, and has to be read to know that it is one.
      expect(store.counts).toMatchObject({ list: 2, get: 2 * perEpoch, head: 0 });
    },
  );

  it("restores a branch and a lost line by name, over their parents", async () => {
    const { store, second, branch } = await takenOver();
    const ofBranch = await readRestorePlan(rootOf(store), { timeline: branch.timeline });
    expect(ofBranch).toMatchObject({ timeline: branch.timeline, txid: 5n });
    expect(ofBranch.files.map(({ maxTxid }) => maxTxid)).toEqual([1n, 2n, 3n, 4n, 5n]);
    const ofSecond = await readRestorePlan(rootOf(store), { timeline: second.timeline });
    expect(ofSecond).toMatchObject({ timeline: second.timeline, txid: 4n });
  });

  it("restores a time along the head's line, and nothing that others wrote after they were left", async () => {
    const { store, second, third } = await takenOver();
    const before = new Date(3_500);
    expect(await readRestorePlan(rootOf(store), { before })).toMatchObject({
      timeline: third.timeline,
      txid: 3n,
    });
    // Before the head's base: the parent's line, up to where the head left it.
    const early = await readRestorePlan(rootOf(store), { before: new Date(2_500) });
    expect(early).toMatchObject({ txid: 2n });
    expect(early.files.map(({ timeline }) => timeline)).not.toContain(second.timeline);
  });

  it("restores a named timeline that has its base although the epochs cannot be read", async () => {
    const { store, third } = await takenOver();
    await putText(store, "vault/epochs/00000003.json", "{}");
    await putText(store, "vault/epochs/00000004.json", "{}");
    const { timeline } = third;
    expect(await readRestorePlan(rootOf(store), { timeline })).toMatchObject({ txid: 4n });
    await expect(readRestorePlan(rootOf(store), {})).rejects.toMatchObject({
      code: "REPLICA_MALFORMED",
    });
  });

  it.each(["list", "get"] as const)(
    "takes a %s that is forbidden for an error, not for an older head or nothing",
    async (operation) => {
      const { store } = await takenOver();
      const forbidden = new FaultyStore(store, (call) =>
        call.operation === operation ? { kind: "error-before", code: "FORBIDDEN" } : undefined,
      );
      await expect(readRestorePlan(rootOf(forbidden), {})).rejects.toMatchObject({
        code: "FORBIDDEN",
      });
    },
  );

  it("finds what the daemon wrote although it was pointed at the whole store", async () => {
    const { store, third, branch } = await takenOver();
    // An older stock replica beside it is no reason to restore that.
    await store.put("vault/0000/0000000000000001-0000000000000001.ltx", new Uint8Array(200));
    const root = { store, prefix: "vault/", timelinesUnder: "" };
    expect(await readRestorePlan(root, {})).toMatchObject({ timeline: third.timeline });
    expect(await readRestorePlan(root, { timeline: branch.timeline })).toMatchObject({ txid: 5n });
  });

  it("does not say that there is nothing where only a branch has anything", async () => {
    const store = new TestStore();
    const first = await take(store, "a", null);
    await expect(readRestorePlan(rootOf(store), {})).rejects.toMatchObject({
      code: "NOTHING_TO_RESTORE",
    });
    await take(store, "b", null);
    const branch = await take(store, "a", null, "branch");
    await putFiles(store, branch.timeline, [0, 1, 1]);
    await expect(readRestorePlan(rootOf(store), {})).rejects.toMatchObject({
      code: "CHAIN_BROKEN",
      timeline: branch.timeline,
    });
    await expect(
      readRestorePlan(rootOf(store), { timeline: first.timeline }),
    ).rejects.toMatchObject({ code: "TIMELINE_UNKNOWN" });
  });
});
