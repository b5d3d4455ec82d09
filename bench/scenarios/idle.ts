import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Contender, startProcess } from "../contenders.ts";
import { type Figure, megabyte, type Scenario, type ScenarioContext } from "../scenario.ts";
import { sleepMs } from "../statistics.ts";
import { listFiles, StoreWatch } from "../store-watch.ts";
import { fill } from "../writers.ts";

/** Goal of ours: a share of one core. */
const cpuBarPercent = 0.1;
const memoryBarMb = 120;
const quietMs = 4_000;

interface Idleness {
  readonly cpuPercent: number;
  readonly residentBytes: number;
  readonly filesWritten: number;
}

export const idle: Scenario = {
  name: "idle",
  summary: "nothing happens, after everything is stored; both at once",
  async run(context) {
    const { ours, stock } = context.contenders;
    const [a, b] = await Promise.all([
      measure(context, ours),
      stock === undefined ? undefined : measure(context, stock),
    ]);
    const figures: Figure[] = [
      {
        name: "CPU, of one core",
        unit: "%",
        ours: a.cpuPercent,
        stock: b?.cpuPercent,
        bar: { text: `≤ ${cpuBarPercent} %`, isHeld: a.cpuPercent <= cpuBarPercent },
      },
      {
        name: "resident memory",
        unit: "MB",
        ours: a.residentBytes / megabyte,
        stock: b && b.residentBytes / megabyte,
        bar: { text: `≤ ${memoryBarMb} MB`, isHeld: a.residentBytes <= memoryBarMb * megabyte },
      },
      {
        name: "files written, in the store and locally",
        unit: "files",
        ours: a.filesWritten,
        stock: b?.filesWritten,
        bar: { text: "none", isHeld: a.filesWritten === 0 },
      },
    ];
    return figures;
  },
};

async function measure(context: ScenarioContext, contender: Contender): Promise<Idleness> {
  const directory = join(context.directory, contender.name);
  await mkdir(directory);
  const database = join(directory, "app.db");
  const store = join(directory, "store");
  await fill({ database, bytes: 10 * megabyte, transactionBytes: megabyte, randomShare: 0.5 });
  using running = startProcess(contender.replicateCommand(database, store));
  using watch = await StoreWatch.open(store, running.ended);
  await watch.waitUntilQuiet(quietMs, running.ended);
  // Over the next :00 or :30, at which stock makes level 1 of its first file.
  if (!context.quick) await sleepMs(30_000, running.ended);
  const durationMs = context.quick ? 15_000 : 60_000;
  context.say(`${contender.name}: ${durationMs / 1000} s`);
  const before = running.usage();
  const filesBefore = fingerprints(directory);
  await sleepMs(durationMs, running.ended);
  const after = running.usage();
  const filesAfter = fingerprints(directory);
  await running.stop();
  return {
    cpuPercent: ((after.cpuSeconds - before.cpuSeconds) / (durationMs / 1000)) * 100,
    residentBytes: after.residentBytes,
    filesWritten: [...filesAfter].filter((file) => !filesBefore.has(file)).length,
  };
}

function fingerprints(directory: string): Set<string> {
  return new Set(
    listFiles(directory).map(({ path, size, mtimeMs }) => `${path} ${size} ${mtimeMs}`),
  );
}
