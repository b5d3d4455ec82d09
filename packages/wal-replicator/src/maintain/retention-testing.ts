import type { Prng } from "@vaultwarden-stream/testkit";
import { type Txid, toTxid } from "../ltx/txid.ts";
import { recoveryPoints } from "../recovery-points.ts";
import { Catalog, type ReplicaFile } from "../replica/catalog.ts";
import type { TimelinePosition } from "../replica/epoch-record.ts";
import { ancestorsOf, lineOf, type TimelineFiles } from "./line-files.ts";
import { offeredInstants } from "./offered-instants.ts";
import { planCompaction } from "./plan-compaction.ts";
import { type Deletion, planRetention, type RetentionPlan } from "./plan-retention.ts";
import { isSnapshotDue } from "./plan-snapshot.ts";
import type { MaintenancePolicy } from "./policy.ts";

/** A replica of listings alone, for the tests of retention: files with names, times and sizes, and nothing in them. */

export const minuteMs = 60_000;
export const hourMs: number = 60 * minuteMs;

/** The default policy in small: a month is twelve hours. */
export const smallPolicy: MaintenancePolicy = {
  levelIntervalsMs: [minuteMs, 5 * minuteMs, 20 * minuteMs],
  keepMs: [10 * minuteMs, hourMs, 4 * hourMs, 12 * hourMs],
  snapshotIntervalMs: 2 * hourMs,
  snapshotAtLeastMs: 4 * hourMs,
  snapshotGrowth: 0.5,
  graceMs: 5 * minuteMs,
};

export function testFile(
  timeline: string,
  level: number,
  [min, max]: readonly [number | bigint, number | bigint],
  atMs: number,
  size = 1_000,
): ReplicaFile {
  const minTxid = toTxid(BigInt(min));
  const maxTxid = toTxid(BigInt(max));
  const key = `${timeline}/${level}/${minTxid}-${maxTxid}`;
  return { timeline, level, minTxid, maxTxid, key, size, createdAt: new Date(atMs) };
}

export interface TestCommit {
  readonly txid: Txid;
  /** By a clock that is right. */
  readonly atMs: number;
}

class TestTimeline {
  readonly name: string;
  readonly parent: TimelinePosition | null;
  readonly catalog: Catalog = new Catalog();
  /** All that was ever committed here. */
  readonly commits: TestCommit[] = [];
  lastStoredMs: number;

  constructor(name: string, parent: TimelinePosition | null, bornMs: number) {
    this.name = name;
    this.parent = parent;
    this.lastStoredMs = bornMs;
  }

  get tip(): Txid | undefined {
    return this.commits.at(-1)?.txid ?? this.parent?.txid;
  }
}

/** Timelines that come, branch off and die, as their writers' plans make them. */
export class TestReplica {
  readonly #prng: Prng;
  readonly #policy: MaintenancePolicy;
  readonly #timelines = new Map<string, TestTimeline>();
  readonly #dead = new Map<string, ReadonlySet<Txid>>();
  head: string;
  nowMs: number = Date.UTC(2026, 0, 1);
  /** What the writer's clock is wrong by. */
  skewMs = 0;
  /** Levels that are merged into. */
  levels: readonly number[] = [1, 2, 3];
  protected: TimelinePosition[] = [];

  constructor(prng: Prng, policy: MaintenancePolicy) {
    this.#prng = prng;
    this.#policy = policy;
    this.head = this.#begin(null);
  }

  timeline(name: string): TestTimeline {
    const found = this.#timelines.get(name);
    if (found === undefined) throw new RangeError(`no timeline ${name}`);
    return found;
  }

