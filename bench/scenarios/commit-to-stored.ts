import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { createPrng, startWorkload, type WorkloadCommit } from "@vaultwarden-stream/testkit";
import Database from "better-sqlite3";
import { parseTxid, restore, type Txid } from "wal-replicator";
import { type Contender, startProcess } from "../contenders.ts";
import type { Place } from "../place.ts";
import { type Requests, requestFigures } from "../request-figures.ts";
import { isLevelZeroStored, txidOf } from "../s3-place.ts";
import type { ProxiedRequest } from "../s3-proxy.ts";
import { barAgainstStock, type Figure, type Scenario, type ScenarioContext } from "../scenario.ts";
import { quantile, sleepMs } from "../statistics.ts";

/** Both contenders see the same gaps. */
const seed = 1;
const gapMsMin = 300;
const gapMsMax = 1_700;
/** Longer than the two ticks that stock needs for a commit at worst. */
const quietMs = 4_000;

interface Measured {
  /** From each commit to the store, in the order of the commits. */
  readonly storedAfterMs: readonly number[];
  /** Of the requests that stored them, each from its last byte to its answer. 0 where nobody measures requests. */
  readonly putMs: readonly number[];
  /** The first less the second, for each commit. */
  readonly beyondPutMs: readonly number[];
  readonly cpuMsPerCommit: number;
  readonly requests: Requests;
}

export const commitToStored: Scenario = {
  name: "commit-to-stored",
  summary:
    "paced commits by another process: from the return of COMMIT to the level-0 file that holds it",
  runsAt: "each-latency",
  async run(context) {
    const { contenders, store } = context;
    const ours = await measure(context, contenders.ours);
    const stock = contenders.stock && (await measure(context, contenders.stock));
    const line = (name: string, share: number, of: (measured: Measured) => readonly number[]) => ({
      name: `${name}${share === 0.5 ? "p50" : "p99"}`,
      unit: "ms" as const,
      ours: quantile(of(ours), share),
      stock: stock && quantile(of(stock), share),
    });
    const p50 = line("", 0.5, (measured) => measured.storedAfterMs);
    const figures: Figure[] = [
      { ...p50, bar: barAgainstStock("≤ 0.1 × stock", p50.ours, p50.stock, (a, b) => a <= b / 10) },
      line("", 0.99, (measured) => measured.storedAfterMs),
    ];
    if (store.kind === "s3") {
      figures.push(line("the store's own PUT time, ", 0.5, (measured) => measured.putMs));
      for (const [share, barMs] of [
        [0.5, 25],
        [0.99, 100],
      ] as const) {
        const beyond = line("beyond that PUT time, ", share, (measured) => measured.beyondPutMs);
        figures.push({
          ...beyond,
          bar: { text: `≤ ${barMs} ms`, isHeld: beyond.ours <= barMs },
        });
      }
    }
    return [
      ...figures,
      {
        name: "CPU for a commit",
        unit: "ms",
        ours: ours.cpuMsPerCommit,
        stock: stock?.cpuMsPerCommit,
      },
      {
        name: "commits",
        unit: "",
        ours: ours.storedAfterMs.length,
        stock: stock?.storedAfterMs.length,
      },
      ...requestFigures("requests", ours.requests, stock?.requests),
    ];
  },
};

async function measure(context: ScenarioContext, contender: Contender): Promise<Measured> {
  const directory = join(context.directory, contender.name);
  await mkdir(directory);
  const database = join(directory, "app.db");
  using place = await context.store.makePlace(contender.name);
  const commitCount = context.quick ? 15 : 50;
  context.say(`${contender.name}: ${commitCount} commits`);
  const commits: WorkloadCommit[] = [];
  const committed = new EventTarget();
  const writer = await startWorkload({
    databasePath: database,
    seed,
    statements: { insert: 1 },
    commitsMax: 1,
    paused: true,
    onCommit: (commit) => {
      commits.push(commit);
      committed.dispatchEvent(new Event("commit"));
    },
  });
  try {
    using running = startProcess(contender.replicateCommand(database, place.url), place.env);
    using watch = await place.watch(running.ended);
    await watch.waitUntilQuiet(quietMs, running.ended);
    const requestsBefore = place.log?.requests.length;
    const cpuBefore = running.usage().cpuSeconds;
    const prng = createPrng(seed);
    while (commits.length < commitCount) {
      await sleepMs(prng.integer(gapMsMin, gapMsMax), running.ended);
      const commit = once(committed, "commit", { signal: running.ended });
      writer.resume();
      await commit;
    }
    await watch.waitUntilQuiet(quietMs, running.ended, commits.at(-1)?.atMs);
    const cpuSeconds = running.usage().cpuSeconds - cpuBefore;
    const requests = place.log?.requests.slice(requestsBefore);
    await running.stop();
    const target = join(directory, "restored.db");
    const states = await readStates(place, target, watch.appearedAtMs.keys());
    const putMsOf = toPutTimes(requests ?? []);
    const stored = commits.map(({ id, atMs }) => {
      const state = states.find((candidate) => candidate.lastCommitId >= id);
      if (state === undefined) throw new Error(`commit ${id} never reached ${place.url}`);
      const afterMs = (watch.appearedAtMs.get(state.txid) as number) - atMs;
      const putMs = place.log === undefined ? 0 : putMsOf.get(state.txid);
      if (putMs === undefined) throw new Error(`no request stored TXID ${state.txid}`);
      return { afterMs, putMs };
    });
    return {
      storedAfterMs: stored.map(({ afterMs }) => afterMs),
      putMs: stored.map(({ putMs }) => putMs),
      beyondPutMs: stored.map(({ afterMs, putMs }) => afterMs - putMs),
      cpuMsPerCommit: (cpuSeconds * 1_000) / commits.length,
      requests,
    };
  } finally {
    await writer.kill();
  }
}

/** By the TXID at which a file ends, of the requests that stored it. */
function toPutTimes(requests: readonly ProxiedRequest[]): Map<string, number> {
  return new Map(
    requests
      .filter(isLevelZeroStored)
      .map((request) => [txidOf(request), request.answeredAtMs - request.receivedAtMs]),
  );
}

interface State {
  /** 16 hex digits. */
  readonly txid: string;
  readonly lastCommitId: number;
}

/** The newest commit in each state of the replica, by restoring it: no guess which file holds which commit. */
async function readStates(place: Place, target: string, txids: Iterable<string>): Promise<State[]> {
  const states: State[] = [];
  for (const txid of [...txids].sort()) {
    await restore({
      replica: place.location,
      target,
      txid: parseTxid(txid) as Txid,
      overwrite: true,
    });
    const restored = new Database(target, { readonly: true });
    const lastCommitId = restored
      .prepare("select coalesce(max(id), 0) from workload_log")
      .pluck()
      .get() as number;
    restored.close();
    states.push({ txid, lastCommitId });
  }
  return states;
}
