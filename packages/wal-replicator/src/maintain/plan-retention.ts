import type { Txid } from "../ltx/txid.ts";
import { recoveryPoints } from "../recovery-points.ts";
import { compareRanges, type ReplicaFile } from "../replica/catalog.ts";
import type { TimelinePosition } from "../replica/epoch-record.ts";
import { snapshotLevel } from "../replica/replica-layout.ts";
import { planRestore } from "../restore/plan-restore.ts";
import { findCovers, keptBelowMs, retentionOf } from "./covers.ts";
import { type DeadLine, deadLines, keptUntilMs } from "./dead-lines.ts";
import { settleEndTimes } from "./end-times.ts";
import { lineOf, type TimelineFiles } from "./line-files.ts";
import { offeredInstants, standingPoints } from "./offered-instants.ts";
import type { MaintenancePolicy } from "./policy.ts";

export interface RetentionTimeline extends TimelineFiles {
  /** When an object of it was last stored, or its epoch begun, by the store's own clock. Milliseconds since the Unix epoch. */
  readonly lastStoredMs: number;
}

/** All that retention judges by. What is not in here is not deleted. */
export interface RetentionFacts {
  /** The timeline whose line a plain restore takes: the one that the newest writer writes into. */
  readonly head: string;
  /** All timelines of the replica that have files, by name. */
  readonly timelines: ReadonlyMap<string, RetentionTimeline>;
  /** Points that a drill has restored: one chain of files to each stays, whatever its age. */
  readonly protected: readonly TimelinePosition[];
  /** Since when a merged file can be restored from, in milliseconds since the Unix epoch. Default: since its content's own time. */
  readonly storedMs?: (file: ReplicaFile) => number | undefined;
}

export interface Deletion {
  readonly file: ReplicaFile;
  readonly reason: DeletionReason;
}

/**
 * `merged`: a file of a higher level holds it, and its precision is not offered any more. `beyond-retention`: a base that is older than the
 * retention holds it. `dead-line`: the head does not restore over it, and its own retention is over.
 */
export type DeletionReason = "merged" | "beyond-retention" | "dead-line";

export type RetentionPlan =
  /** Deletions in an order that leaves, wherever it is broken off, whatever is offered. */
  | { readonly outcome: "plan"; readonly deletions: readonly Deletion[] }
  /** These could not be restored afterwards. It is a mistake of the plan and not of the store: nothing may be deleted. */
  | { readonly outcome: "refused"; readonly lost: readonly TimelinePosition[] };

/**
 * Which files nobody can ask for any more (architecture.md D10). Pure; n log n for n files. A file stays while one of these holds:
 *
 * 1. It is of the head's line, ends behind the _horizon_, and no file of a higher level holds it whose end is older than the time of that precision
 *    plus grace, and which was stored longer ago than the grace. So what was merged together goes together. The horizon is the newest base (a snapshot, or whatever else begins with TXID 1)
 *    that is, with all before it, older than the retention plus grace: without a base of its own a timeline keeps what it needs of its parents.
 * 2. It is the horizon itself.
 * 3. It is of a dead line that was alive within the retention plus grace, or such a line is restored over it.
 * 4. It is in the chain to a protected point.
 * 5. It is of the head's line, the newest of its level in its timeline, and something else of the timeline stays: stock counts from TXID 1 again where
 *    level 0 is empty, and compaction would merge again what a level does not show any more.
 *
 * The unnamed timeline is somebody else's: it is read, and nothing of it is deleted.
 *
 * The plan ends by checking itself: what is offered before, and each point of a dead line that stays, can be restored after it.
 *
 * @param nowMs - by the store's clock.
 */
