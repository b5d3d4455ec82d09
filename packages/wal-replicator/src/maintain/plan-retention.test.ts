import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import type { TimelinePosition } from "../replica/epoch-record.ts";
import { planRetention, type RetentionFacts, type RetentionTimeline } from "./plan-retention.ts";
import { minuteMs, smallPolicy as policy, testFile } from "./retention-testing.ts";

/** `smallPolicy`: level 0 for 10 minutes, 1 for an hour, 2 for four, 3 for twelve; 5 minutes of grace. */
const nowMs = Date.UTC(2026, 0, 8);

/** A file whose content is so many minutes old. */
const file = (timeline: string, level: number, min: number, max: number, ageMinutes: number) =>
  testFile(timeline, level, [min, max], nowMs - ageMinutes * minuteMs);

/** A timeline of files, stored when the newest of them was. */
function timelineOf(
  timeline: string,
  parent: readonly [string, number] | null,
  ...files: readonly ReplicaFile[]
): RetentionTimeline {
  return {
    timeline,
    parent: parent && { timeline: parent[0], txid: toTxid(parent[1]) },
    files,
    lastStoredMs: Math.max(...files.map(({ createdAt }) => createdAt.getTime())),
  };
}

function deleted(
  timelines: readonly RetentionTimeline[],
  points: readonly TimelinePosition[] = [],
) {
  const facts: RetentionFacts = {
    head: timelines[0]?.timeline ?? "",
    timelines: new Map(timelines.map((one) => [one.timeline, one])),
    protected: points,
  };
  const plan = planRetention(facts, policy, nowMs);
  if (plan.outcome === "refused") throw new Error(`refused: ${plan.lost.map(({ txid }) => txid)}`);
  return plan.deletions.map(({ file: { key }, reason }) => `${key} ${reason}`);
}

describe("what is merged", () => {
  const group = (endAge: number): RetentionTimeline =>
    timelineOf(
      "a",
      null,
      file("a", 0, 1, 1, 40),
      file("a", 0, 2, 2, endAge + 0.9),
      file("a", 0, 3, 3, endAge),
      file("a", 1, 2, 3, endAge),
      file("a", 0, 4, 4, 1),
    );

  it("goes as a group, newest first, once its end is older than the precision and the grace", () => {
    expect(deleted([group(15)])).toEqual([]);
    expect(deleted([group(15.1)])).toEqual(["a/0/3-3 merged", "a/0/2-2 merged"]);
  });

  it("stays where the file of the next level lacks some of it", () => {
    const straddled = timelineOf(
      "a",
      null,
      file("a", 0, 1, 1, 300),
      file("a", 0, 2, 2, 290),
      file("a", 0, 3, 3, 280),
      file("a", 0, 4, 4, 270),
      file("a", 1, 3, 3, 280),
      file("a", 0, 5, 5, 1),
    );
    expect(deleted([straddled])).toEqual(["a/0/3-3 merged"]);
  });

  it("stays for longer where a level is missing: so long its precision is kept by the level below", () => {
    const withoutLevels = (age: number): RetentionTimeline =>
      timelineOf(
        "a",
        null,
        file("a", 0, 1, 1, 400),
        file("a", 0, 2, 2, age),
        file("a", 2, 2, 2, age),
        file("a", 0, 3, 3, 1),
      );
    expect(deleted([withoutLevels(64)])).toEqual([]);
    expect(deleted([withoutLevels(66)])).toEqual(["a/0/2-2 merged"]);
  });

  it("is nothing in a replica without any level above 0, however old: stock's, and ours of before", () => {
    const files = Array.from({ length: 20 }, (_, index) =>
      file("a", 0, index + 1, index + 1, 900 - index),
    );
    expect(deleted([timelineOf("a", null, ...files)])).toEqual([]);
  });

  it("stays for the grace where the merge itself came late: it was offered until then", () => {
    const late = group(100);
    const plan = (storedAge: number) =>
      planRetention(
        {
          head: "a",
          timelines: new Map([["a", late]]),
          protected: [],
          storedMs: ({ level }) => (level === 1 ? nowMs - storedAge * minuteMs : undefined),
        },
        policy,
        nowMs,
      );
    expect(plan(5)).toEqual({ outcome: "plan", deletions: [] });
    expect(plan(5.1)).toMatchObject({ deletions: [{ reason: "merged" }, { reason: "merged" }] });
  });

  it("stays where it is the newest of its level: compaction goes on behind it", () => {
    const idle = timelineOf(
      "a",
      null,
      file("a", 0, 1, 1, 500),
      file("a", 0, 2, 2, 400),
      file("a", 1, 2, 2, 400),
      file("a", 2, 2, 2, 400),
      file("a", 3, 2, 2, 400),
    );
    expect(deleted([idle])).toEqual([]);
    const { files } = idle;
    const busy = timelineOf(
      "a",
      null,
      ...files,
      file("a", 1, 3, 3, 300),
      file("a", 2, 3, 3, 300),
      file("a", 0, 3, 3, 300),
      file("a", 0, 4, 4, 1),
    );
    expect(deleted([busy])).toEqual([
      "a/0/2-2 merged",
      "a/0/3-3 merged",
      "a/1/2-2 merged",
      "a/2/2-2 merged",
    ]);
  });

  it("stays while it may be young: its clock was behind that of the file before it", () => {
    const skewed = timelineOf(
      "a",
      null,
      file("a", 0, 1, 1, 3),
      file("a", 0, 2, 2, 3000),
      file("a", 1, 2, 2, 3000),
      file("a", 0, 3, 3, 2),
    );
    expect(deleted([skewed])).toEqual([]);
  });

  it("goes although a clock that was ahead has dated it into the future", () => {
    const ahead = timelineOf(
      "a",
      null,
      file("a", 0, 1, 1, 60),
      file("a", 0, 2, 2, -9000),
      file("a", 1, 2, 2, -9000),
      file("a", 0, 3, 3, 50),
    );
    expect(deleted([ahead])).toEqual(["a/0/2-2 merged"]);
  });
});

