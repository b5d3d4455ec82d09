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

/** The chain of every timeline, by names alone. Pure. */
export function describeTimelines(
  listing: ReplicaListing,
  confirmed: ConfirmedPosition | undefined,
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
  confirmed: ConfirmedPosition | undefined,
): ChainFacts {
  const own = epochs.filter((epoch) => epoch.timeline === timeline);
  const branches = timelines.filter((other) => other.parent?.timeline === timeline);
  const said: readonly (Txid | undefined)[] = [
    ...own.map(({ released }) => released?.txid),
    ...branches.map((branch) => branch.parent?.txid),
    confirmed?.timeline === timeline ? confirmed.txid : undefined,
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

/** What is missing, with what it costs. Pure. */
export function lostRanges(
  listing: ReplicaListing,
  timelines: readonly TimelineVerification[],
): VerifyProblem[] {
  const costs = new Costs(listing.timelines);
  return timelines.flatMap(({ timeline, segments }) =>
    segments.flatMap(({ state, minTxid, maxTxid }): VerifyProblem[] => {
      if (state !== "lost" || maxTxid === null) return [];
      const range =
        minTxid === maxTxid
          ? `TXID ${formatTxid(minTxid)} is`
          : `TXIDs ${formatTxid(minTxid)} to ${formatTxid(maxTxid)} are`;
      return [
        {
          kind: "lost",
          timeline,
          key: null,
          level: null,
          minTxid,
          maxTxid,
          message: `${range} in no file of the timeline, and had been stored`,
          costs: [costs.ofHole(timeline, minTxid, maxTxid)],
        },
      ];
    }),
  );
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
      costs: problems.length < costsMax ? costs.without(new Set([key])) : [],
    });
  }
  return problems;
}

export function sizeOf(files: readonly ReplicaFile[]): number {
  return files.reduce((bytes, { size }) => bytes + size, 0);
}
