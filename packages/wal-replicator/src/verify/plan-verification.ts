import type { EpochListing, ReplicaListing, TimelineListing } from "../list-replica.ts";
import { formatTxid, type Txid } from "../ltx/txid.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import { type ChainFacts, levelGaps, planChain } from "./plan-chain.ts";
import { Costs } from "./plan-costs.ts";
import type { FileFinding } from "./read-files.ts";
import type { TimelineVerification, VerifyProblem } from "./verification.ts";

/** What somebody knows to be stored. */
export interface ConfirmedPosition {
  readonly timeline: string;
  readonly txid: Txid;
}

/** The chain of every timeline, by names alone. @param confirmed - said before the listing was made. Pure. */
export function describeTimelines(
  listing: ReplicaListing,
  confirmed: readonly ConfirmedPosition[],
): TimelineVerification[] {
  return listing.timelines.map((timeline) => {
    const { files, role } = timeline;
    const segments = planChain(files, factsOf(timeline, listing, confirmed));
    return {
      timeline: timeline.timeline,
      role,
      fileCount: files.length,
      bytes: sizeOf(files),
      segments,
      thinned: levelGaps(files, segments),
    };
  });
}

function factsOf(
  { timeline, parent }: TimelineListing,
  { timelines, epochs }: ReplicaListing,
  confirmed: readonly ConfirmedPosition[],
): ChainFacts {
  const own = epochs.filter((epoch) => epoch.timeline === timeline);
  const branches = timelines.filter((other) => other.parent?.timeline === timeline);
  const said: readonly (Txid | undefined)[] = [
    ...own.map(({ released }) => released?.txid),
    ...branches.map((branch) => branch.parent?.txid),
    ...confirmed.filter((position) => position.timeline === timeline).map(({ txid }) => txid),
  ];
  let confirmedTxid: Txid | null = null;
  for (const txid of said) {
    if (txid !== undefined && (confirmedTxid === null || txid > confirmedTxid)) {
      confirmedTxid = txid;
    }
  }
  const newest = epochs.findLast(({ kind }) => kind === "writer");
  return {
    branchTxid: parent?.txid ?? null,
    confirmedTxid,
    // What an overtaken writer had left goes to a timeline of its own.
    writer: newest?.timeline === timeline ? writerOf(newest) : "unknown",
  };
}

function writerOf({ released, leaseAgeMs }: EpochListing): ChainFacts["writer"] {
  if (released !== null) return "released";
  if (leaseAgeMs === null) return "unknown";
  return leaseAgeMs < leaseStaleMs ? "alive" : "gone";
}

/** Three intervals without a renewal: whoever starts does not wait for its owner any more. */
const leaseStaleMs = 180_000;

/** For how long the states of a level can be asked for: what is older may have been removed by retention, a part of it at a time. */
export interface KeptFor {
  /** Of level 0, 1, 2 …; the last one counts for all above. Ascending. */
  readonly keepMs: readonly number[];
  readonly nowMs: number;
}

/** What is missing, with what it costs. Pure. */
export function lostRanges(
  listing: ReplicaListing,
  timelines: readonly TimelineVerification[],
  kept: KeptFor,
): VerifyProblem[] {
  const costs = new Costs(listing.timelines);
  return timelines.flatMap((verified) => {
    const { timeline, segments, thinned } = verified;
    const files = listing.timelines.find((one) => one.timeline === timeline)?.files ?? [];
    const lost = segments.flatMap(({ state, minTxid, maxTxid }): VerifyProblem[] => {
      if (state !== "lost" || maxTxid === null) return [];
      // A line that nothing comes from any more goes as a whole, and an ancestor once the head has a base of its own.
      const beside = nextFile(files, maxTxid) ?? newestOf(files);
      if (verified.role !== "head" && beside && !isKept(beside, kept, retentionOf(kept))) return [];
      return [
        lostRange(verified, { minTxid, maxTxid }, "is in no file of the timeline", [
          costs.ofHole(timeline, minTxid, maxTxid),
        ]),
      ];
    });
    const thin = thinned.flatMap((gap): VerifyProblem[] => {
      const { level, minTxid } = gap;
      const before = newestOf(
        files.filter((file) => file.level === level && file.maxTxid < minTxid),
      );
      // Retention takes the oldest, all but a base, and what it was stopped in may have holes: of states that nobody can ask for any more.
      if (before === undefined || !isKept(before, kept)) return [];
      const lostOfLevel = costs.ofThinned(gap, timeline);
      return [{ ...lostRange(verified, gap, `is not in level ${level}`, lostOfLevel), level }];
    });
    return [...lost, ...thin, ...withoutBase(verified, costs, kept)];
  });
}

