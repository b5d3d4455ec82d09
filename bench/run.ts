/**
 * Figures, side by side with stock Litestream in one run: `pnpm bench [scenario…] [--json file] [--quick]`.
 *
 * Each contender is a process of its own, started by its command line, on a fresh directory as the store. Stock is taken from
 * LITESTREAM_BIN, PEERS_DIR or the path; without it ours is measured alone. A missed bar is shown and fails nothing; a scenario that
 * cannot be carried out is an error.
 */
import { rmSync } from "node:fs";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Contenders, findContenders } from "./contenders.ts";
import { readMachine } from "./machine.ts";
import { formatMachine, formatResult, type Report, type ScenarioResult } from "./report.ts";
import type { Scenario } from "./scenario.ts";
import { busyWriter } from "./scenarios/busy-writer.ts";
import { commitToStored } from "./scenarios/commit-to-stored.ts";
import { firstUpload } from "./scenarios/first-upload.ts";
import { idle } from "./scenarios/idle.ts";
import { restoreScenario } from "./scenarios/restore.ts";
import { throughput } from "./scenarios/throughput.ts";

const scenarios: readonly Scenario[] = [
  commitToStored,
  firstUpload,
  busyWriter,
  throughput,
  restoreScenario,
  idle,
];

const usage = `usage: bench [scenario…] [--json file] [--quick]
  scenarios: ${scenarios.map((scenario) => scenario.name).join(", ")} (default: all)`;

interface Request {
  readonly chosen: readonly Scenario[];
  readonly jsonPath: string | undefined;
  readonly quick: boolean;
}

/** @returns undefined if the arguments make no sense. */
function readArguments(): Request | undefined {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { json: { type: "string" }, quick: { type: "boolean", default: false } },
    });
    const unknown = positionals.filter((name) =>
      scenarios.every((scenario) => scenario.name !== name),
    );
    if (unknown.length > 0) throw new Error(`there is no scenario ${unknown.join(", ")}`);
    const chosen = scenarios.filter(
      ({ name }) => positionals.length === 0 || positionals.includes(name),
    );
    return { chosen, jsonPath: values.json, quick: values.quick };
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${usage}\n`);
    return undefined;
  }
}

async function runScenario(
  scenario: Scenario,
  contenders: Contenders,
  quick: boolean,
): Promise<ScenarioResult> {
  const directory = await mkdtemp(join(tmpdir(), `bench-${scenario.name}-`));
  const startMs = performance.now();
  const say = (line: string): void => void process.stderr.write(`  … ${scenario.name}: ${line}\n`);
  const removeDirectory = (): void =>
    // Whoever was killed just now may still write its last file.
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  const leave = (): void => {
    removeDirectory();
    process.exit(130);
  };
  process.once("SIGINT", leave);
  const elapsedSeconds = (): number => (performance.now() - startMs) / 1000;
  try {
    const figures = await scenario.run({ contenders, directory, quick, say });
    return { scenario, seconds: elapsedSeconds(), figures };
  } catch (error) {
    return {
      scenario,
      seconds: elapsedSeconds(),
      figures: [],
      failure: (error as Error).stack ?? String(error),
    };
  } finally {
    process.off("SIGINT", leave);
    removeDirectory();
  }
}

async function main(): Promise<number> {
  const request = readArguments();
  if (request === undefined) return 2;
  const contenders = findContenders();
  const machine = readMachine();
  const startedAt = new Date().toISOString();
  const lines = [
    formatMachine(machine),
    "ours: from its TypeScript sources, which costs about 40 MB of memory and half a second of start more than the built package",
    contenders.stock === undefined
      ? `ours alone, without stock: ${contenders.stockNote}`
      : `stock: ${contenders.stockNote}`,
    ...(request.quick ? ["quick: smaller and shorter than what the bars are for"] : []),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
  const results: ScenarioResult[] = [];
  for (const scenario of request.chosen) {
    const result = await runScenario(scenario, contenders, request.quick);
    results.push(result);
    process.stdout.write(`\n${formatResult(result)}\n`);
  }
  if (request.jsonPath !== undefined) {
    const { quick } = request;
    const report: Report = { startedAt, machine, quick, stock: contenders.stockNote, results };
    await writeFile(request.jsonPath, `${JSON.stringify(report, undefined, 2)}\n`);
  }
  return results.some((result) => result.failure !== undefined) ? 1 : 0;
}

process.exitCode = await main();
