import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { nowMs } from "../clock.ts";
import { type Contender, type RunningProcess, startProcess } from "../contenders.ts";
import type { LevelZeroWatch } from "../place.ts";
import { type Requests, requestFigures } from "../request-figures.ts";
import {
  barAgainstStock,
  type Figure,
  gigabyte,
  megabyte,
  type Scenario,
  type ScenarioContext,
} from "../scenario.ts";
import { type FillJob, fill } from "../writers.ts";

const memoryBarMb = 200;

interface Phase {
  /** From the writer's start to the last level-0 file. */
  readonly storedAfterSeconds: number;
  /** For a gigabyte of rows. */
  readonly cpuSecondsPerGb: number;
  /** Since the start of the process, so that the second phase includes the first. */
  readonly peakBytes: number;
}

export const throughput: Scenario = {
  name: "throughput",
  summary:
    "rows of mixed compressibility through the WAL, in transactions of 2 MB; then one large transaction",
  runsAt: "farthest",
  async run(context) {
    const { ours, stock } = context.contenders;
    const oursPhases = await measure(context, ours);
    const stockPhases = stock === undefined ? undefined : await measure(context, stock);
    const { stream, single } = jobs(context);
    return [
      ...toFigures(
        `${stream.bytes / megabyte} MB in small transactions`,
        oursPhases.stream,
        stockPhases?.stream,
      ),
      ...toFigures(
        `${single.bytes / megabyte} MB in one transaction`,
        oursPhases.single,
        stockPhases?.single,
      ),
      ...requestFigures("both, requests", oursPhases.requests, stockPhases?.requests),
    ];
  },
};

function toFigures(name: string, ours: Phase, stock: Phase | undefined): Figure[] {
  return [
    {
      name: `${name}: all stored after`,
      unit: "s",
      ours: ours.storedAfterSeconds,
      stock: stock?.storedAfterSeconds,
    },
    {
      name: `${name}: CPU`,
      unit: "s/GB",
      ours: ours.cpuSecondsPerGb,
      stock: stock?.cpuSecondsPerGb,
      bar: barAgainstStock(
        "≤ stock",
        ours.cpuSecondsPerGb,
        stock?.cpuSecondsPerGb,
        (a, b) => a <= b,
      ),
    },
    {
      name: `${name}: peak memory`,
      unit: "MB",
      ours: ours.peakBytes / megabyte,
      stock: stock && stock.peakBytes / megabyte,
      bar: { text: `≤ ${memoryBarMb} MB`, isHeld: ours.peakBytes <= memoryBarMb * megabyte },
    },
  ];
}

type Job = Omit<FillJob, "database">;

function jobs({ quick }: ScenarioContext): { readonly stream: Job; readonly single: Job } {
  const mixed = { randomShare: 0.5 };
  const single = (quick ? 50 : 500) * megabyte;
  return {
    stream: { ...mixed, bytes: (quick ? 100 : 1_000) * megabyte, transactionBytes: 2 * megabyte },
    single: { ...mixed, bytes: single, transactionBytes: single },
  };
}

async function measure(
  context: ScenarioContext,
  contender: Contender,
): Promise<{ readonly stream: Phase; readonly single: Phase; readonly requests: Requests }> {
  const directory = join(context.directory, contender.name);
  await mkdir(directory);
  const database = join(directory, "app.db");
  using place = await context.store.makePlace(contender.name);
  const { stream, single } = jobs(context);
  await fill({ ...stream, database, bytes: megabyte });
  using running = startProcess(contender.replicateCommand(database, place.url), place.env);
  using watch = await place.watch(running.ended);
  await watch.waitUntilQuiet(quietMs(context), running.ended);
  const requestsBefore = place.log?.requests.length;
  context.say(`${contender.name}: ${stream.bytes / megabyte} MB in small transactions`);
  const first = await runPhase(context, running, watch, { ...stream, database });
  context.say(`${contender.name}: ${single.bytes / megabyte} MB in one transaction`);
  const second = await runPhase(context, running, watch, { ...single, database });
  const requests = place.log?.requests.slice(requestsBefore);
  await running.stop();
  return { stream: first, single: second, requests };
}

/** Includes what the contender does beside shipping meanwhile: stock compacts level 1 every 30 s. */
async function runPhase(
  context: ScenarioContext,
  running: RunningProcess,
  watch: LevelZeroWatch,
  job: FillJob,
): Promise<Phase> {
  const before = running.usage();
  const startMs = nowMs();
  await fill(job);
  const lastMs = await watch.waitUntilQuiet(quietMs(context), running.ended, startMs);
  const after = running.usage();
  return {
    storedAfterSeconds: (lastMs - startMs) / 1000,
    cpuSecondsPerGb: ((after.cpuSeconds - before.cpuSeconds) * gigabyte) / job.bytes,
    peakBytes: after.peakBytes,
  };
}

/** Longer than either needs to make the largest file, which nobody sees before it is stored. */
function quietMs({ quick }: ScenarioContext): number {
  return quick ? 4_000 : 12_000;
}
