import { formatTxid } from "../ltx/txid.ts";
import type { ChainSegment } from "../verify/plan-chain.ts";
import type { InstantsLost } from "../verify/plan-costs.ts";
import type {
  ReplicaVerification,
  TimelineVerification,
  TrialRestore,
  VerifyProblem,
} from "../verify/verification.ts";
import { type ExitCode, exitCodes } from "./exit-codes.ts";
import { formatBytes, formatCount, formatTime } from "./format.ts";

/** 4 if something is bad; 1 if nothing is, and not everything could be found out. */
export function exitCodeOfVerification({ isSound, problems }: ReplicaVerification): ExitCode {
  if (problems.length > 0) return exitCodes.verificationFailed;
  return isSound ? exitCodes.done : exitCodes.failed;
}

/** A verification for people: what is bad first. */
export function describeVerification(verification: ReplicaVerification): string {
  const { location, isSound, problems, timelines, restore } = verification;
  const good = isSound ? "sound" : "nothing is wrong, and not everything could be proved";
  const verdict = problems.length > 0 ? formatCount(problems.length, "problem") : good;
  const lines = [`${location}: ${verdict}`];
  for (const problem of problems) lines.push(...describeProblem(problem));
  for (const timeline of timelines) lines.push(...describeTimeline(timeline));
  const { filesRead, fileCount, bytesRead, bytes, stoppedAt } = verification;
  const share = bytes === 0 ? 100 : Math.floor((100 * bytesRead) / bytes);
  const onward =
    stoppedAt === null ? "" : `; the time was over, go on with --start-at ${stoppedAt}`;
  lines.push(
    `  read ${filesRead} of ${formatCount(fileCount, "file")}, ${formatBytes(bytesRead)} (${share} %)${onward}`,
  );
  if (restore !== null) lines.push(`  trial restore: ${describeRestore(restore)}`);
  return lines.join("\n");
}

function describeProblem({ kind, key, level, message, costs, note }: VerifyProblem): string[] {
  const where = key === null ? "" : ` ${key}${level === null ? "" : ` (level ${level})`}`;
  return [
    `  ${kind.toUpperCase()}${where}: ${message}`,
    ...costs.map((cost) => `    costs ${describeCost(cost)}`),
    ...(note === null ? [] : [`    costs ${note}`]),
  ];
}

function describeCost({ timeline, from, to, pointCount }: InstantsLost): string {
  const after = from === null ? "everything" : `everything after ${formatTime(from)}`;
  const until = to === null ? "" : ` and before ${formatTime(to)}`;
  const points = pointCount === 0 ? "" : `, ${formatCount(pointCount, "recovery point")}`;
  return `${after}${until} of timeline ${timeline || "(unnamed)"}${points}`;
}

function describeTimeline(verification: TimelineVerification): string[] {
  const { timeline, role, segments, thinned } = verification;
  return [
    `  timeline ${timeline || "(unnamed)"} (${role}): ${segments.map(describeSegment).join(", ")}`,
    ...thinned.map(
      ({ level, minTxid, maxTxid }) =>
        `    level ${level} lacks ${formatTxid(minTxid)} to ${formatTxid(maxTxid)}, which other levels have`,
    ),
  ];
}

function describeSegment({ state, minTxid, maxTxid }: ChainSegment): string {
  if (maxTxid === null) return `${state} from ${formatTxid(minTxid)} on`;
  return `${state} ${formatTxid(minTxid)} to ${formatTxid(maxTxid)}`;
}

function describeRestore(restore: TrialRestore): string {
  if (restore.outcome !== "proved") return `${restore.outcome}: ${restore.message}`;
  const { txid, at, bytes, isRollingChecksumProved } = restore;
  const checksum = isRollingChecksumProved
    ? "the checksum of the whole database is the recorded one"
    : "no checksum of the whole database is recorded";
  return `TXID ${formatTxid(txid)} of ${formatTime(at)}, ${formatBytes(bytes)}; ${checksum}, integrity_check is right`;
}
