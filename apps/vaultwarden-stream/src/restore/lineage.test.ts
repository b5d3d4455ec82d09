import { expect, it } from "vitest";
import { parseTxid, type ReplicaListing } from "wal-replicator";
import { lineageOf } from "./lineage.ts";
import { parseMountPoints } from "./tree-places.ts";

function listing(
  ...timelines: readonly (readonly [name: string, parent?: string, txid?: string])[]
): Pick<ReplicaListing, "timelines"> {
  const made = timelines.map(([timeline, parent, txid = "1"]) => ({
    timeline,
    parent:
      parent === undefined ? null : { timeline: parent, txid: parseTxid(txid.padStart(16, "0")) },
  }));
  return { timelines: made as unknown as ReplicaListing["timelines"] };
}

it("a timeline stands on each ancestor up to where it was left", () => {
  const found = lineageOf(listing(["c", "b", "1f"], ["b", "a", "7"], ["a"], ["x", "a"]), "c");
  expect(found).toEqual([
    { timeline: "c", upToTxid: undefined },
    { timeline: "b", upToTxid: "000000000000001f" },
    { timeline: "a", upToTxid: "0000000000000007" },
  ]);
});

it("a branch that lies before its parent's own branch point leaves only that much of the grandparent", () => {
  expect(lineageOf(listing(["c", "b", "3"], ["b", "a", "7"], ["a"]), "c")).toEqual([
    { timeline: "c", upToTxid: undefined },
    { timeline: "b", upToTxid: "0000000000000003" },
    { timeline: "a", upToTxid: "0000000000000003" },
  ]);
});

it("an ancestor whose record is gone ends the line, and a circle is walked once", () => {
  expect(lineageOf(listing(["c", "gone", "2"]), "c").map(({ timeline }) => timeline)).toEqual([
    "c",
    "gone",
  ]);
  expect(lineageOf(listing(["a", "b"], ["b", "a"]), "a")).toHaveLength(2);
});

it("knows mount points as the kernel writes them", () => {
  const text = [
    "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw",
    "37 35 98:0 / /with\\040space\\134and\\011tab rw - tmpfs tmpfs rw",
    "",
  ].join("\n");
  expect([...parseMountPoints(text)]).toEqual(["/mnt2", "/with space\\and\ttab"]);
});
