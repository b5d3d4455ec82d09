import { expect, it } from "vitest";
import { parseTxid, type ReplicaListing, type Txid } from "wal-replicator";
import { findRecoveryPoint } from "./find-recovery-point.ts";

const txid = (value: number): Txid => parseTxid(value.toString(16).padStart(16, "0")) as Txid;
const at = (second: number): Date => new Date(second * 1_000);

function timeline(
  name: string,
  points: readonly (readonly [number, number])[],
  parent: { readonly timeline: string; readonly txid: Txid } | null = null,
): ReplicaListing["timelines"][number] {
  return {
    timeline: name,
    role: "head",
    parent,
    levels: [],
    files: [],
    recoveryPoints: points.map(([number, second]) => ({
      txid: txid(number),
      at: at(second),
      level: 0,
    })),
    recoveryRanges: [],
    unreachableFileCount: 0,
  };
}

const listing = {
  head: "2",
  timelines: [
    timeline(
      "2",
      [
        [4, 40],
        [5, 50],
      ],
      { timeline: "1", txid: txid(3) },
    ),
    timeline("1", [
      [1, 10],
      [2, 20],
      [3, 30],
      [4, 35],
    ]),
  ],
};

it.each([
  ["the newest", {}, ["2", 5]],
  ["a time in the head", { before: at(45) }, ["2", 4]],
  ["a time before the branch", { before: at(25) }, ["1", 2]],
  [
    "a time between the branch and the head's first point, without what the parent wrote later",
    { before: at(39) },
    ["1", 3],
  ],
  ["a time that is exactly a point's, which counts as before it", { before: at(20) }, ["1", 1]],
  ["a TXID", { txid: txid(2) }, ["1", 2]],
  ["a TXID that both have", { txid: txid(4) }, ["2", 4]],
  ["a named timeline", { timeline: "1" }, ["1", 4]],
] as const)("finds %s", (_, wanted, [name, number]) => {
  expect(findRecoveryPoint(listing, wanted)).toMatchObject({ timeline: name, txid: txid(number) });
});

it.each([
  ["before everything", { before: at(5) }],
  ["a TXID that nobody has", { txid: txid(9) }],
  ["a timeline that nobody has", { timeline: "7" }],
])("finds nothing %s", (_, wanted) => {
  expect(findRecoveryPoint(listing, wanted)).toBeUndefined();
});
