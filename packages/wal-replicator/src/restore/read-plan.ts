import type { RequestOptions } from "@vaultwarden-stream/object-store";
import { formatTxid } from "../ltx/txid.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import { type Epoch, listEpochs } from "../replica/epoch.ts";
import { listTimeline, type ReplicaRoot } from "../replica/replica.ts";
import { ReplicaError } from "../replica/replica-error.ts";
import { isTimelineName } from "../replica/replica-layout.ts";
import { type LineagePlanOutcome, type LineageTarget, planLineage } from "./plan-lineage.ts";

/** A plan and the timeline that its position lies in. */
export type DatabaseRestorePlan = Extract<LineagePlanOutcome, { readonly outcome: "plan" }>;

/**
 * Lists what is needed of a replica and plans a restore. Reads no LTX file and writes nothing: this is the whole of a dry run.
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
  const known = new Map<string, readonly ReplicaFile[]>();
  const run = async (epochs: readonly Epoch[]): Promise<LineagePlanOutcome> => {
    const plan = planLineage(epochs, target);
    let step = plan.next();
    while (step.done !== true) {
      const name = step.value;
      const files = known.get(name) ?? (await listTimeline(root, name, options)).files;
      known.set(name, files);
      step = plan.next(files.filter((file) => !withoutKeys.has(file.key)));
    }
    return step.value;
  };
  // A named timeline that restores by itself needs no epochs, and is restored even where they are damaged.
  const alone = timeline === undefined ? undefined : await run([]);
  const outcome = alone?.outcome === "plan" ? alone : await run(await listEpochs(root, options));
  if (outcome.outcome === "plan") return outcome;
  throw refusal(root, target, outcome);
}

function refusal(
  root: ReplicaRoot,
  target: LineageTarget,
  outcome: Exclude<LineagePlanOutcome, DatabaseRestorePlan>,
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
    return new ReplicaError(
      "TIME_NOT_REACHABLE",
      `nothing from before ${target.before.toISOString()} can be restored`,
      { timeline, hint: "Ask for a later time: the list of recovery points shows what is kept." },
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
