import { link, mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Prng } from "@vaultwarden-stream/testkit";
import { expect } from "vitest";
import {
  parseTxid,
  ReplicaError,
  type RestoreReplicaOptions,
  restore,
  type Txid,
} from "wal-replicator";
import type { StockLitestream, StockTarget } from "./stock-litestream.ts";

export interface ComparedReplica {
  readonly stock: StockLitestream;
  /** Everything that is made lies in it. */
  readonly directory: string;
  /** A replica that stock can read by itself. */
  readonly whole: string;
  /** `ltx/<level>/<name>` and the time of each of its files; quarters of a second are exact everywhere, so that a time asked for can equal a file's. */
  readonly timesMs: ReadonlyMap<string, number>;
}

export interface ComparedCounts {
  planned: number;
  refused: number;
  /** Stock went to a hole without a word, where we refuse. */
  holes: number;
}

type Outcome = readonly string[] | "refused";

/**
 * Compares our restore plan with stock's for listings from which random files are taken away, so that both have to find another way, or
 * none. A plan of ours is what a restore has taken: one that does not restore would be none.
 */
export class ComparedPlans {
  readonly #replica: ComparedReplica;
  readonly counts: ComparedCounts = { planned: 0, refused: 0, holes: 0 };
  #listingCount = 0;

  constructor(replica: ComparedReplica) {
    this.#replica = replica;
  }

  /** One random listing: to its end, and to these TXIDs. */
  async compareToTxids(prng: Prng, seed: number, txids: readonly string[]): Promise<void> {
    const { path, kept } = await this.#thinOut(prng);
    for (const target of [{}, ...txids.map((txid) => ({ txid }))] as StockTarget[]) {
      const [ours, stocks] = [await this.#ours(path, target), await this.#stocks(path, target)];
      const what = `SEED=${seed}: ${kept.join(" ")}, at ${target.txid ?? "the end"}`;
      expect(ours, what).toEqual(stocks);
      this.#count(ours);
    }
  }

  /** One random listing, to a time at or near one of a file: a hole is never passed over in silence, and the newest state stays the newest. */
  async compareToTime(prng: Prng, seed: number): Promise<void> {
    const { timesMs } = this.#replica;
    const { path, kept } = await this.#thinOut(prng);
    const times = [...timesMs.values()].sort((a, b) => a - b);
    const timestamp = new Date(prng.pick(times) + prng.pick([0, 1, 500]));
    const target = { timestamp };
    const [ours, stocks] = [await this.#ours(path, target), await this.#stocks(path, target)];
    const what = `SEED=${seed}: ${kept.join(" ")}, before ${timestamp.toISOString()}`;
    const newestMs = Math.max(...kept.map((key) => timesMs.get(key) as number));
    if (timestamp.getTime() > newestMs && stocks === "refused") {
      // Stock knows nothing of times behind its newest file; to us nothing has changed since.
      expect(ours, what).toEqual(await this.#ours(path, {}));
      return;
    }
    const isHole = stocks !== "refused" && endsAtHole(timesMs, kept, stocks, timestamp);
    expect(ours, what).toEqual(isHole ? "refused" : stocks);
    if (isHole) this.counts.holes += 1;
    this.#count(ours);
  }

  #count(outcome: Outcome): void {
    if (outcome === "refused") this.counts.refused += 1;
    else this.counts.planned += 1;
  }

  async #stocks(path: string, target: StockTarget): Promise<Outcome> {
    const { stock, directory } = this.#replica;
    const plan = await stock.plan(path, join(directory, "stock.db"), target);
    return "error" in plan ? "refused" : plan;
  }

  async #ours(path: string, { txid, timestamp }: StockTarget): Promise<Outcome> {
    const options: RestoreReplicaOptions = {
      replica: path,
      target: join(this.#replica.directory, "ours.db"),
      overwrite: true,
      ...(txid === undefined ? {} : { txid: parseTxid(txid) as Txid }),
      ...(timestamp === undefined ? {} : { before: timestamp }),
    };
    try {
      const { files } = await restore(options);
      return files.map(({ key }) => key.replace(/^ltx\//, ""));
    } catch (error) {
      if (!(error instanceof ReplicaError)) throw error;
      return "refused";
    }
  }

  /** Makes a replica of a random part of the whole one. */
  async #thinOut(prng: Prng): Promise<{ readonly path: string; readonly kept: string[] }> {
    const { directory, whole, timesMs } = this.#replica;
    this.#listingCount += 1;
    const path = join(directory, `thinned-${this.#listingCount}`);
    const share = prng.pick([0.2, 0.5, 0.8, 0.95]);
    const kept = [...timesMs.keys()].filter((key) => {
      // Snapshots make everything before them easy: often there are none.
      if (key.startsWith("ltx/9/")) return prng.chance(0.3);
      return prng.chance(share);
    });
    await mkdir(join(path, "ltx"), { recursive: true });
    for (const key of kept) {
      await mkdir(join(path, key, ".."), { recursive: true });
      await link(join(whole, key), join(path, key));
    }
    return { path, kept };
  }
}

/** Whether a plan ends where a TXID is in no file that is left, and files of before that time go on behind it. */
function endsAtHole(
  timesMs: ReadonlyMap<string, number>,
  kept: readonly string[],
  plan: readonly string[],
  before: Date,
): boolean {
  const next = toHexTxid(Number.parseInt(endOf(plan.at(-1) as string), 16) + 1);
  const increments = kept.filter((key) => !key.startsWith("ltx/9/"));
  const goesOn = increments.some(
    (key) => (timesMs.get(key) as number) < before.getTime() && startOf(key) > next,
  );
  return goesOn && !increments.some((key) => startOf(key) <= next && endOf(key) >= next);
}

/** 16 hex digits. */
export function toHexTxid(txid: number): string {
  return txid.toString(16).padStart(16, "0");
}

function startOf(key: string): string {
  return key.slice(-37, -21);
}

function endOf(key: string): string {
  return key.slice(-20, -4);
}
