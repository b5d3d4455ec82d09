import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { copyFile, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { readDatabaseImage } from "@vaultwarden-stream/testkit";
import { type Contender, startProcess } from "../contenders.ts";
import { type MeasuredRun, runMeasured } from "../measured-run.ts";
import {
  barAgainstStock,
  type Figure,
  megabyte,
  type Scenario,
  type ScenarioContext,
} from "../scenario.ts";
import { median } from "../statistics.ts";
import { findReplicaDirectory, StoreWatch } from "../store-watch.ts";
import { fill } from "../writers.ts";

const quietMs = 4_000;
/** Longer than stock's tick, so that each transaction becomes an increment of both. */
const incrementPauseMs = 1_100;

interface Restored extends MeasuredRun {
  readonly sha256: string;
}

export const restoreScenario: Scenario = {
  name: "restore",
  summary:
    "a database with its increments, restored by each contender's command from a warm page cache; ours always runs integrity_check, stock only where it says so",
  async run(context) {
    const { ours, stock } = context.contenders;
    const base = join(context.directory, "base.db");
    context.say("writing the database");
    const bytes = (context.quick ? 100 : 1_000) * megabyte;
    await fill({ database: base, bytes, transactionBytes: 100 * megabyte, randomShare: 0.5 });
    context.say("streaming it, with increments");
    // Nothing is timed here: both at once.
    const [oursStore, stockStore] = await Promise.all([
      makeReplica(context, ours, base),
      stock === undefined ? undefined : makeReplica(context, stock, base),
    ]);
    await rm(base);

    const oursRuns: Restored[] = [];
    const stockRuns: Restored[] = [];
    const stockCheckedRuns: Restored[] = [];
    const stockOwnRuns: Restored[] = [];
    const target = join(context.directory, "restored.db");
    for (let round = 1; round <= (context.quick ? 1 : 3); round += 1) {
      context.say(`round ${round}`);
      oursRuns.push(await measure(ours.restoreCommand(oursStore.store, target), target));
      if (stock === undefined || stockStore === undefined) continue;
      const command = stock.restoreCommand(oursStore.replica, target);
      const checked = [...command.slice(0, 2), "-integrity-check", "full", ...command.slice(2)];
      stockRuns.push(await measure(command, target));
      stockCheckedRuns.push(await measure(checked, target));
      stockOwnRuns.push(await measure(stock.restoreCommand(stockStore.replica, target), target));
    }
    const isSame =
      [...oursRuns, ...stockRuns, ...stockCheckedRuns].every(
        (run) => run.sha256 === oursStore.sha256,
      ) && stockOwnRuns.every((run) => run.sha256 === stockStore?.sha256);
    const figures: Figure[] = [
      ...toFigures("our replica", oursRuns, stockRuns),
      ...toFigures("our replica, stock with its integrity check", oursRuns, stockCheckedRuns),
      ...toFigures("each its own replica", oursRuns, stockOwnRuns),
      {
        name: "all results are the database, byte for byte",
        unit: "",
        ours: oursRuns.length,
        stock: stock && stockRuns.length + stockCheckedRuns.length + stockOwnRuns.length,
        bar: { text: "all", isHeld: isSame },
      },
    ];
    return figures;
  },
};

function toFigures(name: string, ours: readonly Restored[], stock: readonly Restored[]): Figure[] {
  const middle = (runs: readonly Restored[], of: (run: Restored) => number): number | undefined =>
    runs.length === 0 ? undefined : median(runs.map(of));
  const seconds = (run: Restored): number => run.seconds;
  return [
    {
      name: `${name}: wall time`,
      unit: "s",
      ours: middle(ours, seconds),
      stock: middle(stock, seconds),
      bar: barAgainstStock(
        "≤ stock",
        middle(ours, seconds),
        middle(stock, seconds),
        (a, b) => a <= b,
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
      ours: middle(ours, (run) => run.peakBytes / megabyte),
      stock: middle(stock, (run) => run.peakBytes / megabyte),
    },
  ];
}

/** A replica, and what must come out of it. */
interface Source {
  readonly store: string;
  /** What stock can read. */
  readonly replica: string;
  readonly sha256: string;
}

async function makeReplica(
  context: ScenarioContext,
  contender: Contender,
  base: string,
): Promise<Source> {
  const directory = join(context.directory, contender.name);
  await mkdir(directory);
  const database = join(directory, "app.db");
  const store = join(directory, "store");
  await copyFile(base, database);
  using running = startProcess(contender.replicateCommand(database, store));
  using watch = await StoreWatch.open(store, running.ended);
  await watch.waitUntilQuiet(quietMs, running.ended);
  const increments = context.quick ? 10 : 50;
  await fill({
    database,
    bytes: increments * megabyte,
    transactionBytes: megabyte,
    randomShare: 0.5,
    pauseMs: incrementPauseMs,
  });
  await watch.waitUntilQuiet(quietMs, running.ended);
  await running.stop();
  const { sha256 } = await readDatabaseImage(database);
  return { store, replica: findReplicaDirectory(store) as string, sha256 };
}

async function measure(command: readonly string[], target: string): Promise<Restored> {
  for (const suffix of ["", "-wal", "-shm"]) await rm(target + suffix, { force: true });
  return { ...(await runMeasured(command)), sha256: await hashFile(target) };
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest("hex");
}
