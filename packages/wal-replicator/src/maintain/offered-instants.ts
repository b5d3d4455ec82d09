import type { Txid } from "../ltx/txid.ts";
import { type RecoveryPoint, recoveryPoints } from "../recovery-points.ts";
import { compareRanges, type ReplicaFile } from "../replica/catalog.ts";
import { snapshotLevel } from "../replica/replica-layout.ts";
import { findCovers, keptBelowMs, retentionOf } from "./covers.ts";
import { settleEndTimes } from "./end-times.ts";
import type { MaintenancePolicy } from "./policy.ts";

/** A state of the database that retention keeps restorable. */
export interface OfferedInstant extends RecoveryPoint {
  /** Where the increment that ends here lies: of a line, the timeline that wrote this state. */
  readonly timeline: string;
  /** How old it is by what can be believed of the clocks, in milliseconds. Never negative, and never younger than a later instant's. */
  readonly ageMs: number;
  /**
   * Of the changes since the instant before, none that was stored so many milliseconds or more before this one's is missing in both of them:
   * the window of the merge, 0 if nothing is merged, the time between the two where nothing says more.
   */
  readonly precisionMs: number;
}

/**
 * What a line offers (architecture.md D10), oldest first: each end at the precision of its age. Retention keeps these, `history` shows them, files
 * are kept for them, drills and simulations try them: all by this function.
 *
 * - An end that a file of level n covers is offered for as long as the precision below n is: an end of level 0 for an hour, of level 1 for a day.
 * - An end that nothing covers, be it that a level is missing or was never there, is as good as one of the highest level: offered for the retention.
 * - The state that was in force when the retention began, whatever its age; of an idle database that is the newest one.
 *
 * What can be restored beyond that is there by chance, and goes without notice. Pure; n log n for n files.
 *
 * @param files - of one line, clipped at its branch points, oldest timeline first (`lineOf`).
 * @param nowMs - by the store's clock.
 */
export function offeredInstants(
  files: readonly ReplicaFile[],
  policy: MaintenancePolicy,
  nowMs: number,
): OfferedInstant[] {
  const standings = standingPoints(files, policy, nowMs);
  const retentionMs = retentionOf(policy);
  const inForce = standings.findLast(
    ({ ageMs, offeredMs }) => ageMs >= retentionMs && offeredMs >= retentionMs,
  );
  const offered: OfferedInstant[] = [];
  let before: OfferedInstant | undefined;
  for (const standing of standings) {
    const { offeredMs, end, ...point } = standing;
    if (point.ageMs > offeredMs && standing !== inForce) continue;
    const precisionMs = precisionOf(end, before, point, policy);
    before = { ...point, timeline: end.timeline, precisionMs };
    offered.push(before);
  }
  return offered;
}

/** A recovery point, and for how long the files' levels let it be asked for. */
export interface StandingPoint extends RecoveryPoint {
  readonly ageMs: number;
  /** From its age 0 on. */
  readonly offeredMs: number;
  /** The file of the highest level below the snapshots' that ends here; else the snapshot. */
  readonly end: ReplicaFile;
}

/** All recovery points of a line with their standing, ascending. */
export function standingPoints(
  files: readonly ReplicaFile[],
  policy: MaintenancePolicy,
  nowMs: number,
): StandingPoint[] {
  const covers = findCovers(files);
  const times = settleEndTimes(files, nowMs);
  const retentionMs = retentionOf(policy);
  const ends = new Map<Txid, ReplicaFile>();
  const snapshots = new Set<Txid>();
  for (const file of files) {
    if (file.level === snapshotLevel && file.minTxid === 1n) snapshots.add(file.maxTxid);
    const known = ends.get(file.maxTxid);
    if (known === undefined || isHigherIncrement(file, known)) ends.set(file.maxTxid, file);
  }
  return recoveryPoints(files).map((point) => {
    const end = ends.get(point.txid) as ReplicaFile;
    const cover = covers.get(end);
    const isStanding = cover === undefined || snapshots.has(point.txid);
    return {
      ...point,
      ageMs: nowMs - (times.get(point.txid) as number),
      offeredMs: isStanding ? retentionMs : keptBelowMs(policy, cover.level),
      end,
    };
  });
}

/** Increments before snapshots; then the higher level; then what begins first. */
function isHigherIncrement(file: ReplicaFile, known: ReplicaFile): boolean {
  if (file.level === snapshotLevel) return false;
  if (known.level === snapshotLevel || file.level > known.level) return true;
  return file.level === known.level && compareRanges(file, known) < 0;
}

function precisionOf(
  end: ReplicaFile,
  before: RecoveryPoint | undefined,
  point: RecoveryPoint,
  { levelIntervalsMs }: MaintenancePolicy,
): number {
  if (before === undefined || point.txid === before.txid + 1n) return 0;
  const betweenMs = Math.max(0, point.at.getTime() - before.at.getTime());
  // A merged file that begins right behind the instant before holds one window; anything else has merged or lost more than that.
  const isOneStep = end.minTxid <= before.txid + 1n;
  return isOneStep ? Math.min(levelIntervalsMs[end.level - 1] ?? betweenMs, betweenMs) : betweenMs;
}

/** Neighbouring instants of one age, as precise as D10 has it for that age. */
export interface OfferedRange {
  /** 0: every stored change; n: one state a window of level n. */
  readonly level: number;
  readonly from: Date;
  readonly to: Date;
  /** Whole seconds; 0: every stored change. */
  readonly precisionSeconds: number;
  /** Instants. */
  readonly count: number;
}

/** The offer in a few lines: instants by their age, oldest first. Pure. */
export function offeredRanges(
  instants: readonly OfferedInstant[],
  { keepMs, levelIntervalsMs }: MaintenancePolicy,
): OfferedRange[] {
  const ranges: (OfferedRange & { readonly precisionMs: number })[] = [];
  for (const { at, ageMs, precisionMs } of instants) {
    const found = keepMs.findIndex((ms) => ageMs <= ms);
    const level = found === -1 ? keepMs.length - 1 : found;
    const last = ranges.at(-1);
    const known = last?.level === level ? last : undefined;
    const nominalMs = levelIntervalsMs[level - 1] ?? 0;
    const worstMs = Math.max(known?.precisionMs ?? nominalMs, precisionMs);
    const range = {
      level,
      from: known?.from ?? at,
      to: at,
      precisionMs: worstMs,
      precisionSeconds: Math.ceil(worstMs / 1000),
      count: (known?.count ?? 0) + 1,
    };
    if (known === undefined) ranges.push(range);
    else ranges[ranges.length - 1] = range;
  }
  return ranges.map(({ precisionMs: _, ...range }) => range);
}
