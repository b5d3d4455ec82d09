import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import type { EpochRecord } from "../replica/epoch-record.ts";
import { recordFor } from "../replica/epoch-testing.ts";
import { formatEpochKey } from "../replica/replica-layout.ts";
import { auditEpochs, type EpochAuditInput } from "./plan-epoch-audit.ts";
import { type EpochObjectSeen, EpochObjects } from "./read-epochs.ts";

const begun = new Date("2026-11-24T22:00:00.123Z");
const minutesLater = (minutes: number): Date => new Date(begun.getTime() + minutes * 60_000);

function record(epoch: number, more: Partial<EpochRecord> = {}): EpochRecord {
  return { ...recordFor("a")(epoch), ...more };
}

function common(
  { epoch, nonce, keyedByNonce }: EpochRecord,
  object: EpochObjectSeen["object"],
): Pick<EpochObjectSeen, "epoch" | "nonce" | "key" | "modified"> {
  const id = { epoch, nonce: keyedByNonce ? nonce.slice(0, 8) : undefined };
  return { ...id, key: formatEpochKey(id, object), modified: begun };
}

function recordObject(value: EpochRecord): EpochObjectSeen {
  return { ...common(value, "record"), object: "record", seen: { state: "read", value } };
}

function lease(of: EpochRecord, released = false): EpochObjectSeen {
  const { nonce, owner } = of;
  const value = { nonce, owner, renewedAt: begun.toISOString(), txid: null };
  return {
    ...common(of, "lease"),
    object: "lease",
    seen: { state: "read", value: released ? { ...value, released: true } : value },
  };
}

function release(of: EpochRecord): EpochObjectSeen {
  const { nonce } = of;
  const value = {
    nonce,
    txid: toTxid(5),
    rollingChecksum: "8000000000000001",
    releasedAt: begun.toISOString(),
  };
  return { ...common(of, "released"), object: "released", seen: { state: "read", value } };
}

/** `lost epochs/00000002.json` for each problem. */
function audit(
  objects: readonly EpochObjectSeen[],
  more: Partial<Omit<EpochAuditInput, "objects">> = {},
): string[] {
  const problems = auditEpochs({
    objects: new EpochObjects(objects),
    prefix: "",
    timelines: new Set(),
    lastWrites: new Map(),
    costsOfTimeline: (timeline) => [{ timeline, from: null, to: null, pointCount: 3 }],
    ...more,
  });
  return problems.map(({ kind, key, costs }) => `${kind} ${key} ${costs.length}`);
}

const [first, second, third] = [record(1), record(2), record(3)];
const wrote = (until: Date): EpochAuditInput["lastWrites"] =>
  new Map([[first.nonce, { at: until, modified: until }]]);

describe("the epochs of a sound replica", () => {
  it("have no problem, in either form of their keys", () => {
    const keyed = record(3, { keyedByNonce: true });
    const all = [
      ...[recordObject(first), lease(first, true), release(first)],
      ...[recordObject(second), lease(second)],
      ...[recordObject(keyed), recordObject({ ...keyed, keyedByNonce: true }), lease(keyed)],
    ];
    const timelines = new Set([first.timeline, second.timeline, keyed.timeline]);
    expect(audit(all, { timelines, lastWrites: wrote(minutesLater(9)) })).toEqual([]);
  });

  it("may have no lease before the first renewal, nor on a branch", () => {
    const branch = record(1, { kind: "branch" });
    expect(audit([recordObject(first)], { lastWrites: wrote(minutesLater(2)) })).toEqual([]);
    expect(audit([recordObject(branch)], { lastWrites: wrote(minutesLater(9)) })).toEqual([]);
  });

  it("may have no lease where a clock was set after the start", () => {
    const set = new Map([[first.nonce, { at: minutesLater(90), modified: minutesLater(1) }]]);
    expect(audit([recordObject(first)], { lastWrites: set })).toEqual([]);
    const back = new Map([[first.nonce, { at: minutesLater(1), modified: minutesLater(90) }]]);
    expect(audit([recordObject(first)], { lastWrites: back })).toEqual([]);
  });

  it("may have a lease that says nothing of a release that came", () => {
    expect(audit([recordObject(first), lease(first), release(first)])).toEqual([]);
  });
});

describe("what was removed", () => {
  it("is a lease, if its epoch wrote for longer than it may go without one", () => {
    const found = audit([recordObject(first)], { lastWrites: wrote(minutesLater(3)) });
    expect(found).toEqual(["lost epochs/00000001.lease.json 0"]);
  });

  it("is a release, if the lease says that there was one", () => {
    const found = audit([recordObject(first), lease(first, true)]);
    expect(found).toEqual(["lost epochs/00000001.released.json 0"]);
  });

  it("is a record, if its number is missing between others", () => {
    expect(audit([recordObject(first), recordObject(third)])).toEqual([
      "lost epochs/00000002.json 0",
    ]);
    expect(audit([recordObject(second)])).toEqual(["lost epochs/00000001.json 0"]);
  });

  it("is the newest record, if its lease, its release or its timeline is still there", () => {
    const lost = ["lost epochs/00000002.json 0"];
    expect(audit([recordObject(first), lease(second)])).toEqual(lost);
    expect(audit([recordObject(first), release(second)])).toEqual(lost);
    const timelines = new Set([first.timeline, second.timeline]);
    expect(audit([recordObject(first)], { timelines })).toEqual(["lost epochs/00000002.json 1"]);
  });

  it("is a record, if the one of another writer with its number is there", () => {
    const other = {
      ...record(1),
      nonce: `b${first.nonce.slice(1)}`,
      timeline: "00000001-b0000000",
    };
    const timelines = new Set([first.timeline]);
    const found = audit([recordObject(other)], { timelines });
    expect(found).toEqual([`lost epochs/${first.timeline}.json 1`]);
  });

  it("is a record that had gone on in another epoch's timeline, if files name it", () => {
    const lastWrites = new Map([["c".repeat(32), { at: begun, modified: begun }]]);
    expect(audit([recordObject(first)], { lastWrites })).toEqual(["lost null 0"]);
  });
});

describe("what was damaged", () => {
  const damaged = { state: "damaged", message: "it is not JSON" } as const;

  it("is named, and a record with the timeline that nobody finds without it", () => {
    const objects: EpochObjectSeen[] = [
      { ...common(first, "record"), object: "record", seen: damaged },
      { ...common(first, "lease"), object: "lease", seen: damaged },
      { ...common(first, "released"), object: "released", seen: damaged },
    ];
    const timelines = new Set([first.timeline]);
    // Its nonce, which files name, cannot be read: that is no other record which was lost.
    expect(audit(objects, { timelines, lastWrites: wrote(minutesLater(9)) })).toEqual([
      "damaged epochs/00000001.json 1",
      "damaged epochs/00000001.lease.json 0",
      "damaged epochs/00000001.released.json 0",
    ]);
  });

  it("is told from what the store lists and does not have", () => {
    const object = { ...common(first, "lease"), object: "lease", seen: { state: "vanished" } };
    expect(audit([recordObject(first), object as EpochObjectSeen])).toEqual([
      "lost epochs/00000001.lease.json 0",
    ]);
  });
});
