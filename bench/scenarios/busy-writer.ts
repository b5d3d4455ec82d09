import { statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Contender, startProcess } from "../contenders.ts";
import {
  barAgainstStock,
  type Figure,
  megabyte,
  type Scenario,
  type ScenarioContext,
} from "../scenario.ts";
import { median } from "../statistics.ts";
import { StoreWatch } from "../store-watch.ts";
import { type BusyResult, fill, writeBusily } from "../writers.ts";

const walPollMs = 20;
const quietMs = 1_500;

interface Round extends BusyResult {
  readonly walBytesMax: number;
  /** One for each checkpoint that held writers off; of ours only, which tells. */
  readonly writeLockHeldMs: readonly number[];
}

export const busyWriter: Scenario = {
  name: "busy-writer",
  summary:
    "one small commit after the other, as fast as possible; rounds without, with ours, without, with stock",
  async run(context) {
    const { ours, stock } = context.contenders;
    const without: Round[] = [];
    const withOurs: Round[] = [];
    const withStock: Round[] = [];
    for (let round = 1; round <= (context.quick ? 1 : 3); round += 1) {
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
    ];
    return figures;
  },
};

function durationMs(context: ScenarioContext): number {
  return context.quick ? 4_000 : 10_000;
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
  const store = join(directory, "store");
  await fill({ database, bytes: 5 * megabyte, transactionBytes: megabyte, randomShare: 0.5 });
  if (contender === undefined) return write(context, database, () => []);
  const command = contender.replicateCommand(database, store);
  // The events that tell how long the lock was held; written to a pipe, as a log of stock is.
  using running = startProcess(
    contender.name === "ours" ? [...command, "--json", "--log-level", "debug"] : command,
  );
  using watch = await StoreWatch.open(store, running.ended);
  await watch.waitUntilQuiet(quietMs, running.ended);
  const round = await write(context, database, () => readLockTimes(running.stderr()));
  await running.stop();
  return round;
}

async function write(
  context: ScenarioContext,
  database: string,
  lockTimes: () => number[],
): Promise<Round> {
  let walBytesMax = 0;
  const timer = setInterval(() => {
    const stat = statSync(`${database}-wal`, { throwIfNoEntry: false });
    walBytesMax = Math.max(walBytesMax, stat?.size ?? 0);
  }, walPollMs);
  try {
    const result = await writeBusily({ database, durationMs: durationMs(context) });
    return { ...result, walBytesMax, writeLockHeldMs: lockTimes() };
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
