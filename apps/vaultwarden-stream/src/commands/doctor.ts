import { openObjectStore } from "@vaultwarden-stream/object-store";
import {
  type CommandSpec,
  exitCodes,
  formatCount,
  interruptible,
} from "wal-replicator/command-line";
import type { ConfigProblem } from "../config/config-problem.ts";
import type { Environment } from "../config/environment.ts";
import { openRetrying } from "../daemon/vault-store.ts";
import { diagnoseDataFolder, diagnoseServer, diagnoseSqlite } from "../health/diagnose-machine.ts";
import { diagnoseStore } from "../health/diagnose-store.ts";
import { type Finding, ok } from "../health/finding.ts";
import { readSettings } from "./read-settings.ts";

export const doctorCommand: CommandSpec<object> = {
  name: "doctor",
  summary: "tries everything that a vault needs, store, disk and clock, and says what to do",
  args: [],
  options: [],
  examples: ["vaultwarden-stream doctor", "docker run --rm --env-file .env … doctor --json"],
  run: ({ output, streams }) =>
    interruptible(async (signal) => {
      const findings = await diagnose(streams.env, streams.now, signal);
      const problemCount = findings.filter(({ outcome }) => outcome === "problem").length;
      const warningCount = findings.filter(({ outcome }) => outcome === "warning").length;
      output.result(
        { ok: problemCount === 0, problemCount, warningCount, findings },
        formatFindings(findings, problemCount, warningCount),
      );
      return problemCount === 0 ? exitCodes.done : exitCodes.failed;
    }),
};

async function diagnose(
  environment: Environment,
  now: () => number,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const { config, settings, errors, warnings } = readSettings(environment);
  const findings: Finding[] = [
    ...errors.map((problem) => toFinding("problem", problem)),
    ...warnings.map((problem) => toFinding("warning", problem)),
  ];
  if (errors.length === 0) findings.push(ok("configuration", "it can be used"));
  findings.push(
    ...(settings === undefined
      ? [skipped("data folder", "the vault's settings do not say where it is")]
      : diagnoseDataFolder(settings.database)),
    diagnoseSqlite(),
  );
  if (settings !== undefined) {
    const { databaseConnInit } = settings;
    findings.push(await diagnoseServer(config?.vaultwardenBin, environment, databaseConnInit));
  }
  findings.push(
    ...(config === undefined
      ? [skipped("store", "the configuration does not say where it is")]
      : await diagnoseStore(
          { store: openObjectStore(config.store), patient: openRetrying(config.store) },
          { now, signal },
        )),
  );
  return findings;
}

function toFinding(outcome: "problem" | "warning", problem: ConfigProblem): Finding {
  const { name, value, reason, remedy } = problem;
  const given = value === undefined ? "" : `=${JSON.stringify(value)}`;
  return { check: "configuration", outcome, message: `${name}${given}: ${reason}`, remedy };
}

function skipped(check: string, message: string): Finding {
  return { check, outcome: "skipped", message, remedy: null };
}

const labels: Record<Finding["outcome"], string> = {
  ok: "ok",
  note: "note",
  warning: "WARNING",
  problem: "PROBLEM",
  skipped: "skipped",
};

function formatFindings(
  findings: readonly Finding[],
  problemCount: number,
  warningCount: number,
): string {
  const lines = findings.flatMap(({ check, outcome, message, remedy }) => {
    const line = `${labels[outcome].padEnd(9)}${check}: ${message}`;
    return remedy === null ? [line] : [line, `${" ".repeat(9)}  next: ${remedy}`];
  });
  const problems = problemCount === 0 ? "no problem" : formatCount(problemCount, "problem");
  const warnings = warningCount === 0 ? "no warning" : formatCount(warningCount, "warning");
  return [...lines, `${problems}, ${warnings}`].join("\n");
}
