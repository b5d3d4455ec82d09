/**
 * Figures, side by side with stock Litestream, and of files with rclone, in one run: `pnpm bench --help`.
 *
 * Each contender is a process of its own, started by its command line, on a fresh directory or S3 bucket as the store. Stock is taken
 * from LITESTREAM_BIN, PEERS_DIR or the path, and rclone likewise; without them ours is measured alone. S3 is a MinIO from MINIO_BIN,
 * PEERS_DIR or the path.
 * A missed bar is shown and fails nothing; a scenario that cannot be carried out is an error.
 */
import { rmSync } from "node:fs";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { findPeer } from "@vaultwarden-stream/testkit";
import { type Contenders, findContenders } from "./contenders.ts";
import { openDirectoryStore } from "./directory-place.ts";
import { readMachine } from "./machine.ts";
import type { BenchStore, StoreKind } from "./place.ts";
import { formatMachine, formatResult, type Report, type ScenarioResult } from "./report.ts";
import { openS3Store } from "./s3-place.ts";
import type { Figure, Scenario } from "./scenario.ts";
import { busyWriter } from "./scenarios/busy-writer.ts";
import { commitToStored } from "./scenarios/commit-to-stored.ts";
import { filesScenario } from "./scenarios/files.ts";
import { firstUpload } from "./scenarios/first-upload.ts";
import { hour } from "./scenarios/hour.ts";
import { idle } from "./scenarios/idle.ts";
import { restoreIncrementsScenario, restoreScenario } from "./scenarios/restore.ts";
import { throughput } from "./scenarios/throughput.ts";

const scenarios: readonly Scenario[] = [
  commitToStored,
  firstUpload,
  busyWriter,
  throughput,
  restoreScenario,
  restoreIncrementsScenario,
  idle,
  hour,
  filesScenario,
];

const latenciesMsDefault = [0, 20];

const toUsage = ({ name, needs, isLong }: Scenario): string =>
  name +
  (needs === undefined ? "" : ` (${needs} only)`) +
  (isLong === true ? " (long: by name only)" : "");

const usage = `usage: bench [options]
  --store directory|s3     what both stream into (default: directory); s3 is MinIO behind a proxy that counts requests
  --latency <ms>[,<ms>…]   how far away s3 is (default: ${latenciesMsDefault.join(",")}); what depends little on it runs at the farthest only
  --scenario <name>        only this one; may be repeated
                           (${scenarios.map(toUsage).join(", ")})
  --quick                  smaller and shorter: for a look, not for a claim
  --built                  ours is the built package (run \`build\` first), not its sources
  --json <file>            writes all figures there too
  --help

examples:
  bench --store s3 --latency 20 --scenario restore
  bench --quick`;

interface Request {
  readonly chosen: readonly Scenario[];
  readonly storeKind: StoreKind;
  /** Ascending, at least one. Of a directory it is 0. */
  readonly latenciesMs: readonly number[];
  readonly jsonPath: string | undefined;
  readonly quick: boolean;
  /** Ours is the built package. */
  readonly isBuilt: boolean;
}

