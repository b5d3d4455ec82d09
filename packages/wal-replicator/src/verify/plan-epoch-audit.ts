import type { ListedEpoch } from "../replica/epoch-log.ts";
import { type EpochObject, formatEpochKey, parseTimelineName } from "../replica/replica-layout.ts";
import type { InstantsLost } from "./plan-costs.ts";
import type { EpochObjectSeen, EpochObjects } from "./read-epochs.ts";
import type { VerifyProblem } from "./verification.ts";

export interface EpochAuditInput {
  readonly objects: EpochObjects;
  /** Before the keys of problems. */
  readonly prefix: string;
  /** Names of the timelines that have files. */
  readonly timelines: ReadonlySet<string>;
  /** By an epoch's nonce: when the newest file that names it was written, by its writer's clock and the store's. Of the files that were read. */
  readonly lastWrites: ReadonlyMap<string, { readonly at: Date; readonly modified: Date }>;
  /** What is lost of a timeline whose epoch nobody knows. */
  readonly costsOfTimeline: (timeline: string) => readonly InstantsLost[];
}

/** Two renewals and more: who wrote files for longer than this has a lease. */
const leaseDueMs = 150_000;

/**
 * What is wrong below `epochs/`. Records and releases are written once, leases again and again, and none of them is ever deleted: numbers have no
 * holes, each timeline's epoch is there, who wrote for longer than a renewal has a lease, and a lease remembers its release. Pure.
 */
export function auditEpochs(input: EpochAuditInput): VerifyProblem[] {
  const { objects } = input;
  const unreadable = objects.all.flatMap((one) => unreadableObject(one, input));
  const epochs = objects.readable();
  const lostRecords = findLostRecords(epochs, input);
  const problems = [...unreadable, ...lostRecords];
  const isRecordKnownBad = problems.some(({ key }) => key !== null && !/\.\w+\.json$/.test(key));
  // A record that is known to be bad has a nonce that nobody can read.
  if (!isRecordKnownBad) problems.push(...strangeWriters(epochs, input));
  for (const epoch of epochs) problems.push(...lostBeside(epoch, input));
  return problems;
}

/** Timelines with files that no readable epoch speaks of. Pure. */
export function orphanTimelines(
  epochs: readonly ListedEpoch[],
  timelines: ReadonlySet<string>,
): string[] {
  const known = new Set(epochs.map(({ record }) => record.timeline));
  return [...timelines].filter((name) => !known.has(name));
}

function unreadableObject(one: EpochObjectSeen, input: EpochAuditInput): VerifyProblem[] {
  const { object, seen, epoch, key } = one;
  if (seen.state === "read") return [];
  const isDamaged = seen.state === "damaged";
  const founded = orphanTimelines(input.objects.readable(), input.timelines).filter(
    (name) => object === "record" && isFoundedBy(name, one),
  );
  const costs = founded.flatMap(input.costsOfTimeline);
  return [
    problem({
      kind: isDamaged ? "damaged" : "lost",
      key,
      timeline: founded[0] ?? null,
      message: isDamaged
        ? `${objectNames[object]} of epoch ${epoch} is not what was written: ${seen.message}`
        : `the store lists ${objectNames[object]} of epoch ${epoch}, and says that it is not there`,
      costs,
      note: isDamaged && object !== "lease" ? stopsNote : notes[object],
    }),
  ];
}

const objectNames: Readonly<Record<EpochObject, string>> = {
  record: "the record",
  lease: "the lease",
  released: "the release",
};

const stopsNote =
  "no instant; but starts that come to it stop there, and for a record restores too";
const notes: Readonly<Record<EpochObject, string>> = {
  record: "nothing: the timeline that it wrote into is known by other epochs, or has no files",
  lease: "nothing: it says that its owner lives, who writes it again within a minute",
  released:
    "nothing: another machine that starts waits until the lease is stale, and begins a timeline of its own",
};