export function planRetention(
  facts: RetentionFacts,
  policy: MaintenancePolicy,
  nowMs: number,
): RetentionPlan {
  const { head, timelines } = facts;
  const line = lineOf(head, timelines);
  const lines: Lines = { ...facts, line, dead: deadLines(head, timelines) };
  const verdicts: Verdicts = new Map([
    ...judgeLine(lines, policy, nowMs),
    ...judgeDead(lines.dead, policy, nowMs),
  ]);
  const needed = neededFiles(lines, verdicts);
  const deletions = [...verdicts]
    .filter(([file]) => file.timeline !== "" && !needed.has(file))
    .map(([file, verdict]) => ({ file, ...verdict }))
    .sort(compareDeletions);
  const lost = deletions.length === 0 ? [] : findLost(lines, deletions, policy, nowMs);
  if (lost.length > 0) return { outcome: "refused", lost };
  return { outcome: "plan", deletions: deletions.map(({ file, reason }) => ({ file, reason })) };
}

interface Lines extends RetentionFacts {
  /** Of the head, oldest timeline first. */
  readonly line: readonly ReplicaFile[];
  readonly dead: readonly DeadLine<RetentionTimeline>[];
}

/** Why a file may go, as far as its own line is concerned, and which files of its level go before it. */
interface Verdict {
  readonly reason: DeletionReason;
  /** Groups go in ascending order, and of each the newest file first: wherever that is broken off, the files that are left continue one another. */
  readonly group: bigint;
}

type Verdicts = Map<ReplicaFile, Verdict>;

function judgeLine({ line, storedMs }: Lines, policy: MaintenancePolicy, nowMs: number): Verdicts {
  const verdicts: Verdicts = new Map();
  const times = settleEndTimes(line, nowMs);
  for (const [file, cover] of findCovers(line)) {
    const coverAgeMs = nowMs - (times.get(cover.maxTxid) ?? nowMs);
    if (coverAgeMs <= keptBelowMs(policy, cover.level) + policy.graceMs) continue;
    // After an outage merges come late, and what they hold was offered until then: somebody may just be restoring it.
    if (nowMs - (storedMs?.(cover) ?? 0) <= policy.graceMs) continue;
    verdicts.set(file, { reason: "merged", group: cover.maxTxid });
  }
  const horizon = findHorizon(line, policy, nowMs);
  if (horizon === undefined) return verdicts;
  for (const file of line) {
    if (file.maxTxid > horizon.maxTxid) continue;
    verdicts.set(file, { reason: "beyond-retention", group: file.maxTxid });
  }
  verdicts.delete(horizon);
  return verdicts;
}

/** The newest base that, with all before it, is beyond the retention: ages do not grow with the TXID. */
function findHorizon(
  line: readonly ReplicaFile[],
  policy: MaintenancePolicy,
  nowMs: number,
): ReplicaFile | undefined {
  const retentionMs = retentionOf(policy);
  const isOver = (ageMs: number): boolean => ageMs > retentionMs + policy.graceMs;
  const ends = new Set(
    standingPoints(line, policy, nowMs)
      // A base that a higher level holds goes with its group one day: it is no end to count on.
      .filter(({ offeredMs, ageMs }) => offeredMs >= retentionMs && isOver(ageMs))
      .map(({ txid }) => txid),
  );
  let horizon: ReplicaFile | undefined;
  for (const file of line) {
    if (file.minTxid !== 1n || !ends.has(file.maxTxid)) continue;
    // A snapshot may be made long after the last commit: a restore to a time in between begins with an older base.
    if (!isOver(nowMs - file.createdAt.getTime())) continue;
    // Of two at one TXID the younger timeline's, and of its own the snapshot.
    if (horizon === undefined || file.maxTxid >= horizon.maxTxid) horizon = file;
  }
  return horizon;
}

function judgeDead(
  dead: readonly DeadLine<RetentionTimeline>[],
  policy: MaintenancePolicy,
  nowMs: number,
): Verdicts {
  const verdict: Verdict = { reason: "dead-line", group: 0n };
  const over = dead.filter((one) => !isKept(one, policy, nowMs));
  return new Map(over.flatMap(({ files }) => files.map((file) => [file, verdict] as const)));
}

function isKept(
  dead: DeadLine<RetentionTimeline>,
  policy: MaintenancePolicy,
  nowMs: number,
): boolean {
  return nowMs <= keptUntilMs(dead, policy) + policy.graceMs;
}

