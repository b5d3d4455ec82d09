import { describe, expect, it } from "vitest";
import type { ReplicaFile } from "../replica/catalog.ts";
import { offeredInstants, offeredRanges } from "./offered-instants.ts";
import { minuteMs, smallPolicy as policy, testFile } from "./retention-testing.ts";

/** `smallPolicy`: level 0 for 10 minutes, 1 (of a minute) for an hour, 2 (of 5) for four, 3 (of 20) for twelve. */
const nowMs = Date.UTC(2026, 0, 8);
const file = (level: number, min: number, max: number, ageMinutes: number, timeline = "a") =>
  testFile(timeline, level, [min, max], nowMs - ageMinutes * minuteMs);
const offered = (...files: readonly ReplicaFile[]): number[] =>
  offeredInstants(files, policy, nowMs).map(({ txid }) => Number(txid));

/** A base, and four changes that are merged in every level: 2 and 3, 4 and 5 in level 1, 2 to 5 in level 2. */
const merged = (age: number): ReplicaFile[] => [
  file(0, 1, 1, age + 1),
  ...[2, 3, 4, 5].map((txid) => file(0, txid, txid, age)),
  file(1, 2, 3, age),
  file(1, 4, 5, age),
  file(2, 2, 5, age),
  file(0, 6, 6, 0),
];

describe("an instant is offered", () => {
  it("for as long as its level's precision, by its own age", () => {
    expect(offered(...merged(10))).toEqual([1, 2, 3, 4, 5, 6]);
    expect(offered(...merged(10.1))).toEqual([1, 3, 5, 6]);
    expect(offered(...merged(60))).toEqual([1, 3, 5, 6]);
    expect(offered(...merged(60.1))).toEqual([1, 5, 6]);
    // Nothing covers level 2 here: it is as good as the highest level.
    expect(offered(...merged(700))).toEqual([1, 5, 6]);
  });

  it("whether the files of its level are there still or not", () => {
    const left = merged(61).filter(
      ({ level, maxTxid }) => level > 1 || maxTxid === 1n || maxTxid === 6n,
    );
    expect(offered(...left)).toEqual([1, 5, 6]);
  });

  it("for the whole retention where nothing covers it: a replica without levels offers each change", () => {
    const files = Array.from({ length: 9 }, (_, index) =>
      file(0, index + 1, index + 1, 719 - index),
    );
    expect(offered(...files)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it("if it was in force when the retention began, or is the newest, whatever its age", () => {
    const old = [file(0, 1, 1, 900), file(0, 2, 2, 800), file(0, 3, 3, 721), file(0, 4, 4, 719)];
    expect(offered(...old)).toEqual([3, 4]);
    expect(offered(...old.slice(0, 3))).toEqual([3]);
    expect(offered(file(0, 1, 1, 9000))).toEqual([1]);
    // Not one that is merged and out of its precision, though it was the last one then: its group's end is offered, and what was before the group.
    const group = [file(0, 2, 2, 725), file(0, 3, 3, 715), file(3, 2, 3, 715)];
    expect(offered(file(0, 1, 1, 900), ...group, file(0, 4, 4, 1))).toEqual([1, 3, 4]);
  });

  it("for the whole retention where there is a snapshot of it, whatever it was merged into", () => {
    expect(offered(...merged(61), file(9, 1, 3, 61))).toEqual([1, 3, 5, 6]);
  });

  it("only if a restore reaches it", () => {
    expect(
      offered(
        file(0, 1, 1, 5),
        file(0, 2, 2, 4),
        file(0, 4, 4, 3),
        file(9, 1, 6, 2),
        file(0, 7, 7, 1),
      ),
    ).toEqual([1, 2, 6, 7]);
  });

  it("with the timeline that wrote the state, also where the next one's base is of the same", () => {
    const line = [
      file(0, 1, 1, 5, "p"),
      file(0, 2, 2, 4, "p"),
      file(9, 1, 2, 3, "c"),
      file(0, 3, 3, 2, "c"),
    ];
    expect(offeredInstants(line, policy, nowMs).map(({ timeline }) => timeline)).toEqual([
      "p",
      "p",
      "c",
    ]);
  });
});

describe("ages", () => {
  it("follow the TXIDs where clocks were wrong", () => {
    const ages = (...minutes: readonly number[]): number[] => {
      const files = minutes.map((age, index) => file(0, index + 1, index + 1, age));
      return offeredInstants(files, policy, nowMs).map(({ ageMs }) => ageMs / minuteMs);
    };
    expect(ages(30, 20, 10)).toEqual([30, 20, 10]);
    // From the future: as old as the next that can be true; where none follows, of now.
    expect(ages(30, -500, 10)).toEqual([30, 10, 10]);
    expect(ages(30, 20, -500)).toEqual([30, 20, 0]);
    // Before the one that came before it: as old as that one.
    expect(ages(30, 600, 10)).toEqual([30, 30, 10]);
  });
});

describe("ranges", () => {
  it("say how many instants there are of each age, and how precisely they lie", () => {
    const files = [
      file(0, 1, 1, 700),
      file(3, 2, 9, 690),
      file(3, 10, 19, 250),
      file(2, 20, 29, 200),
      file(2, 30, 39, 90),
      file(1, 40, 49, 50),
      file(0, 50, 50, 9),
      file(0, 51, 51, 3),
    ];
    const at = (age: number): Date => new Date(nowMs - age * minuteMs);
    expect(offeredRanges(offeredInstants(files, policy, nowMs), policy)).toEqual([
      { level: 3, from: at(700), to: at(250), precisionSeconds: 1200, count: 3 },
      { level: 2, from: at(200), to: at(90), precisionSeconds: 300, count: 2 },
      { level: 1, from: at(50), to: at(50), precisionSeconds: 60, count: 1 },
      { level: 0, from: at(9), to: at(3), precisionSeconds: 0, count: 2 },
    ]);
  });

  it("do not promise what is not there: after an outage of the merges' own, or where only snapshots are left", () => {
    const files = [file(9, 1, 40, 300), file(9, 1, 90, 100), file(0, 91, 91, 1)];
    expect(offeredRanges(offeredInstants(files, policy, nowMs), policy)).toMatchObject([
      { level: 3, precisionSeconds: 1200, count: 1 },
      // 200 minutes lie between the two snapshots, and nothing else is known of them.
      { level: 2, precisionSeconds: 12_000, count: 1 },
      { level: 0, precisionSeconds: 0, count: 1 },
    ]);
    // Nor a window's, if it does not begin where the instant before ends: what is missing lies in between.
    const holed = [...files, file(2, 80, 90, 100)];
    expect(offeredRanges(offeredInstants(holed, policy, nowMs), policy)[1]).toMatchObject({
      precisionSeconds: 12_000,
    });
  });
});