/** Holes in the numbers, objects beside no record, timelines of no epoch. */
function findLostRecords(
  epochs: readonly ListedEpoch[],
  { objects, prefix, timelines, costsOfTimeline }: EpochAuditInput,
): VerifyProblem[] {
  const recordNumbers = new Set<number>();
  const lost = new Map<string, { epoch: number; timeline: string | null }>();
  for (const one of objects.all) if (one.object === "record") recordNumbers.add(one.epoch);
  for (const { object, epoch, nonce } of objects.all) {
    if (object === "record" || objects.has({ epoch, nonce }, "record")) continue;
    lost.set(formatEpochKey({ epoch, nonce }, "record"), { epoch, timeline: null });
    recordNumbers.add(epoch);
  }
  for (const timeline of orphanTimelines(epochs, timelines)) {
    const { epoch, nonce } = parseTimelineName(timeline) ?? { epoch: 0, nonce: "" };
    // A record of its own that cannot be read is a finding already.
    const isThere = objects.all.some(
      (one) => one.object === "record" && one.seen.state !== "read" && isFoundedBy(timeline, one),
    );
    if (isThere) continue;
    const plain = { epoch, nonce: undefined };
    const id = objects.has(plain, "record") ? { epoch, nonce } : plain;
    lost.set(formatEpochKey(id, "record"), { epoch, timeline });
    recordNumbers.add(epoch);
  }
  const highest = Math.max(0, ...recordNumbers);
  for (let epoch = 1; epoch < highest; epoch += 1) {
    if (recordNumbers.has(epoch)) continue;
    lost.set(formatEpochKey({ epoch, nonce: undefined }, "record"), { epoch, timeline: null });
  }
  return [...lost]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, { epoch, timeline }]) =>
      problem({
        kind: "lost",
        key: prefix + key,
        timeline,
        message:
          timeline === null
            ? `the record of epoch ${epoch} is not there, and records are never deleted`
            : `the record of epoch ${epoch} is not there: its timeline is found by --timeline ${timeline} alone`,
        costs: timeline === null ? [] : costsOfTimeline(timeline),
        note: notes.record,
      }),
    );
}

/** Files that name an epoch which nobody knows: its record is gone, and it had gone on in another epoch's timeline. */
function strangeWriters(
  epochs: readonly ListedEpoch[],
  { lastWrites }: EpochAuditInput,
): VerifyProblem[] {
  const known = new Set(epochs.map(({ record }) => record.nonce));
  return [...lastWrites.keys()]
    .filter((nonce) => !known.has(nonce))
    .map((nonce) =>
      problem({
        kind: "lost",
        key: null,
        timeline: null,
        message: `the record of the epoch with nonce ${nonce} is not there, and files name it`,
        costs: [],
        note: notes.record,
      }),
    );
}

/** The lease or the release of an epoch whose record is there. */
function lostBeside(
  { record, id }: ListedEpoch,
  { objects, prefix, lastWrites }: EpochAuditInput,
): VerifyProblem[] {
  const { epoch, nonce, timeline, kind, startedAt } = record;
  const lost = (object: EpochObject, why: string): VerifyProblem =>
    problem({
      kind: "lost",
      key: prefix + formatEpochKey(id, object),
      timeline,
      message: `${objectNames[object]} of epoch ${epoch} is not there: ${why}`,
      costs: [],
      note: notes[object],
    });
  if (!objects.has(id, "released") && objects.lease(id)?.released === true) {
    return [lost("released", "its lease says that it was released")];
  }
  const last = lastWrites.get(nonce);
  if (kind !== "writer" || last === undefined || objects.has(id, "lease")) return [];
  // By both clocks, since one may have been set in between.
  const wroteMs = Math.min(
    last.at.getTime() - Date.parse(startedAt),
    last.modified.getTime() - id.recordModified.getTime(),
  );
  if (wroteMs > leaseDueMs) {
    return [lost("lease", "it wrote files for longer than it may go without renewing it")];
  }
  return [];
}

function isFoundedBy(
  timeline: string,
  { epoch, nonce }: Pick<EpochObjectSeen, "epoch" | "nonce">,
): boolean {
  const founder = parseTimelineName(timeline);
  return founder?.epoch === epoch && (nonce ?? founder.nonce) === founder.nonce;
}

function problem(
  given: Omit<VerifyProblem, "level" | "minTxid" | "maxTxid" | "note"> & { readonly note: string },
): VerifyProblem {
  const note = given.costs.length === 0 ? given.note : null;
  return { ...given, level: null, minTxid: null, maxTxid: null, note };
}
