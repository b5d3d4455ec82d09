import { createPrng, type Prng } from "@vaultwarden-stream/testkit";
import { describe, expect, it } from "vitest";
import type { Txid } from "../ltx/txid.ts";
import { recoveryPoints } from "../recovery-points.ts";
import { planRestore } from "../restore/plan-restore.ts";
import { lineOf } from "./line-files.ts";
import { offeredRanges } from "./offered-instants.ts";
import type { Deletion } from "./plan-retention.ts";
import { hourMs, minuteMs, smallPolicy, TestReplica } from "./retention-testing.ts";

const policy = smallPolicy;
const { keepMs, levelIntervalsMs, graceMs } = policy;
const retentionMs = keepMs[3] as number;
/** So long every change is offered. */
const allKeptMs = keepMs[0] as number;
const stepMs = 5 * minuteMs;

/** How a replica lives: what happens besides commits, compaction, snapshots and retention. */
interface Life {
  readonly hours: number;
  readonly branches: boolean;
  /** What clocks are wrong by, in minutes. */
  readonly wrongClocks: readonly number[];
  readonly missingLevels: boolean;
  readonly proofs: boolean;
  /** Of the deletions that were planned some do not happen: a fault, a kill, a cap. */
  readonly brokenOff: boolean;
}

const quiet: Life = {
  hours: 20,
  branches: false,
  wrongClocks: [],
  missingLevels: false,
  proofs: false,
  brokenOff: false,
};

describe("retention over weeks", () => {
  it.each(seeds(1, 3))("one line, seed %i", (seed) => {
    live(seed, quiet, (replica, prng) => {
      expectPromise(replica, prng);
      expectTidy(replica);
    });
  });

  it.each(seeds(100, 3))("levels that were not merged for a time, seed %i", (seed) => {
    live(seed, { ...quiet, missingLevels: true }, expectPromise);
  });

  it.each(seeds(200, 5))("branches and dead lines, seed %i", (seed) => {
    live(seed, { ...quiet, branches: true, missingLevels: seed % 2 === 0 }, (replica, prng) => {
      expectPromise(replica, prng);
      expectDeadLines(replica);
    });
  });

  it.each(seeds(300, 3))("proven points, and deletions that were broken off, seed %i", (seed) => {
    live(seed, { ...quiet, branches: true, proofs: true, brokenOff: true }, (replica, prng) => {
      expectPromise(replica, prng);
      for (const { timeline, txid } of replica.protected) {
        expect(planRestore(replica.line(timeline), { txid }).outcome).toBe("plan");
      }
    });
  });

  it.each(seeds(400, 3))("clocks that were far behind for a time, seed %i", (seed) => {
    const wrongClocks = [0, -1, -300, -3000];
    // Every step checks that what was offered before it is offered after it, and that the newest state is.
    live(seed, { ...quiet, branches: true, wrongClocks }, () => {});
  });

  it.each(seeds(500, 3))("clocks that were ahead for a time, seed %i", (seed) => {
    live(seed, { ...quiet, branches: true, wrongClocks: [0, -1, 3, 540] }, (replica) => {
      // What the last ten minutes brought is all there.
      const reached = txids(replica);
      const recent = replica.history().filter(({ atMs }) => replica.nowMs - atMs <= allKeptMs);
      expect(recent.filter(({ txid }) => !reached.has(txid))).toEqual([]);
    });
  });
});

it("a vault that has become quiet has no work left, for compaction or for retention", () => {
  const replica = live(7, { ...quiet, hours: 6 }, () => {});
  const work: number[] = [];
  for (let hour = 0; hour < 40; hour += 1) {
    replica.live(hourMs, 0);
    const before = replica.line().length;
    replica.maintain();
    const stored = replica.line().length - before;
    const plan = replica.plan();
    if (plan.outcome === "refused") throw new Error("refused");
    replica.remove(plan.deletions);
    work.push(stored + plan.deletions.length);
  }
  expect(work.slice(0, 20).some((count) => count > 0)).toBe(true);
  expect(work.slice(20)).toEqual(Array.from({ length: 20 }, () => 0));
  expect(replica.line().length).toBeLessThanOrEqual(5);
});

function seeds(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => first + index);
}

function live(
  seed: number,
  life: Life,
  check: (replica: TestReplica, prng: Prng) => void,
): TestReplica {
  const prng = createPrng(seed);
  const replica = new TestReplica(prng, policy);
  replica.live(stepMs, 1);
  const baseDue = new Map<string, number>();
  let isBusy = true;
  for (let step = 0; step < (life.hours * hourMs) / stepMs; step += 1) {
    if (prng.chance(0.03)) isBusy = !isBusy;
    if (life.wrongClocks.length > 0 && prng.chance(0.03)) {
      replica.skewMs = prng.pick(life.wrongClocks) * minuteMs;
    }
    if (life.missingLevels && prng.chance(0.02)) {
      replica.levels = prng.pick([[1, 2, 3], [1, 2, 3], [1, 2], [1], []]);
    }
    if (life.branches && prng.chance(0.015)) branch(replica, prng, baseDue);
    replica.live(stepMs, isBusy ? prng.integer(0, 8) : prng.chance(0.05) ? 1 : 0);
    for (const [name, dueMs] of baseDue) {
      if (replica.nowMs < dueMs) continue;
      replica.storeBase(name);
      baseDue.delete(name);
    }
    replica.maintain();
    if (life.proofs && prng.chance(0.02)) replica.protected = [prove(replica, prng)];
    retain(replica, prng, life.brokenOff);
    check(replica, prng);
  }
  return replica;
}

