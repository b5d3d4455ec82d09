import { statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { nowMs } from "../clock.ts";
import { type Contender, startProcess } from "../contenders.ts";
import { type Requests, requestFigures } from "../request-figures.ts";
import {
  barAgainstStock,
  type Figure,
  megabyte,
  type Scenario,
  type ScenarioContext,
} from "../scenario.ts";
import { median } from "../statistics.ts";
import { type BusyResult, fill, writeBusily } from "../writers.ts";

const walPollMs = 20;
/** A backlog of either is shipped in steps of less. */
const quietMs = 4_000;

interface Round extends BusyResult {
  readonly walBytesMax: number;
  /** One for each checkpoint that held writers off; of ours only, which tells. */
  readonly writeLockHeldMs: readonly number[];
  /** Of the contender, until all is stored. */
  readonly cpuSeconds: number;
  readonly requests: Requests;
}

export const busyWriter: Scenario = {
  name: "busy-writer",
  summary:
    "one small commit after the other, as fast as possible; rounds without, with ours, without, with stock",
  runsAt: "each-latency",
  async run(context) {
    const { ours, stock } = context.contenders;
    const without: Round[] = [];
    const withOurs: Round[] = [];
    const withStock: Round[] = [];
    for (let round = 1; round <= roundCount(context); round += 1) {
      context.say(`round ${round}`);
      without.push(await measure(context, `${round}-without-a`, undefined));
      withOurs.push(await measure(context, `${round}-ours`, ours));
      without.push(await measure(context, `${round}-without-b`, undefined));
      if (stock !== undefined) withStock.push(await measure(context, `${round}-stock`, stock));
    }

    const line = (name: string, unit: Figure["unit"], of: (round: Round) => number): Figure[] => [
      { name, unit, ours: median(withOurs.map(of)), stock: stock && median(withStock.map(of)) },
      {
        name: `${name}, × of without`,
        unit: "×",
        ours: median(withOurs.map(of)) / median(without.map(of)),
        stock: stock && median(withStock.map(of)) / median(without.map(of)),
      },
    ];
    const [p99, p99Ratio] = line("commit latency p99", "ms", (round) => round.p99Ms) as [
      Figure,
      Figure,
    ];
    const cpuPerMillion = (round: Round): number => (round.cpuSeconds * 1e6) / round.commits;
    const oursCpu = median(withOurs.map(cpuPerMillion));
    const stockCpu = stock && median(withStock.map(cpuPerMillion));
    const held = withOurs.flatMap((round) => round.writeLockHeldMs);
    const figures: Figure[] = [
      ...line("commits", "1/s", (round) => round.commitsPerSecond),
      ...line("commit latency p50", "ms", (round) => round.p50Ms),
      p99,
      {
        ...p99Ratio,
        bar: { text: "≤ 1.1 ×", isHeld: (p99Ratio.ours as number) <= 1.1 },
      },
      ...line("slowest commit", "ms", (round) => round.maxMs),
      {
        name: "largest WAL",
        unit: "MB",
        ours: median(withOurs.map((round) => round.walBytesMax)) / megabyte,
        stock: stock && median(withStock.map((round) => round.walBytesMax)) / megabyte,
        bar: barAgainstStock("≤ stock", ...walOf(withOurs, withStock), (a, b) => a <= b),
      },
      {
        name: "write lock held, longest",
        unit: "ms",
        ours: Math.max(0, ...held),
        stock: undefined,
      },
      {
        name: "write lock held, share of the time",
        unit: "%",
        ours:
          (100 * held.reduce((sum, ms) => sum + ms, 0)) / (withOurs.length * durationMs(context)),
        stock: undefined,
      },
      {
        name: "CPU of the contender, for a million commits",
        unit: "s",
        ours: oursCpu,
        stock: stockCpu,
        bar: barAgainstStock("≤ stock", oursCpu, stockCpu, (a, b) => a <= b),
      },
      {
        name: "CPU of the contender, until all is stored",
        unit: "s",
        ours: median(withOurs.map((round) => round.cpuSeconds)),
        stock: stock && median(withStock.map((round) => round.cpuSeconds)),
      },
    ];
    const last = [withOurs, withStock].map((rounds) => rounds.at(-1)?.requests);
    return [...figures, ...requestFigures("requests of a round", last[0], last[1])];
  },
};

function durationMs({ quick }: ScenarioContext): number {
  return quick ? 4_000 : 10_000;
}

/** There is a run for each distance of the store. */
function roundCount({ quick, store }: ScenarioContext): number {
  return quick || store.kind === "s3" ? 1 : 3;
}

function walOf(ours: readonly Round[], stock: readonly Round[]): [number, number | undefined] {
  const largest = (rounds: readonly Round[]): number =>
    median(rounds.map((round) => round.walBytesMax));
  return [largest(ours), stock.length === 0 ? undefined : largest(stock)];
}

async function measure(
  context: ScenarioContext,
  name: string,
  contender: Contender | undefined,
): Promise<Round> {
  const directory = join(context.directory, name);
  await mkdir(directory);
  const database = join(directory, "app.db");
  await fill({ database, bytes: 5 * megabyte, transactionBytes: megabyte, randomShare: 0.5 });
  if (contender === undefined) {
    const round = await write(context, database);
    return { ...round, writeLockHeldMs: [], cpuSeconds: 0, requests: undefined };
  }
  using place = await context.store.makePlace(name);
  const command = contender.replicateCommand(database, place.url);
  // The events that tell how long the lock was held; written to a pipe, as a log of stock is.
  using running = startProcess(
    contender.name === "ours" ? [...command, "--json", "--log-level", "debug"] : command,
    place.env,
  );
  using watch = await place.watch(running.ended);
  await watch.waitUntilQuiet(quietMs, running.ended);
  const requestsBefore = place.log?.requests.length;
  const cpuBefore = running.usage().cpuSeconds;
  const startMs = nowMs();
  const round = await write(context, database);
  const writeLockHeldMs = readLockTimes(running.stderr());
  await watch.waitUntilQuiet(quietMs, running.ended, startMs);
  const cpuSeconds = running.usage().cpuSeconds - cpuBefore;
  const requests = place.log?.requests.slice(requestsBefore);
  await running.stop();
  return { ...round, writeLockHeldMs, cpuSeconds, requests };
}

async function write(
  context: ScenarioContext,
  database: string,
): Promise<BusyResult & Pick<Round, "walBytesMax">> {
  let walBytesMax = 0;
  const timer = setInterval(() => {
    const stat = statSync(`${database}-wal`, { throwIfNoEntry: false });
    walBytesMax = Math.max(walBytesMax, stat?.size ?? 0);
  }, walPollMs);
  try {
    const result = await writeBusily({ database, durationMs: durationMs(context) });
    return { ...result, walBytesMax };
  } finally {
    clearInterval(timer);
  }
}

function readLockTimes(stderr: string): number[] {
  const times: number[] = [];
  for (const line of stderr.split("\n")) {
    if (!line.includes('"checkpointed"')) continue;
    const { event } = JSON.parse(line) as { event?: { writeLockHeldMs?: number } };
    if (event?.writeLockHeldMs !== undefined && event.writeLockHeldMs > 0)
      times.push(event.writeLockHeldMs);
  }
  return times;
}
