import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import type { EpochRecord } from "../replica/epoch-record.ts";
import { type LineagePlanOutcome, type LineageTarget, planLineage } from "./plan-lineage.ts";

function epoch(
  number: number,
  timeline: string,
  parent: { timeline: string; txid: number } | null = null,
  kind: EpochRecord["kind"] = "writer",
): EpochRecord {
  return {
    version: 1,
    epoch: number,
    nonce: String(number).padStart(32, "0"),
    kind,
    owner: { host: "h", pid: 1, installation: { hostId: "", spoolInode: "1", spoolBornAt: "1" } },
    timeline,
    parent: parent && { timeline: parent.timeline, txid: toTxid(parent.txid) },
    startedAt: "2026-01-01T00:00:00Z",
  };
}

/** `"0:3-5@7"`: level 0, TXIDs 3 to 5, made at 7 (default: at its max). */
function files(timeline: string, text: string): ReplicaFile[] {
  return text.split(" ").map((entry) => {
    const match = /^(\d):(\d+)-(\d+)(?:@(\d+))?$/.exec(entry);
    if (match === null) throw new Error(`no file: ${entry}`);
    const [, level, min, max, at] = match;
    return {
      timeline,
      level: Number(level),
      minTxid: toTxid(Number(min)),
      maxTxid: toTxid(Number(max)),
      key: `${timeline}/${level}:${min}-${max}`,
      size: 200,
      createdAt: new Date(Number(at ?? max)),
    };
  });
}

interface Run {
  readonly outcome: LineagePlanOutcome;
  readonly keys: string[];
  readonly listed: string[];
  /** How many writers' records were asked for, and of which timelines the founder's. */
  readonly writerCount: number;
  readonly founders: string[];
}

function run(
  epochs: readonly EpochRecord[],
  listings: Record<string, readonly ReplicaFile[]>,
  target: LineageTarget = {},
): Run {
  const listed: string[] = [];
  const founders: string[] = [];
  const writers = epochs.filter(({ kind }) => kind === "writer").reverse();
  let writerCount = 0;
  const plan = planLineage(target);
  let step = plan.next();
  while (step.done !== true) {
    const request = step.value;
    switch (request.need) {
      case "files":
        listed.push(request.timeline);
        step = plan.next({ files: listings[request.timeline] ?? [] });
        break;
      case "next-writer":
        step = plan.next({ record: writers[writerCount] });
        writerCount += 1;
        break;
      case "founder":
        founders.push(request.timeline);
        step = plan.next({
          record: epochs.find(({ timeline }) => timeline === request.timeline),
        });
    }
  }
  const outcome = step.value;
  return {
    outcome,
    keys: "files" in outcome ? outcome.files.map((file) => file.key) : [],
    listed,
    writerCount,
    founders,
  };
}