/** A fenced side that keeps what it had; a failover; or a restore to an earlier moment, from which the head goes on. */
function branch(replica: TestReplica, prng: Prng, baseDue: Map<string, number>): void {
  const { head } = replica;
  const { tip } = replica.timeline(head);
  if (tip === undefined) return;
  const kind = prng.pick(["fenced", "failover", "restored"] as const);
  const point = prng.pick(replica.offered());
  const from = kind === "restored" ? point : { timeline: head, txid: tip };
  const name = replica.branch(from, kind !== "fenced");
  replica.live(stepMs, prng.integer(1, 4), name);
  // Some bases never arrive: the process is gone. The head's come with its next start.
  replica.noteDead();
  if (kind !== "fenced") baseDue.set(name, replica.nowMs + prng.integer(0, 6) * hourMs);
  else if (prng.chance(0.5)) replica.storeBase(name);
}

function prove(replica: TestReplica, prng: Prng) {
  const points = replica.offered();
  return prng.chance(0.7) ? (points.at(-1) ?? prng.pick(points)) : prng.pick(points);
}

function retain(replica: TestReplica, prng: Prng, isBrokenOff: boolean): void {
  const before = replica.offered();
  const plan = replica.plan();
  if (plan.outcome === "refused") {
    expect(plan.lost).toEqual([]);
    return;
  }
  const { deletions } = plan;
  const done = isBrokenOff ? deletions.slice(0, prng.integer(0, deletions.length)) : deletions;
  replica.remove(done);
  const reached = txids(replica);
  expect(before.filter(({ txid }) => !reached.has(txid))).toEqual([]);
  for (const { txid } of before.length === 0 ? [] : [prng.pick(before), prng.pick(before)]) {
    expect(planRestore(replica.line(), { txid })).toMatchObject({ outcome: "plan", txid });
  }
  // What is offered does not depend on what was deleted: else the same moment would be offered before and not after.
  expect(replica.offered().map(({ txid }) => txid)).toEqual(before.map(({ txid }) => txid));
  expect(offeredRanges(before, policy).reduce((sum, { count }) => sum + count, 0)).toBe(
    before.length,
  );
  expectLevelZero(replica, done);
}

function txids(replica: TestReplica): Set<Txid> {
  return new Set(recoveryPoints(replica.line()).map(({ txid }) => txid));
}

/** D10 as its users read it, from what was committed and not from the plan: a moment of that age lacks at most the last window's changes. */
function expectPromise(replica: TestReplica, prng: Prng): void {
  const line = replica.line();
  const history = replica.history();
  const firstMs = history[0]?.atMs ?? replica.nowMs;
  for (let sample = 0; sample < 6; sample += 1) {
    const ageMs = prng.integer(0, prng.pick([...keepMs]));
    const atMs = replica.nowMs - ageMs;
    if (atMs < firstMs) continue;
    const plan = planRestore(line, { before: new Date(atMs + 1) });
    if (plan.outcome !== "plan") throw new Error(`nothing from ${ageMs / minuteMs} minutes ago`);
    const level = keepMs.findIndex((ms) => ageMs <= ms);
    const windowMs = levelIntervalsMs[level - 1] ?? 0;
    const lacking = history.filter(({ txid, atMs: ms }) => txid > plan.txid && ms <= atMs);
    expect(lacking.filter((commit) => atMs - commit.atMs >= windowMs)).toEqual([]);
  }
}

/** Nothing is left that no rule keeps: judged by ages alone, in a replica of one line that is merged as it should be. */
function expectTidy(replica: TestReplica): void {
  const files = replica.line();
  const ageOf = (ms: Date): number => replica.nowMs - ms.getTime();
  const bases = files.filter(
    ({ level, createdAt }) => level === 9 && ageOf(createdAt) > retentionMs + graceMs,
  );
  const horizon = bases.at(-1)?.maxTxid ?? 0n;
  const newest = new Set([0, 1, 2, 3].map((one) => files.findLast(({ level }) => level === one)));
  const outlived = files.filter((file) => {
    if (newest.has(file) || file.minTxid === 1n) return false;
    // The group's end may be a window younger than its first file, and may have been merged two windows after its end.
    const windowMs = levelIntervalsMs[file.level] ?? 0;
    const keptMs = keepMs[file.level] ?? retentionMs;
    const isOld =
      file.level < 3 && ageOf(file.createdAt) > keptMs + graceMs + 3 * windowMs + stepMs;
    return isOld || file.maxTxid <= horizon;
  });
  expect(outlived).toEqual([]);
  expect(bases.length).toBeLessThanOrEqual(1);
}

/** Kept whole while anybody may ask for them, and gone whole afterwards unless something younger needs them. */
function expectDeadLines(replica: TestReplica): void {
  const facts = replica.facts();
  const living = new Set(replica.line().map(({ key }) => key));
  const parents = new Set([...facts.values()].map(({ parent }) => parent?.timeline));
  for (const name of replica.names) {
    const { lastStoredMs } = replica.timeline(name);
    const own = facts.get(name)?.files ?? [];
    const ageMs = replica.nowMs - lastStoredMs;
    if (ageMs > retentionMs + graceMs) {
      const isNeeded = parents.has(name) || own.some(({ key }) => living.has(key));
      if (!isNeeded && name !== replica.head) expect(own, name).toEqual([]);
      continue;
    }
    const reached = new Set(recoveryPoints(lineOf(name, facts)).map(({ txid }) => txid));
    expect([...replica.diedWith(name)].filter((txid) => !reached.has(txid))).toEqual([]);
  }
}

function expectLevelZero(replica: TestReplica, done: readonly Deletion[]): void {
  const catalog = replica.timeline(replica.head).catalog;
  expect(catalog.level(0).at(-1)?.maxTxid).toBe(
    replica.timeline(replica.head).commits.at(-1)?.txid,
  );
  expect(new Set(done.map(({ file }) => file.key)).size).toBe(done.length);
}