  get names(): string[] {
    return [...this.#timelines.keys()];
  }

  /** Time passes, and there are as many commits in it. */
  live(forMs: number, commitCount: number, name: string = this.head): void {
    const endMs = this.nowMs + forMs;
    const times = Array.from({ length: commitCount }, () => this.#prng.integer(0, forMs - 1));
    for (const ms of times.toSorted((a, b) => a - b)) {
      this.nowMs = endMs - forMs + ms;
      this.#commit(this.timeline(name));
    }
    this.nowMs = endMs;
  }

  #commit(timeline: TestTimeline): void {
    const txid = (timeline.tip ?? 0n) + 1n;
    const size = txid === 1n ? 20_000 : this.#prng.integer(200, 2_000);
    this.#store(timeline, testFile(timeline.name, 0, [txid, txid], this.#stampMs, size));
    timeline.commits.push({ txid: toTxid(txid), atMs: this.nowMs });
  }

  get #stampMs(): number {
    return this.nowMs + this.skewMs;
  }

  #store(timeline: TestTimeline, file: ReplicaFile): void {
    timeline.catalog.add(file);
    timeline.lastStoredMs = this.nowMs;
  }

  /** What the head's writer has to do. */
  maintain(): void {
    const timeline = this.timeline(this.head);
    const { catalog } = timeline;
    for (;;) {
      const job = planCompaction(catalog, this.#policy, this.nowMs, this.levels);
      if (job === undefined) break;
      const { level, minTxid, maxTxid, files } = job;
      const atMs = files.at(-1)?.createdAt.getTime() ?? Number.NaN;
      this.#store(timeline, testFile(timeline.name, level, [minTxid, maxTxid], atMs));
    }
    if (isSnapshotDue(catalog, this.#policy, this.nowMs)) this.storeBase(this.head);
  }

  storeBase(name: string): void {
    const timeline = this.timeline(name);
    const last = timeline.commits.at(-1);
    if (last === undefined) return;
    this.#store(timeline, testFile(name, 9, [1n, last.txid], this.#stampMs, 20_000));
  }

  /** A new timeline goes on from there. */
  branch(parent: TimelinePosition, isHead: boolean): string {
    const name = this.#begin(parent);
    if (isHead) this.head = name;
    return name;
  }

  #begin(parent: TimelinePosition | null): string {
    const name = `t${this.#timelines.size}`;
    this.#timelines.set(name, new TestTimeline(name, parent, this.nowMs));
    return name;
  }

  facts(): ReadonlyMap<string, TimelineFiles & { readonly lastStoredMs: number }> {
    return new Map(
      [...this.#timelines.values()]
        .filter(({ catalog }) => catalog.files.length > 0)
        .map(({ name, parent, catalog, lastStoredMs }) => [
          name,
          { timeline: name, parent, files: catalog.files, lastStoredMs },
        ]),
    );
  }

  plan(): RetentionPlan {
    const facts = { head: this.head, timelines: this.facts(), protected: this.protected };
    return planRetention(facts, this.#policy, this.nowMs);
  }

  remove(deletions: readonly Deletion[]): void {
    for (const { file } of deletions) this.timeline(file.timeline).catalog.remove(file);
  }

  line(name: string = this.head): ReplicaFile[] {
    return lineOf(name, this.facts());
  }

  offered(): ReturnType<typeof offeredInstants> {
    return offeredInstants(this.line(), this.#policy, this.nowMs);
  }

  /** What can be restored now and the head's line does not have: from now on nobody merges or thins it. */
  noteDead(): void {
    const inLine = ancestorsOf(this.head, (name) => this.timeline(name).parent);
    for (const { name, parent } of this.#timelines.values()) {
      if (name === this.head) continue;
      const leftAt = inLine.find(({ timeline }) => timeline === name)?.txid;
      const floor = leftAt ?? parent?.txid ?? 0n;
      const points = recoveryPoints(this.line(name)).map(({ txid }) => txid);
      const died = points.filter((txid) => txid > floor);
      this.#dead.set(name, new Set([...this.diedWith(name), ...died]));
    }
  }

  /** What a timeline had when it left the head's line, and the head has not. */
  diedWith(name: string): ReadonlySet<Txid> {
    return this.#dead.get(name) ?? new Set();
  }

  /** What the head's line committed, whether it can be restored or not; oldest first. */
  history(name: string = this.head): TestCommit[] {
    const { parent, commits } = this.timeline(name);
    if (parent === null) return commits;
    const older = this.history(parent.timeline).filter(({ txid }) => txid <= parent.txid);
    return [...older, ...commits];
  }
}
