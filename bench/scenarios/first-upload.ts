import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Contender, startProcess } from "../contenders.ts";
import { type Requests, requestFigures } from "../request-figures.ts";
import { type Figure, megabyte, type Scenario, type ScenarioContext } from "../scenario.ts";
import { sleepMs } from "../statistics.ts";
import { fill } from "../writers.ts";

/** Holds a :00 or :30 of the wall clock, at which stock makes level 1, and is over before it deletes anything. */
const windowMs = 45_000;
const barRatio = 1.02;

export const firstUpload: Scenario = {
  name: "first-upload",
  summary:
    "a database that compresses little, streamed for the first time: bytes stored in 45 s, or sent to S3",
  runsAt: "farthest",
  async run(context) {
    const { ours, stock } = context.contenders;
    // No time is measured: they may run side by side.
    const [oursBytes, stockBytes] = await Promise.all([
      measure(context, ours),
      stock === undefined ? undefined : measure(context, stock),
    ]);
    const oursRatio = oursBytes.all / oursBytes.wholeDatabase;
    const figures: Figure[] = [
      {
        name: "all objects",
        unit: "MB",
        ours: oursBytes.all / megabyte,
        stock: stockBytes && stockBytes.all / megabyte,
      },
      {
        name: "one level-0 file of the whole database",
        unit: "MB",
        ours: oursBytes.wholeDatabase / megabyte,
        stock: stockBytes && stockBytes.wholeDatabase / megabyte,
      },
      {
        name: "all objects / that file",
        unit: "×",
        ours: oursRatio,
        stock: stockBytes && stockBytes.all / stockBytes.wholeDatabase,
        bar: { text: `≤ ${barRatio} ×`, isHeld: oursRatio <= barRatio },
      },
      ...requestFigures("requests", oursBytes.requests, stockBytes?.requests),
    ];
    return figures;
  },
};

async function measure(
  context: ScenarioContext,
  contender: Contender,
): Promise<{
  readonly all: number;
  readonly wholeDatabase: number;
  readonly requests: Requests;
}> {
  const directory = join(context.directory, contender.name);
  await mkdir(directory);
  const database = join(directory, "app.db");
  using place = await context.store.makePlace(contender.name);
  const bytes = (context.quick ? 50 : 200) * megabyte;
  await fill({ database, bytes, transactionBytes: 50 * megabyte, randomShare: 0.95 });
  context.say(`${contender.name}: ${windowMs / 1000} s with a database of ${bytes / megabyte} MB`);
  using running = startProcess(contender.replicateCommand(database, place.url), place.env);
  await sleepMs(windowMs, running.ended);
  const measured = {
    all: place.storedBytes(),
    wholeDatabase: Math.max(...place.levelZeroSizes()),
    requests: place.log?.requests.slice(),
  };
  await running.stop();
  return measured;
}
