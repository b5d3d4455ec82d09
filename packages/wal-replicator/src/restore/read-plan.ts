import type { RequestOptions } from "@vaultwarden-stream/object-store";
import { formatTxid } from "../ltx/txid.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import { EpochLog } from "../replica/epoch-log.ts";
import { findTimeline, type ReplicaRoot } from "../replica/replica.ts";
import { ReplicaError } from "../replica/replica-error.ts";
import { isTimelineName } from "../replica/replica-layout.ts";
import {
  type LineageAnswer,
  type LineagePlanOutcome,
  type LineageRequest,
  type LineageTarget,
  planLineage,
} from "./plan-lineage.ts";
import { timesAround } from "./times-around.ts";

/** A plan and the timeline that its position lies in. */
export type DatabaseRestorePlan = Extract<LineagePlanOutcome, { readonly outcome: "plan" }>;

/**
 * Lists what is needed of a replica, anew at each call, and plans a restore. Reads no LTX file and writes nothing: this is the whole of
 * a dry run. Usually one LIST of the epochs, one or two GETs of the newest, and one LIST of its timeline; for a time on S3, some dozens of HEADs.
 *
 * @param withoutKeys - files that are known to be damaged or gone.
 * @throws {ReplicaError} `NOTHING_TO_RESTORE`, `TXID_NOT_REACHABLE`, `TIME_NOT_REACHABLE`, `CHAIN_BROKEN`, `TIMELINE_UNKNOWN`, `REPLICA_MALFORMED`
 */
export async function readRestorePlan(
  root: ReplicaRoot,
  target: LineageTarget,
  options: RequestOptions = {},
  withoutKeys: ReadonlySet<string> = new Set(),
): Promise<DatabaseRestorePlan> {
  const { timeline } = target;
  if (timeline !== undefined && timeline !== "" && !isTimelineName(timeline)) {
    throw unknownTimeline(root, timeline);
  }
  const lists = new Map<string, readonly ReplicaFile[]>();
  const filesOf = async (name: string): Promise<readonly ReplicaFile[]> => {
    const files =
      lists.get(name) ??
      (await listFiles(root, name, target, options)).filter(({ key }) => !withoutKeys.has(key));
    lists.set(name, files);
    return files;
  };
  const run = async (log: EpochLog | undefined): Promise<LineagePlanOutcome> => {
    const writers = log?.writers();
    const answer = async (request: LineageRequest): Promise<LineageAnswer> => {
      switch (request.need) {
        case "files":
          return { files: await filesOf(request.timeline) };
        case "next-writer":
          return { record: (await writers?.next())?.value?.record };
        case "founder":
          return { record: await log?.foundingRecord(request.timeline) };
      }
    };
    const plan = planLineage(target);
    let step = plan.next();
    while (step.done !== true) step = plan.next(await answer(step.value));
    return step.value;
  };
  // A named timeline that restores by itself needs no epochs, and is restored even where they are damaged.
  const alone = timeline === undefined ? undefined : await run(undefined);
  if (alone?.outcome === "plan") return alone;
  const log = await EpochLog.readRecords(root, options);
  const outcome = await run(log);
  if (outcome.outcome === "plan") return outcome;
  if (outcome.outcome === "nothing" && timeline === undefined) {
    await refuseIfOnlyBranches(root, log, filesOf);
  }
  throw refusal(root, target, outcome, [...lists.values()].flat());
}

async function listFiles(
  root: ReplicaRoot,
  timeline: string,
  { before }: LineageTarget,
  options: RequestOptions,
): Promise<readonly ReplicaFile[]> {
  const { files } = await findTimeline(root, timeline, options);
  return before === undefined ? files : await timesAround(root.store, files, before, options);
}

/** Nothing to restore lets an application start empty: not where a branch holds what somebody had. */
async function refuseIfOnlyBranches(
  root: ReplicaRoot,
  log: EpochLog,
  filesOf: (timeline: string) => Promise<readonly ReplicaFile[]>,
): Promise<void> {
  for (const { record } of (await log.all()).toReversed()) {
    const { kind, timeline } = record;
    if (kind !== "branch" || (await filesOf(timeline)).length === 0) continue;
    throw new ReplicaError(
      "CHAIN_BROKEN",
      `no writer has stored anything at ${root.store.properties.location}, and a branch has: timeline ${timeline}`,
      { timeline, hint: "Restore the branch by its name, if it is what you want." },
    );
  }
}

function refusal(
  root: ReplicaRoot,
  target: LineageTarget,
  outcome: Exclude<LineagePlanOutcome, DatabaseRestorePlan>,
  seen: readonly ReplicaFile[],
): ReplicaError {
  const { location } = root.store.properties;
  if (outcome.outcome === "nothing") {
    if (target.timeline !== undefined) return unknownTimeline(root, target.timeline);
    return new ReplicaError("NOTHING_TO_RESTORE", `there is no recovery point at ${location}`, {
      hint: "Check the location and its prefix.",
    });
  }
  const { timeline } = outcome;
  const last = outcome.outcome === "no-base" ? undefined : outcome.files.at(-1);
  if (outcome.outcome === "hole") {
    const { next } = outcome;
    const end = last === undefined ? "the beginning" : `TXID ${formatTxid(last.maxTxid)}`;
    return new ReplicaError(
      "CHAIN_BROKEN",
      `no file continues after ${end}, and later ones exist, from TXID ${formatTxid(next.minTxid)} on`,
      {
        timeline,
        key: next.key,
        level: next.level,
        txid: last?.maxTxid,
        hint: "Restore up to the gap by that TXID; what lies behind it is lost unless a later snapshot holds it.",
      },
    );
  }
  if (target.txid !== undefined) {
    const nearest =
      last === undefined ? "" : `; the nearest before it is ${formatTxid(last.maxTxid)}`;
    return new ReplicaError(
      "TXID_NOT_REACHABLE",
      `nothing in the replica ends at TXID ${formatTxid(target.txid)}${nearest}`,
      {
        timeline,
        txid: target.txid,
        hint: "Ask for a TXID that the list of recovery points shows.",
      },
    );
  }
  if (target.before !== undefined) {
    // Every restore begins with a full copy.
    const bases = seen.filter(({ minTxid }) => minTxid === 1n);
    const earliestMs = Math.min(...bases.map(({ createdAt }) => createdAt.getTime()));
    const earliest = Number.isFinite(earliestMs)
      ? `The earliest moment is ${new Date(earliestMs).toISOString()}`
      : "No full copy is there";
    return new ReplicaError(
      "TIME_NOT_REACHABLE",
      `nothing from before ${target.before.toISOString()} can be restored`,
      { timeline, hint: `${earliest}; the list of recovery points shows what is kept.` },
    );
  }
  return new ReplicaError("CHAIN_BROKEN", "there are files, but none begins at TXID 1", {
    timeline,
    hint: "The base of this timeline is missing: restore another one by its name, if there is one.",
  });
}

function unknownTimeline(root: ReplicaRoot, timeline: string): ReplicaError {
  return new ReplicaError(
    "TIMELINE_UNKNOWN",
    `there is no timeline ${JSON.stringify(timeline)} at ${root.store.properties.location}`,
    { timeline, hint: "The list of recovery points shows the names." },
  );
}