describe("what is beyond the retention", () => {
  const line = (baseAge: number): RetentionTimeline =>
    timelineOf(
      "a",
      null,
      file("a", 0, 1, 1, baseAge + 30),
      file("a", 3, 2, 4, baseAge + 10),
      file("a", 3, 5, 9, baseAge),
      file("a", 9, 1, 9, baseAge),
      file("a", 3, 10, 14, baseAge - 10),
      file("a", 0, 15, 15, 1),
    );

  it("goes once a base is older than the retention and the grace, oldest first; that base stays", () => {
    expect(deleted([line(725)])).toEqual([]);
    expect(deleted([line(726)])).toEqual([
      "a/0/1-1 beyond-retention",
      "a/3/2-4 beyond-retention",
      "a/3/5-9 beyond-retention",
    ]);
  });

  it("stays where the base was made long after the state that it is of: times in between begin with an older one", () => {
    const { files } = line(900);
    const late = files.map((one) => (one.level === 9 ? file("a", 9, 1, 9, 700) : one));
    expect(deleted([timelineOf("a", null, ...late)])).toEqual([]);
  });

  it("keeps a merged file that the base lies in: what comes behind the base needs it", () => {
    const inside = timelineOf(
      "a",
      null,
      file("a", 0, 1, 1, 800),
      file("a", 3, 2, 9, 780),
      file("a", 9, 1, 7, 785),
      file("a", 0, 10, 10, 1),
    );
    // The end of the snapshot is one of its own: nothing says that it lies in the merge.
    expect(deleted([inside])).toEqual(["a/0/1-1 beyond-retention"]);
  });

  it("counts on no base that a higher level covers, as stock's first files are: it goes with its group", () => {
    const covered = timelineOf(
      "a",
      null,
      file("a", 9, 1, 1, 950),
      file("a", 1, 1, 2, 900),
      file("a", 3, 1, 9, 100),
      file("a", 0, 10, 10, 1),
    );
    expect(deleted([covered])).toEqual([]);
  });

  it("keeps everything without a base, and the newest base whatever its age", () => {
    const { files } = line(3000);
    const old = files.filter(({ level }) => level !== 9);
    // The first file is a base, too.
    expect(deleted([timelineOf("a", null, ...old)])).toEqual([]);
    const idle = timelineOf(
      "a",
      null,
      file("a", 0, 1, 1, 9000),
      file("a", 0, 2, 2, 8000),
      file("a", 3, 2, 2, 8000),
      file("a", 9, 1, 2, 8000),
    );
    // The newest of each level stay: else they would be merged again, for ever.
    expect(deleted([idle])).toEqual(["a/0/1-1 beyond-retention"]);
  });
});