describe("planLineage", () => {
  const epochs = [
    epoch(1, "a"),
    epoch(2, "a"),
    epoch(3, "b", { timeline: "a", txid: 3 }),
    epoch(4, "c", { timeline: "b", txid: 5 }),
  ];
  const a = files("a", "0:1-1 0:2-2 0:3-3 0:4-4@40");
  const b = files("b", "9:1-3 0:4-4 0:5-5 0:6-6@60");

  it("restores the newest epoch's timeline, lists no other and asks for no other epoch", () => {
    const c = files("c", "9:1-5 0:6-6");
    const { keys, listed, outcome, writerCount, founders } = run(epochs, { a, b, c });
    expect(keys).toEqual(["c/9:1-5", "c/0:6-6"]);
    expect(listed).toEqual(["c"]);
    expect({ writerCount, founders }).toEqual({ writerCount: 1, founders: [] });
    expect(outcome).toMatchObject({ timeline: "c", txid: 6n });
  });

  it("takes no epoch for the head that has written nothing", () => {
    const { outcome, keys } = run(epochs, { a, b, c: [] });
    expect(outcome).toMatchObject({ outcome: "plan", timeline: "b", txid: 6n });
    expect(keys).toEqual(["b/9:1-3", "b/0:4-4", "b/0:5-5", "b/0:6-6"]);
  });

  it("lists a timeline once that many empty epochs went on in", () => {
    const many = [...epochs, epoch(5, "d"), epoch(6, "d"), epoch(7, "d")];
    const { outcome, listed, writerCount } = run(many, { a, b, c: files("c", "9:1-5") });
    expect(outcome).toMatchObject({ outcome: "plan", timeline: "c" });
    expect({ listed, writerCount }).toEqual({ listed: ["d", "c"], writerCount: 4 });
  });

  it("never takes a branch for the head, and restores it over its parents by its name, up to where it left them", () => {
    const withBranch = [...epochs, epoch(5, "x", { timeline: "b", txid: 4 }, "branch")];
    const listings = { a, b, c: files("c", "9:1-5"), x: files("x", "0:5-5@9 0:6-6@9") };
    expect(run(withBranch, listings).outcome).toMatchObject({ timeline: "c", txid: 5n });
    const named = run(withBranch, listings, { timeline: "x" });
    expect(named.keys).toEqual(["b/9:1-3", "b/0:4-4", "x/0:5-5", "x/0:6-6"]);
    expect(named.outcome).toMatchObject({ timeline: "x", txid: 6n });
    const before = run(withBranch, listings, { timeline: "x", txid: toTxid(4) });
    expect(before.keys).toEqual(["b/9:1-3", "b/0:4-4"]);
  });

  it("restores increments over the parent up to the branch while the base has not arrived", () => {
    const { outcome, keys } = run(epochs, { a, b, c: files("c", "0:6-6@7 0:7-7") });
    expect(keys).toEqual(["b/9:1-3", "b/0:4-4", "b/0:5-5", "c/0:6-6", "c/0:7-7"]);
    expect(outcome).toMatchObject({ timeline: "c", txid: 7n });
  });

  it("goes through more than one ancestor, each up to its own branch", () => {
    const { keys } = run(epochs, {
      a,
      b: files("b", "0:4-4 0:5-5 0:6-6"),
      c: files("c", "0:6-6@7"),
    });
    expect(keys).toEqual(["a/0:1-1", "a/0:2-2", "a/0:3-3", "b/0:4-4", "b/0:5-5", "c/0:6-6"]);
  });

  it("counts a grandparent only up to a branch that lies before the parent's own", () => {
    const early = [
      epoch(1, "a"),
      epoch(2, "b", { timeline: "a", txid: 4 }),
      epoch(3, "c", { timeline: "b", txid: 2 }),
    ];
    const { keys, outcome } = run(early, { a, b: files("b", "0:5-5"), c: files("c", "0:3-3@30") });
    expect(keys).toEqual(["a/0:1-1", "a/0:2-2", "c/0:3-3"]);
    expect(outcome).toMatchObject({ timeline: "c", txid: 3n });
  });

  it("finds a time before the branch in the parent, and says so", () => {
    const c = files("c", "9:1-5@50 0:6-6@55");
    const { outcome, keys } = run(epochs, { a, b, c }, { before: new Date(5) });
    expect(keys).toEqual(["b/9:1-3", "b/0:4-4"]);
    expect(outcome).toMatchObject({ timeline: "b", txid: 4n, createdAt: new Date(4) });
  });

  it("never takes what a dead branch wrote after the branch", () => {
    const c = files("c", "9:1-5@5 0:6-6@100");
    const { keys } = run(epochs, { a, b, c }, { before: new Date(70) });
    expect(keys).toEqual(["c/9:1-5"]);
    expect(run(epochs, { a, b, c }, { timeline: "a" }).keys).toContain("a/0:4-4");
  });

  it("finds a TXID before the branch in the parent", () => {
    const c = files("c", "9:1-5 0:6-6");
    const { outcome } = run(epochs, { a, b, c }, { txid: toTxid(2) });
    expect(outcome).toMatchObject({ outcome: "plan", timeline: "a", txid: 2n });
  });

  it("refuses a damaged head instead of restoring an older timeline in silence", () => {
    const { outcome } = run(epochs, { a, b, c: files("c", "9:1-5 0:7-7") });
    expect(outcome).toMatchObject({ outcome: "hole", timeline: "c" });
  });

  it("restores a stock replica below the prefix if no epoch has any file", () => {
    const stock = files("", "0:1-1 0:2-2");
    expect(run([], { "": stock }).outcome).toMatchObject({ outcome: "plan", timeline: "" });
    expect(run(epochs, { "": stock }).outcome).toMatchObject({ outcome: "plan", timeline: "" });
    expect(run(epochs, {}).outcome).toEqual({ outcome: "nothing" });
  });

  it("ends although records name each other in a circle", () => {
    const circle = [
      epoch(1, "a", { timeline: "b", txid: 9 }),
      epoch(2, "b", { timeline: "a", txid: 9 }),
    ];
    const { outcome } = run(circle, { a: files("a", "0:5-5"), b: files("b", "0:7-7") });
    expect(outcome).toMatchObject({ outcome: "no-base", timeline: "b" });
  });
});