/** @returns an exit code instead if there is nothing to run. */
function readArguments(): Request | number {
  try {
    const { values } = parseArgs({
      options: {
        store: { type: "string", default: "directory" },
        latency: { type: "string" },
        scenario: { type: "string", multiple: true, default: [] },
        json: { type: "string" },
        quick: { type: "boolean", default: false },
        built: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      process.stdout.write(`${usage}\n`);
      return 0;
    }
    const { store: storeKind, scenario: names, json: jsonPath, quick, built: isBuilt } = values;
    if (storeKind !== "directory" && storeKind !== "s3") {
      throw new Error(`--store is directory or s3, not ${storeKind}`);
    }
    const unknown = names.filter((name) => scenarios.every((scenario) => scenario.name !== name));
    if (unknown.length > 0) throw new Error(`there is no scenario ${unknown.join(", ")}`);
    const fits = ({ needs }: Scenario): boolean => needs === undefined || needs === storeKind;
    const chosen = scenarios.filter((scenario) =>
      names.length === 0
        ? fits(scenario) && scenario.isLong !== true
        : names.includes(scenario.name),
    );
    const unfit = chosen.find((scenario) => !fits(scenario));
    if (unfit !== undefined) throw new Error(`${unfit.name} needs --store ${unfit.needs}`);
    const latenciesMs = readLatencies(storeKind, values.latency);
    return { chosen, storeKind, latenciesMs, jsonPath, quick, isBuilt };
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${usage}\n`);
    return 2;
  }
}

function readLatencies(storeKind: StoreKind, text: string | undefined): readonly number[] {
  if (storeKind === "directory") {
    if (text !== undefined) throw new Error("--latency is for --store s3: a directory is here");
    return [0];
  }
  if (text === undefined) return latenciesMsDefault;
  const latenciesMs = text.split(",").map((part) => (/^\d{1,4}$/.test(part) ? Number(part) : NaN));
  if (latenciesMs.some(Number.isNaN)) throw new Error(`--latency ${text} is no list of ms`);
  return latenciesMs.toSorted((a, b) => a - b);
}

async function runScenario(
  scenario: Scenario,
  latencyMs: number,
  contenders: Contenders,
  { quick, storeKind }: Request,
): Promise<ScenarioResult> {
  const directory = await mkdtemp(join(tmpdir(), `bench-${scenario.name}-`));
  const startMs = performance.now();
  const say = (line: string): void => void process.stderr.write(`  … ${scenario.name}: ${line}\n`);
  let store: BenchStore | undefined;
  const removeAll = async (): Promise<void> => {
    await store?.[Symbol.asyncDispose]();
    // Whoever was killed just now may still write its last file.
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  };
  const leave = (): void => void removeAll().finally(() => process.exit(130));
  process.once("SIGINT", leave);
  const finish = (figures: readonly Figure[], failure?: string): ScenarioResult => ({
    scenario,
    store: storeKind === "s3" ? `s3, ${latencyMs} ms away` : storeKind,
    seconds: (performance.now() - startMs) / 1000,
    figures,
    ...(failure === undefined ? {} : { failure }),
  });
  try {
    store = storeKind === "s3" ? await openS3Store(latencyMs) : openDirectoryStore(directory);
    return finish(await scenario.run({ contenders, store, directory, quick, say }));
  } catch (error) {
    return finish([], (error as Error).stack ?? String(error));
  } finally {
    process.off("SIGINT", leave);
    await removeAll();
  }
}

/** @returns undefined, and says why, if there is no server for it. */
function describeS3(): string | undefined {
  const search = findPeer("minio");
  if (search.found) {
    return `MinIO on this machine, behind a proxy that answers later by the distance`;
  }
  process.stderr.write(`--store s3 needs MinIO: ${search.reason}\n`);
  return undefined;
}

async function main(): Promise<number> {
  const request = readArguments();
  if (typeof request === "number") return request;
  const storeNote = request.storeKind === "s3" ? describeS3() : "a directory on the same disk";
  if (storeNote === undefined) return 1;
  const contenders = findContenders(request.isBuilt);
  const machine = readMachine();
  const startedAt = new Date().toISOString();
  const lines = [
    formatMachine(machine),
    request.isBuilt
      ? "ours: the built package"
      : "ours: from its TypeScript sources, which costs about 40 MB of memory and half a second of start more than the built package",
    contenders.stock === undefined
      ? `ours alone, without stock: ${contenders.stockNote}`
      : `stock: ${contenders.stockNote}`,
    `beside files: ${contenders.rcloneNote}`,
    `store: ${storeNote}`,
    ...(request.quick ? ["quick: smaller and shorter than what the bars are for"] : []),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
  const results: ScenarioResult[] = [];
  for (const scenario of request.chosen) {
    const { latenciesMs } = request;
    const chosenMs = scenario.runsAt === "each-latency" ? latenciesMs : latenciesMs.slice(-1);
    for (const latencyMs of chosenMs) {
      const result = await runScenario(scenario, latencyMs, contenders, request);
      results.push(result);
      process.stdout.write(`\n${formatResult(result)}\n`);
    }
  }
  if (request.jsonPath !== undefined) {
    const { quick } = request;
    const report: Report = {
      startedAt,
      machine,
      quick,
      stock: contenders.stockNote,
      rclone: contenders.rcloneNote,
      store: storeNote,
      results,
    };
    await writeFile(request.jsonPath, `${JSON.stringify(report, undefined, 2)}\n`);
  }
  return results.some((result) => result.failure !== undefined) ? 1 : 0;
}

process.exitCode = await main();