describe("timelines", () => {
  const parent = timelineOf(
    "p",
    null,
    file("p", 0, 1, 1, 2000),
    file("p", 3, 2, 3, 1900),
    file("p", 0, 4, 4, 1890),
    file("p", 0, 5, 5, 1880),
    file("p", 0, 6, 6, 1870),
    file("p", 1, 4, 6, 1870),
    file("p", 2, 4, 6, 1870),
    file("p", 3, 4, 6, 1870),
  );

  it("a branch point inside a merged file of the parent: what the child needs of it stays, and the tail goes whole", () => {
    const child = timelineOf("c", ["p", 5], file("c", 0, 6, 6, 30), file("c", 0, 7, 7, 1));
    expect(deleted([child, parent])).toEqual([
      "p/0/6-6 dead-line",
      "p/1/4-6 dead-line",
      "p/2/4-6 dead-line",
      "p/3/4-6 dead-line",
    ]);
  });

  it("a parent goes once the child's own base is the horizon; until then all stays of it that the child restores over", () => {
    const child = (baseAge: number) =>
      timelineOf(
        "c",
        ["p", 6],
        file("c", 0, 7, 7, 1800),
        file("c", 9, 1, 7, baseAge),
        file("c", 0, 8, 8, 1),
      );
    expect(deleted([child(700), parent])).toEqual(["p/0/5-5 merged", "p/0/4-4 merged"]);
    expect(deleted([child(800), parent]).filter((one) => one.startsWith("p/"))).toHaveLength(
      parent.files.length,
    );
  });

  it("a dead line stays whole with what it restores over, although the head could do without", () => {
    const head = timelineOf(
      "h",
      ["p", 6],
      file("h", 0, 7, 7, 1800),
      file("h", 9, 1, 7, 1800),
      file("h", 0, 8, 8, 1),
    );
    const dead = timelineOf("d", ["p", 5], file("d", 0, 6, 6, 500), file("d", 0, 7, 7, 490));
    const kept = deleted([head, parent, dead]);
    expect(kept.filter((one) => /^p\/0\/[145]|^p\/3\/2|^d/.test(one))).toEqual([]);
    expect(kept).toContain("h/0/7-7 beyond-retention");
    const inGrace = { ...dead, lastStoredMs: nowMs - 724 * minuteMs };
    expect(deleted([head, parent, inGrace]).filter((one) => one.startsWith("d"))).toEqual([]);
    const over = timelineOf("d", ["p", 5], file("d", 0, 6, 6, 800), file("d", 0, 7, 7, 790));
    expect(deleted([head, parent, over])).toEqual(
      expect.arrayContaining([
        "p/0/1-1 beyond-retention",
        "d/0/7-7 dead-line",
        "d/0/6-6 dead-line",
      ]),
    );
  });

  it("what stock wrote directly there is read as a parent and left alone", () => {
    const stock = {
      ...parent,
      timeline: "",
      files: parent.files.map((one) => ({ ...one, timeline: "" })),
    };
    const child = timelineOf(
      "c",
      ["", 6],
      file("c", 0, 7, 7, 1800),
      file("c", 9, 1, 7, 1800),
      file("c", 0, 8, 8, 1),
    );
    expect(deleted([child, stock])).toEqual(["c/0/7-7 beyond-retention"]);
  });

  it("a proven point keeps its chain, in whichever timeline", () => {
    const head = timelineOf(
      "h",
      ["p", 6],
      file("h", 0, 7, 7, 1800),
      file("h", 9, 1, 7, 1800),
      file("h", 0, 8, 8, 1),
    );
    const gone = deleted([head, parent], [{ timeline: "p", txid: toTxid(5) }]);
    expect(gone.filter((one) => /^p\/(0\/[145]|3\/2)/.test(one))).toEqual([]);
    // A point that cannot be restored any more keeps nothing, and holds nothing up.
    expect(deleted([head, parent], [{ timeline: "p", txid: toTxid(99) }])).toEqual(
      deleted([head, parent]),
    );
  });
});

it("knows a hole, and removes nothing that what is behind it may need", () => {
  const holed = timelineOf(
    "a",
    null,
    file("a", 0, 1, 1, 1000),
    file("a", 3, 2, 3, 950),
    file("a", 3, 6, 7, 900),
    file("a", 9, 1, 9, 100),
    file("a", 0, 10, 10, 1),
  );
  expect(deleted([holed])).toEqual([]);
});

it("deletes nothing at all where its own rules would take what is offered: levels that are not aligned, as nobody of ours writes them", () => {
  const files = [
    file("a", 0, 1, 1, 400),
    ...[2, 3, 4, 5, 6, 7, 8].map((txid) => file("a", 0, txid, txid, 390 - txid)),
    file("a", 1, 2, 8, 382),
    // Ends where a file of level 0 does and begins where none of level 1 does.
    file("a", 2, 4, 6, 384),
    file("a", 0, 9, 9, 1),
  ];
  const timelines = new Map([["a", timelineOf("a", null, ...files)]]);
  const plan = planRetention({ head: "a", timelines, protected: [] }, policy, nowMs);
  expect(plan).toEqual({ outcome: "refused", lost: [{ timeline: "a", txid: 6n }] });
});
