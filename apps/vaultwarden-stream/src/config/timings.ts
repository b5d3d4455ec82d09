import type { ConfigProblem } from "./config-problem.ts";
import type { ReadVariables } from "./store-config.ts";

/** The times of the configuration, in milliseconds, after the laws between them. */
export interface Timings {
  /** Longest time between two looks at the files. */
  readonly lookIntervalMs: number;
  /** More than this behind the vault is unhealthy; at least two looks. */
  readonly maxSyncAgeMs: number;
  readonly snapshotIntervalMs: number;
  /** How far recovery points reach back; at least one snapshot. */
  readonly retentionMs: number;
  /** The platform's whole grace period. */
  readonly shutdownTimeoutMs: number;
  /** Budget for shipping the tail; at most the whole. */
  readonly tailTimeoutMs: number;
  /** Budget for the last push of files; at most the whole. */
  readonly pushTimeoutMs: number;
}

/** What serverless platforms give between SIGTERM and SIGKILL. */
const serverlessShutdownMs = 10_000;

/** What one time makes impossible for another is raised or cut, and said. A variable that could not be read breaks no law. */
export function settleTimings(variables: ReadVariables): {
  readonly timings: Timings;
  readonly warnings: readonly ConfigProblem[];
} {
  const warnings: ConfigProblem[] = [];
  const ms = (name: string): number => variables.value(name) as number;
  const lookIntervalMs = ms("PRIMARY_SYNC_INTERVAL");
  const snapshotIntervalMs = ms("REPLICATION_SNAPSHOT_INTERVAL");
  const isServerless = variables.value("DEPLOYMENT_MODE") === "serverless";
  const shutdownTimeoutMs =
    isServerless && !variables.isGiven("SHUTDOWN_TIMEOUT")
      ? serverlessShutdownMs
      : ms("SHUTDOWN_TIMEOUT");

  const raised = (name: string, leastMs: number, reason: string): number => {
    const givenMs = ms(name);
    if (!(givenMs < leastMs)) return givenMs;
    warnings.push({
      name,
      value: inSeconds(givenMs),
      reason,
      remedy: `it is raised to ${inSeconds(leastMs)}: set it to that or more`,
    });
    return leastMs;
  };
  const cut = (name: string): number => {
    const givenMs = ms(name);
    if (!(givenMs > shutdownTimeoutMs)) return givenMs;
    // The defaults are made for a long grace period; that they do not fit a short one is no news.
    if (variables.isGiven(name)) {
      warnings.push({
        name,
        value: inSeconds(givenMs),
        reason: `the platform's whole grace period is ${inSeconds(shutdownTimeoutMs)} (SHUTDOWN_TIMEOUT)`,
        remedy: "it is cut to that: give the platform and SHUTDOWN_TIMEOUT more, or remove it",
      });
    }
    return shutdownTimeoutMs;
  };

  const timings: Timings = {
    lookIntervalMs,
    maxSyncAgeMs: raised(
      "HEALTHCHECK_MAX_SYNC_AGE",
      2 * lookIntervalMs,
      `files are only looked at every ${inSeconds(lookIntervalMs)} (PRIMARY_SYNC_INTERVAL), so a healthy vault would be called unhealthy and restarted`,
    ),
    snapshotIntervalMs,
    retentionMs: raised(
      "REPLICATION_RETENTION",
      snapshotIntervalMs,
      `a snapshot is only made every ${inSeconds(snapshotIntervalMs)} (REPLICATION_SNAPSHOT_INTERVAL), and nothing restores without one`,
    ),
    shutdownTimeoutMs,
    tailTimeoutMs: cut("REPLICATION_SHUTDOWN_TIMEOUT"),
    pushTimeoutMs: cut("SYNC_SHUTDOWN_TIMEOUT"),
  };
  return { timings, warnings };
}

function inSeconds(ms: number): string {
  return `${ms / 1_000}s`;
}