/** What has to stay although its own line could do without it. */
function neededFiles(
  { line, dead, timelines, protected: points }: Lines,
  verdicts: ReadonlyMap<ReplicaFile, Verdict>,
): ReadonlySet<ReplicaFile> {
  const needed = new Set<ReplicaFile>();
  const need = (timeline: string, txid: Txid): void => {
    const plan = planRestore(lineOf(timeline, timelines), { txid });
    if (plan.outcome === "plan") for (const file of plan.files) needed.add(file);
  };
  for (const { timeline, files } of dead) {
    if (files.some((file) => verdicts.has(file))) continue;
    // From its first point on, its own files continue one another.
    const [first] = deadPoints(timeline.timeline, files, timelines);
    if (first !== undefined) need(timeline.timeline, first);
  }
  for (const { timeline, txid } of points) need(timeline, txid);
  const living = new Set(line);
  for (const { files } of timelines.values()) {
    if (!files.some((file) => !verdicts.has(file) || needed.has(file))) continue;
    for (const file of newestOfLevels(files.filter((one) => living.has(one)))) needed.add(file);
  }
  return needed;
}

/** Of each level but the snapshots'. */
function newestOfLevels(files: readonly ReplicaFile[]): Iterable<ReplicaFile> {
  const newest = new Map<number, ReplicaFile>();
  for (const file of files) {
    if (file.level === snapshotLevel) continue;
    const known = newest.get(file.level);
    if (known === undefined || file.maxTxid > known.maxTxid) newest.set(file.level, file);
  }
  return newest.values();
}

/** The TXIDs of a dead line that can be restored by its name, ascending. */
function deadPoints(
  timeline: string,
  dead: readonly ReplicaFile[],
  timelines: ReadonlyMap<string, TimelineFiles>,
  deleted: ReadonlySet<ReplicaFile> = new Set(),
): Txid[] {
  const ends = new Set(dead.map(({ maxTxid }) => maxTxid));
  const usable = lineOf(timeline, timelines).filter((file) => !deleted.has(file));
  return recoveryPoints(usable).flatMap(({ txid }) => (ends.has(txid) ? [txid] : []));
}

/** What is promised, and could not be restored without these files. */
function findLost(
  { head, line, dead, timelines, protected: points }: Lines,
  deletions: readonly Deletion[],
  policy: MaintenancePolicy,
  nowMs: number,
): TimelinePosition[] {
  const deleted = new Set(deletions.map(({ file }) => file));
  const pointsOf = (files: readonly ReplicaFile[]): ReadonlySet<Txid> =>
    new Set(recoveryPoints(files).map(({ txid }) => txid));
  const left = (files: readonly ReplicaFile[]): ReplicaFile[] =>
    files.filter((file) => !deleted.has(file));
  const reached = pointsOf(left(line));
  const lost: TimelinePosition[] = offeredInstants(line, policy, nowMs)
    .filter(({ txid }) => !reached.has(txid))
    .map(({ txid }) => ({ timeline: head, txid }));
  for (const one of dead) {
    if (!isKept(one, policy, nowMs)) continue;
    const { timeline } = one.timeline;
    const after = new Set(deadPoints(timeline, one.files, timelines, deleted));
    for (const txid of deadPoints(timeline, one.files, timelines)) {
      if (!after.has(txid)) lost.push({ timeline, txid });
    }
  }
  for (const point of points) {
    const files = lineOf(point.timeline, timelines);
    if (pointsOf(files).has(point.txid) && !pointsOf(left(files)).has(point.txid)) lost.push(point);
  }
  return lost;
}

const reasonOrder: readonly DeletionReason[] = ["merged", "beyond-retention", "dead-line"];

function compareDeletions(a: Deletion & Verdict, b: Deletion & Verdict): number {
  if (a.reason !== b.reason) return reasonOrder.indexOf(a.reason) - reasonOrder.indexOf(b.reason);
  if (a.reason === "merged" && a.file.level !== b.file.level) return a.file.level - b.file.level;
  if (a.group !== b.group) return a.group < b.group ? -1 : 1;
  if (a.file.timeline !== b.file.timeline) return a.file.timeline < b.file.timeline ? -1 : 1;
  return -compareRanges(a.file, b.file);
}
