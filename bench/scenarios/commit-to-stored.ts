import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { createPrng, startWorkload, type WorkloadCommit } from "@vaultwarden-stream/testkit";
import Database from "better-sqlite3";
import { parseTxid, restore, type Txid } from "wal-replicator";
import { type Contender, startProcess } from "../contenders.ts";
import { barAgainstStock, type Figure, type Scenario, type ScenarioContext } from "../scenario.ts";
import { quantile, sleepMs } from "../statistics.ts";
import { StoreWatch } from "../store-watch.ts";

/** Both contenders see the same gaps. */
const seed = 1;
const gapMsMin = 300;
const gapMsMax = 1_700;
/** Longer than the two ticks that stock needs for a commit at worst. */
const quietMs = 4_000;

export const commitToStored: Scenario = {
  name: "commit-to-stored",
  summary:
    "paced commits by another process: from the return of COMMIT to the level-0 file that holds it",
  async run(context) {
    const { ours, stock } = context.contenders;
    const oursMs = await measure(context, ours);
    const stockMs = stock === undefined ? undefined : await measure(context, stock);
    const [oursP50, stockP50] = [quantile(oursMs, 0.5), stockMs && quantile(stockMs, 0.5)];
    const figures: Figure[] = [
      {
        name: "p50",
        unit: "ms",
        ours: oursP50,
        stock: stockP50,
        bar: barAgainstStock("≤ 0.1 × stock", oursP50, stockP50, (a, b) => a <= b / 10),
      },
      ...[0.99, 1].map(
        (share): Figure => ({
          name: share === 1 ? "slowest" : "p99",
          unit: "ms",
          ours: quantile(oursMs, share),
          stock: stockMs && quantile(stockMs, share),
        }),
      ),
      { name: "commits", unit: "", ours: oursMs.length, stock: stockMs?.length },
    ];
    return figures;
  },
};

/** @returns milliseconds from each commit to the store, in the order of the commits. */
async function measure(context: ScenarioContext, contender: Contender): Promise<number[]> {
  const directory = join(context.directory, contender.name);
  await mkdir(directory);
  const database = join(directory, "app.db");
  const store = join(directory, "store");
  const commitCount = context.quick ? 15 : 60;
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
    using running = startProcess(contender.replicateCommand(database, store));
    using watch = await StoreWatch.open(store, running.ended);
    await watch.waitUntilQuiet(quietMs, running.ended);
    const prng = createPrng(seed);
    while (commits.length < commitCount) {
      await sleepMs(prng.integer(gapMsMin, gapMsMax), running.ended);
      const commit = once(committed, "commit", { signal: running.ended });
      writer.resume();
      await commit;
    }
    await watch.waitUntilQuiet(quietMs, running.ended);
    const states = await readStates(
      store,
      join(directory, "restored.db"),
      watch.appearedAtMs.keys(),
    );
    await running.stop();
    return commits.map(({ id, atMs }) => {
      const state = states.find((candidate) => candidate.lastCommitId >= id);
      if (state === undefined) throw new Error(`commit ${id} never reached ${store}`);
      return (watch.appearedAtMs.get(state.txid) as number) - atMs;
    });
  } finally {
    await writer.kill();
  }
}

interface State {
  /** 16 hex digits. */
  readonly txid: string;
  readonly lastCommitId: number;
}

/** The newest commit in each state of the replica, by restoring it: no guess which file holds which commit. */
async function readStates(
  store: string,
  target: string,
  txids: Iterable<string>,
): Promise<State[]> {
  const states: State[] = [];
  for (const txid of [...txids].sort()) {
    await restore({ replica: store, target, txid: parseTxid(txid) as Txid, overwrite: true });
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
