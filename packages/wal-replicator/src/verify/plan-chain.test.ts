import { describe, expect, it } from "vitest";
import { type Txid, toTxid } from "../ltx/txid.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import { type ChainFacts, type ChainSegment, levelGaps, planChain } from "./plan-chain.ts";

type Range = readonly [level: number, min: number, max: number];

function filesOf(...ranges: readonly Range[]): ReplicaFile[] {
  return ranges.map(([level, min, max]) => ({
    timeline: "t",
    level,
    minTxid: toTxid(min),
    maxTxid: toTxid(max),
    key: `${level}/${min}-${max}`,
    size: 1,
    createdAt: new Date(max * 1_000),
  }));
}

const facts: ChainFacts = { branchTxid: null, confirmedTxid: null, writer: "unknown" };

/** `found 1-4, lost 5-5, uploading 6-` */
function say(segments: readonly ChainSegment[]): string {
  return segments
    .map(({ state, minTxid, maxTxid }) => `${state} ${minTxid}-${maxTxid ?? ""}`)
    .join(", ");
}

function txid(value: number): Txid {
  return toTxid(value);
}

describe("planChain", () => {
  it.each<[string, readonly Range[], Partial<ChainFacts>, string]>([
    [
      "one commit after the other",
      [
        [0, 1, 1],
        [0, 2, 2],
        [0, 3, 3],
      ],
      {},
      "found 1-3",
    ],
    [
      "a hole",
      [
        [0, 1, 1],
        [0, 2, 2],
        [0, 4, 4],
        [0, 5, 5],
      ],
      {},
      "found 1-2, lost 3-3, found 4-5",
    ],
    [
      "two holes",
      [
        [0, 1, 1],
        [0, 3, 3],
        [0, 6, 6],
      ],
      {},
      "found 1-1, lost 2-2, found 3-3, lost 4-5, found 6-6",
    ],
    [
      "a hole in one level that another one has",
      [
        [0, 1, 1],
        [0, 4, 4],
        [1, 1, 3],
      ],
      {},
      "found 1-4",
    ],
    [
      "a beginning that is gone",
      [
        [0, 3, 3],
        [0, 4, 4],
      ],
      {},
      "lost 1-2, found 3-4",
    ],
    [
      "a beginning that retention removed up to a snapshot",
      [
        [9, 1, 10],
        [1, 8, 12],
        [0, 13, 13],
      ],
      {},
      "found 8-13",
    ],
    [
      "a snapshot that is followed at once",
      [
        [9, 1, 10],
        [0, 11, 11],
      ],
      {},
      "found 10-11",
    ],
    [
      "a hole right behind the oldest snapshot",
      [
        [9, 1, 10],
        [0, 12, 12],
      ],
      {},
      "found 10-10, lost 11-11, found 12-12",
    ],
    [
      "a hole that a later snapshot does not fill",
      [
        [0, 1, 1],
        [0, 4, 4],
        [9, 1, 4],
      ],
      {},
      "found 1-1, lost 2-3, found 4-4",
    ],
    [
      "an end that only a snapshot shows",
      [
        [0, 1, 1],
        [0, 2, 2],
        [9, 1, 5],
      ],
      {},
      "found 1-2, lost 3-4, found 5-5",
    ],
    [
      "snapshots alone",
      [
        [9, 1, 5],
        [9, 1, 9],
      ],
      {},
      "found 5-9",
    ],
    [
      "a branch",
      [
        [0, 6, 6],
        [0, 7, 7],
      ],
      { branchTxid: txid(5) },
      "found 6-7",
    ],
    [
      "a branch without its first file",
      [[0, 7, 7]],
      { branchTxid: txid(5) },
      "lost 6-6, found 7-7",
    ],
    [
      "an end before what was released",
      [[0, 1, 1]],
      { confirmedTxid: txid(3), writer: "released" },
      "found 1-1, lost 2-3",
    ],
    [
      "an end where it was released",
      [[0, 1, 3]],
      { confirmedTxid: txid(3), writer: "released" },
      "found 1-3",
    ],
    ["a living writer", [[0, 1, 3]], { writer: "alive" }, "found 1-3, uploading 4-"],
    ["a writer that is gone", [[0, 1, 3]], { writer: "gone" }, "found 1-3, delayed 4-"],
    [
      "a living writer whose stored files are gone",
      [[0, 1, 3]],
      { writer: "alive", confirmedTxid: txid(5) },
      "found 1-3, lost 4-5, uploading 6-",
    ],
  ])("%s", (_, ranges, given, expected) => {
    expect(say(planChain(filesOf(...ranges), { ...facts, ...given }))).toBe(expected);
  });
});

describe("levelGaps", () => {
  it("names what a level lacks between its files, if another level has it", () => {
    const files = filesOf([0, 1, 1], [0, 4, 4], [1, 1, 3]);
    expect(levelGaps(files, planChain(files, facts))).toEqual([
      { level: 0, minTxid: 2n, maxTxid: 3n },
    ]);
  });

  it("does not name what retention has removed from the beginning, nor what is lost", () => {
    const pruned = filesOf([0, 4, 4], [0, 5, 5], [1, 1, 3]);
    expect(levelGaps(pruned, planChain(pruned, facts))).toEqual([]);
    const lost = filesOf([0, 1, 1], [0, 3, 3]);
    expect(levelGaps(lost, planChain(lost, facts))).toEqual([]);
  });
});
