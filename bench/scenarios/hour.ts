import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Contender, startProcess } from "../contenders.ts";
import { type Requests, requestFigures } from "../request-figures.ts";
import {
  barAgainstStock,
  type Figure,
  megabyte,
  type Scenario,
  type ScenarioContext,
} from "../scenario.ts";
import { sleepMs } from "../statistics.ts";
import { fill } from "../writers.ts";

const databaseBytes = 10 * megabyte;
/** Of one commit. */
const commitBytes = 8_192;
const quietMs = 4_000;
/** Of stock's requests, at most. */
const requestShareMax = 0.5;
/** With one commit a second, what is stored within a second of its commit is one request each. Some may wait longer for fewer. */
const patient = ["--sync-interval", "2s"];

interface Hour {
  readonly commits: number;
  readonly cpuSeconds: number;
  readonly peakBytes: number;
  readonly requests: Requests;
}

export const hour: Scenario = {
  name: "hour",
  summary:
    "one commit of 8 kB a second for an hour on a database of 10 MB, with all that is merged meanwhile; all at once",
  runsAt: "farthest",
  needs: "s3",
  isLong: true,
  async run(context) {
    const { ours, stock } = context.contenders;
    const [a, b, c] = await Promise.all([
      measure(context, "ours", ours),
      stock === undefined ? undefined : measure(context, "stock", stock),
      measure(context, "ours-patient", ours, patient),
    ]);
    const count = ({ requests }: Hour): number => requests?.length ?? 0;
    return [
      { name: "commits", unit: "", ours: a.commits, stock: b?.commits },
      {
        name: "requests",
        unit: "",
        ours: count(a),
        stock: b && count(b),
        bar: barAgainstStock(
          `≤ ${requestShareMax} × stock`,
          count(a),
          b && count(b),
          (mine, theirs) => mine <= requestShareMax * theirs,
        ),
      },
      ...requestFigures("requests", a.requests, b?.requests),
      {
        name: `requests with ${patient.join(" ")}`,
        unit: "",
        ours: count(c),
        stock: b && count(b),
      },
      {
        name: "CPU",
        unit: "s",
        ours: a.cpuSeconds,
        stock: b?.cpuSeconds,
        bar: barAgainstStock(
          "≤ stock",
          a.cpuSeconds,
          b?.cpuSeconds,
          (mine, theirs) => mine <= theirs,
        ),
      },
      {
        name: "peak memory",
        unit: "MB",
        ours: a.peakBytes / megabyte,
        stock: b && b.peakBytes / megabyte,
      },
    ] satisfies Figure[];
  },
};

async function measure(
  context: ScenarioContext,
  name: string,
  contender: Contender,
  options: readonly string[] = [],
): Promise<Hour> {
  const seconds = context.quick ? 60 : 3_600;
  const directory = join(context.directory, name);
  await mkdir(directory);
  const database = join(directory, "app.db");
  using place = await context.store.makePlace(name);
  await fill({ database, bytes: databaseBytes, transactionBytes: megabyte, randomShare: 0.5 });
  const command = contender.replicateCommand(database, place.url);
  using running = startProcess([...command, ...options], place.env);
  using watch = await place.watch(running.ended);
  await watch.waitUntilQuiet(quietMs, running.ended);
  context.say(`${name}: ${seconds} s`);
  const before = running.usage();
  const requestsBefore = place.log?.requests.length ?? 0;
  await fill({
    database,
    bytes: seconds * commitBytes,
    transactionBytes: commitBytes,
    randomShare: 0.5,
    pauseMs: 1_000,
  });
  // The last commit is shipped, too.
  await sleepMs(quietMs, running.ended);
  const after = running.usage();
  const requests = place.log?.requests.slice(requestsBefore);
  await running.stop();
  return {
    commits: seconds,
    cpuSeconds: after.cpuSeconds - before.cpuSeconds,
    peakBytes: after.peakBytes,
    requests,
  };
}