/** Files that continue nothing although no file is missing between them: the snapshot that they began with is gone. */
function withoutBase(verified: TimelineVerification, costs: Costs, kept: KeptFor): VerifyProblem[] {
  const { timeline, segments } = verified;
  const [first] = segments;
  // What follows a hole is told with the hole.
  const hole = segments.find(({ state }) => state === "lost");
  const useless = costs
    .unreachable(timeline)
    .filter(({ maxTxid }) => hole === undefined || maxTxid < hole.minTxid);
  const last = useless.at(-1);
  if (first === undefined || last === undefined || !isKept(last, kept)) return [];
  const range = { minTxid: useless[0]?.minTxid ?? last.minTxid, maxTxid: last.maxTxid };
  return [
    lostRange(verified, range, "continues nothing: a snapshot before it is gone", [
      costs.ofHole(timeline, range.minTxid, range.maxTxid),
    ]),
  ];
}

function lostRange(
  { timeline }: TimelineVerification,
  { minTxid, maxTxid }: { readonly minTxid: Txid; readonly maxTxid: Txid },
  what: string,
  costs: VerifyProblem["costs"],
): VerifyProblem {
  const range =
    minTxid === maxTxid
      ? `TXID ${formatTxid(minTxid)}`
      : `each TXID from ${formatTxid(minTxid)} to ${formatTxid(maxTxid)}`;
  return {
    kind: "lost",
    timeline,
    key: null,
    level: null,
    minTxid,
    maxTxid,
    message: `${range} ${what}, and had been stored`,
    costs,
    note: costs.length === 0 ? madeUpFor : null,
  };
}

const madeUpFor = "nothing: other files make up for it";

function nextFile(files: readonly ReplicaFile[], txid: Txid): ReplicaFile | undefined {
  let next: ReplicaFile | undefined;
  for (const file of files) {
    if (file.minTxid > txid && (next === undefined || file.minTxid < next.minTxid)) next = file;
  }
  return next;
}

function newestOf(files: readonly ReplicaFile[]): ReplicaFile | undefined {
  return files.toSorted((a, b) => (a.maxTxid < b.maxTxid ? -1 : 1)).at(-1);
}

function isKept(
  { level, createdAt }: ReplicaFile,
  { keepMs, nowMs }: KeptFor,
  forMs: number = keepMs[Math.min(level, keepMs.length - 1)] ?? 0,
): boolean {
  return nowMs - createdAt.getTime() <= forMs;
}

function retentionOf({ keepMs }: KeptFor): number {
  return keepMs.at(-1) ?? 0;
}

/** Beyond so many, one more cost is no more help, and each takes a look at all files. */
const costsMax = 100;

/** The files that are not what they should be. Those that retention has removed since are none. Pure. */
export function badFiles(
  listing: ReplicaListing,
  files: readonly ReplicaFile[],
  findings: ReadonlyMap<string, FileFinding>,
): VerifyProblem[] {
  const listed = new Set(listing.timelines.flatMap((one) => one.files.map(({ key }) => key)));
  const costs = new Costs(listing.timelines);
  const problems: VerifyProblem[] = [];
  for (const file of files) {
    const finding = findings.get(file.key);
    if (finding === undefined || finding.state === "sound") continue;
    if (finding.state === "vanished" && !listed.has(file.key)) continue;
    const { key, timeline, level, minTxid, maxTxid } = file;
    const isDamaged = finding.state === "damaged";
    problems.push({
      kind: isDamaged ? "damaged" : "lost",
      timeline,
      key,
      level,
      minTxid,
      maxTxid,
      message: isDamaged ? finding.message : "the store lists it, and says that it is not there",
      ...costsOf(problems.length < costsMax ? costs.without(new Set([key])) : undefined),
    });
  }
  return problems;
}

function costsOf(costs: VerifyProblem["costs"] | undefined): Pick<VerifyProblem, "costs" | "note"> {
  if (costs === undefined) return { costs: [], note: "not computed, since so much is bad" };
  return { costs, note: costs.length === 0 ? madeUpFor : null };
}

export function sizeOf(files: readonly ReplicaFile[]): number {
  return files.reduce((bytes, { size }) => bytes + size, 0);
}
