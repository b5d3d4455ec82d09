import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Contender, startProcess } from "../contenders.ts";
import { listFiles } from "../directory-place.ts";
import { countByOperation, type Requests } from "../request-figures.ts";
import { type Figure, megabyte, type Scenario, type ScenarioContext } from "../scenario.ts";
import { sleepMs } from "../statistics.ts";
import { fill } from "../writers.ts";

/** Goal of ours: a share of one core. */
const cpuBarPercent = 0.1;
const memoryBarMb = 120;
/** A renewal of the lease is a PUT, a look for the next epoch a GET. */
const leaseRequestsAnHour = 60;
const quietMs = 4_000;

interface Idleness {
  readonly cpuPercent: number;
  readonly residentBytes: number;
  /** Local ones, and those of a store that is a directory, but for the lease. */
  readonly filesWritten: number;
  readonly requests: Requests;
}

export const idle: Scenario = {
  name: "idle",
  summary: "nothing happens, after everything is stored; both at once",
  runsAt: "farthest",
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
        name: "files written, but the lease",
        unit: "files",
        ours: a.filesWritten,
        stock: b?.filesWritten,
        bar: { text: "none", isHeld: a.filesWritten === 0 },
      },
    ];
    return [...figures, ...hourlyFigures(windowMs(context), a.requests, b?.requests)];
  },
};

function windowMs({ quick, store }: ScenarioContext): number {
  if (quick) return 15_000;
  // Two intervals of the lease.
  return store.kind === "s3" ? 120_000 : 60_000;
}

/** Requests of a time that is `durationMs` long, for an hour. */
function hourlyFigures(durationMs: number, ours: Requests, stock: Requests): Figure[] {
  if (ours === undefined) return [];
  const perHour = (count: number): number => (count * 3_600_000) / durationMs;
  return countByOperation(ours, stock).map((counts) => {
    const allowed = ["PUT", "GET"].includes(counts.operation) ? leaseRequestsAnHour : 0;
    const oursPerHour = perHour(counts.ours);
    return {
      name: `requests: ${counts.operation}`,
      unit: "1/h",
      ours: oursPerHour,
      stock: counts.stock === undefined ? undefined : perHour(counts.stock),
      bar: {
        text: allowed === 0 ? "none" : `≤ ${allowed} /h`,
        isHeld: oursPerHour <= allowed,
      },
    };
  });
}

async function measure(context: ScenarioContext, contender: Contender): Promise<Idleness> {
  const directory = join(context.directory, contender.name);
  await mkdir(directory);
  const database = join(directory, "app.db");
  using place = await context.store.makePlace(contender.name);
  await fill({ database, bytes: 10 * megabyte, transactionBytes: megabyte, randomShare: 0.5 });
  using running = startProcess(contender.replicateCommand(database, place.url), place.env);
  using watch = await place.watch(running.ended);
  await watch.waitUntilQuiet(quietMs, running.ended);
  // What goes idle is an application that has run: one commit more, and then all that follows from it.
  await fill({ database, bytes: 8_192, transactionBytes: 8_192, randomShare: 0.5 });
  await watch.waitUntilQuiet(quietMs, running.ended);
  // Level 1 is made at :00 and :30 by stock, and by us within a minute.
  if (!context.quick) await sleepMs(60_000, running.ended);
  const durationMs = windowMs(context);
  context.say(`${contender.name}: ${durationMs / 1000} s`);
  const before = running.usage();
  const requestsBefore = place.log?.requests.length;
  const filesBefore = fingerprints(directory);
  await sleepMs(durationMs, running.ended);
  const after = running.usage();
  const requests = place.log?.requests.slice(requestsBefore);
  const filesAfter = fingerprints(directory);
  await running.stop();
  return {
    cpuPercent: ((after.cpuSeconds - before.cpuSeconds) / (durationMs / 1000)) * 100,
    residentBytes: after.residentBytes,
    filesWritten: [...filesAfter].filter((file) => !filesBefore.has(file)).length,
    requests,
  };
}

function fingerprints(directory: string): Set<string> {
  return new Set(
    listFiles(directory)
      .filter(({ path }) => !path.includes(".lease.json"))
      .map(({ path, size, mtimeMs }) => `${path} ${size} ${mtimeMs}`),
  );
}
