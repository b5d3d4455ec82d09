import { copyFile, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { readDatabaseImage } from "@vaultwarden-stream/testkit";
import { nowMs } from "../clock.ts";
import { type Contender, startProcess } from "../contenders.ts";
import { hashFile } from "../hash-file.ts";
import { type MeasuredRun, runMeasured } from "../measured-run.ts";
import type { Place } from "../place.ts";
import { type Requests, requestFigures } from "../request-figures.ts";
import {
  barAgainstStock,
  type Figure,
  megabyte,
  type Scenario,
  type ScenarioContext,
} from "../scenario.ts";
import { median } from "../statistics.ts";
import { fill } from "../writers.ts";

const quietMs = 4_000;
/** Longer than stock's tick, so that each transaction becomes an increment of both. */
const incrementPauseMs = 1_100;
const memoryBarMb = 200;
const timesFasterFromS3 = 3;

interface Restored extends MeasuredRun {
  readonly sha256: string;
  readonly requests: Requests;
}

export const restoreScenario: Scenario = makeScenario("restore", "50 increments of 1 MB", {
  count: 50,
  bytes: megabyte,
});

/** As a vault is after twenty minutes of a commit a second: merged by each contender as it does. */
export const restoreIncrementsScenario: Scenario = makeScenario(
  "restore-increments",
  "1,000 increments of 16 kB",
  { count: 1_000, bytes: 16_384 },
  { isLong: true },
);

interface Increments {
  readonly count: number;
  readonly bytes: number;
}

function makeScenario(
  name: string,
  described: string,
  increments: Increments,
  traits: Pick<Scenario, "isLong"> = {},
): Scenario {
  return {
    ...traits,
    name,
    summary: `a database with ${described}, restored by each contender's command from a warm page cache; ours always runs integrity_check, stock only where it says so`,
    runsAt: "farthest",
    run: (context) => run(context, increments),
  };
}

async function run(context: ScenarioContext, increments: Increments): Promise<readonly Figure[]> {
  const { store } = context;
  const { ours, stock } = context.contenders;
  const isS3 = store.kind === "s3";
  const base = join(context.directory, "base.db");
  context.say("writing the database");
  const bytes = (context.quick ? 100 : 1_000) * megabyte;
  await fill({ database: base, bytes, transactionBytes: 100 * megabyte, randomShare: 0.5 });
  context.say("streaming it, with increments");
  using oursPlace = await store.makePlace("ours");
  using stockPlace = await store.makePlace("stock");
  // Nothing is timed here: both at once.
  const [oursSha256, stockSha256] = await Promise.all([
    makeReplica(context, ours, oursPlace, base, increments),
    stock === undefined ? undefined : makeReplica(context, stock, stockPlace, base, increments),
  ]);
  await rm(base);

  const oursRuns: Restored[] = [];
  const stockRuns: Restored[] = [];
  const stockCheckedRuns: Restored[] = [];
  const stockOwnRuns: Restored[] = [];
  const target = join(context.directory, "restored.db");
  for (let round = 1; round <= (context.quick ? 1 : isS3 ? 2 : 3); round += 1) {
    context.say(`round ${round}`);
    oursRuns.push(await measure(ours.restoreCommand(oursPlace.url, target), oursPlace, target));
    if (stock === undefined) continue;
    const command = stock.restoreCommand(oursPlace.replicaUrl(), target);
    stockRuns.push(await measure(command, oursPlace, target));
    const ownCommand = stock.restoreCommand(stockPlace.url, target);
    stockOwnRuns.push(await measure(ownCommand, stockPlace, target));
    // The check itself costs the same wherever the files came from.
    if (isS3) continue;
    const checked = [...command.slice(0, 2), "-integrity-check", "full", ...command.slice(2)];
    stockCheckedRuns.push(await measure(checked, oursPlace, target));
  }
  const isSame =
    [...oursRuns, ...stockRuns, ...stockCheckedRuns].every((run) => run.sha256 === oursSha256) &&
    stockOwnRuns.every((run) => run.sha256 === stockSha256);
  const timesFaster = isS3 ? timesFasterFromS3 : 1;
  const figures: Figure[] = [
    ...toFigures("our replica", oursRuns, stockRuns, timesFaster),
    ...(stockCheckedRuns.length === 0
      ? []
      : toFigures("our replica, stock with its integrity check", oursRuns, stockCheckedRuns, 1)),
    ...toFigures("each its own replica", oursRuns, stockOwnRuns, timesFaster),
    ...requestFigures(
      "each its own replica, requests",
      oursRuns.at(-1)?.requests,
      stockOwnRuns.at(-1)?.requests,
    ),
    {
      name: "all results are the database, byte for byte",
      unit: "",
      ours: oursRuns.length,
      stock: stock && stockRuns.length + stockCheckedRuns.length + stockOwnRuns.length,
      bar: { text: "all", isHeld: isSame },
    },
  ];
  return figures;
}

function toFigures(
  name: string,
  ours: readonly Restored[],
  stock: readonly Restored[],
  timesFaster: number,
): Figure[] {
  const middle = (runs: readonly Restored[], of: (run: Restored) => number): number | undefined =>
    runs.length === 0 ? undefined : median(runs.map(of));
  const seconds = (run: Restored): number => run.seconds;
  const oursPeakMb = middle(ours, (run) => run.peakBytes / megabyte);
  return [
    {
      name: `${name}: wall time`,
      unit: "s",
      ours: middle(ours, seconds),
      stock: middle(stock, seconds),
      bar: barAgainstStock(
        timesFaster === 1 ? "≤ stock" : `≥ ${timesFaster} × as fast`,
        middle(ours, seconds),
        middle(stock, seconds),
        (a, b) => a * timesFaster <= b,
      ),
    },
    {
      name: `${name}: CPU`,
      unit: "s",
      ours: middle(ours, (run) => run.cpuSeconds),
      stock: middle(stock, (run) => run.cpuSeconds),
    },
    {
      name: `${name}: peak memory`,
      unit: "MB",
      ours: oursPeakMb,
      stock: middle(stock, (run) => run.peakBytes / megabyte),
      bar: { text: `≤ ${memoryBarMb} MB`, isHeld: (oursPeakMb ?? 0) <= memoryBarMb },
    },
  ];
}

/** @returns the SHA-256 of what must come out of it. */
async function makeReplica(
  context: ScenarioContext,
  contender: Contender,
  place: Place,
  base: string,
  increments: Increments,
): Promise<string> {
  const directory = join(context.directory, contender.name);
  // The place may be in it already.
  await mkdir(directory, { recursive: true });
  const database = join(directory, "app.db");
  await copyFile(base, database);
  using running = startProcess(contender.replicateCommand(database, place.url), place.env);
  using watch = await place.watch(running.ended);
  await watch.waitUntilQuiet(quietMs, running.ended);
  const startMs = nowMs();
  const count = context.quick ? 10 : increments.count;
  await fill({
    database,
    bytes: count * increments.bytes,
    transactionBytes: increments.bytes,
    randomShare: 0.5,
    pauseMs: incrementPauseMs,
  });
  await watch.waitUntilQuiet(quietMs, running.ended, startMs);
  await running.stop();
  const { sha256 } = await readDatabaseImage(database);
  return sha256;
}

async function measure(
  command: readonly string[],
  place: Place,
  target: string,
): Promise<Restored> {
  for (const suffix of ["", "-wal", "-shm"]) await rm(target + suffix, { force: true });
  const requestsBefore = place.log?.requests.length;
  const run = await runMeasured(command, place.env);
  const requests = place.log?.requests.slice(requestsBefore);
  return { ...run, requests, sha256: await hashFile(target) };
}
