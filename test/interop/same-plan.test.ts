import { copyFile, link, mkdir, mkdtemp, readdir, readFile, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  createPrng,
  describePeer,
  type Prng,
  seedFromEnvironment,
} from "@vaultwarden-stream/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  parseTxid,
  ReplicaError,
  type RestoreReplicaOptions,
  restore,
  type Txid,
} from "wal-replicator";
import { StockLitestream, type StockTarget } from "./stock-litestream.ts";

// Goal: from the same listing, both choose the same files. Method: a replica that stock wrote, with all levels, from which random
// files are taken away, so that both have to find another way, or none.

const fixture = fileURLToPath(new URL("../fixtures/litestream/file-4096/", import.meta.url));
const listingCount = 40;
const txidMax = 0x16;

let root: string;
/** `ltx/<level>/<name>` and when stock wrote it. */
const timesMs = new Map<string, number>();

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "interop-plan-"));
  const metadata = JSON.parse(await readFile(join(fixture, "metadata.json"), "utf8")) as Record<
    string,
    { readonly mtimeMs: number }
  >;
  for (const [key, { mtimeMs }] of Object.entries(metadata)) {
    // Quarters of a second are exact in any file system and in a double: a time asked for can equal a file's.
    const timeMs = Math.round(mtimeMs / 250) * 250;
    timesMs.set(key, timeMs);
    const path = join(root, "whole", key);
    await mkdir(join(path, ".."), { recursive: true });
    await copyFile(join(fixture, "objects", key), path);
    await utimes(path, timeMs / 1000, timeMs / 1000);
  }
});
afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

type Outcome = readonly string[] | "refused";

describePeer(describe, "litestream", "the restore plan", (path) => {
  const stock = new StockLitestream(path);
  const seed = seedFromEnvironment();

  async function planOfStock(replica: string, target: StockTarget): Promise<Outcome> {
    const plan = await stock.plan(replica, join(root, "stock.db"), target);
    return "error" in plan ? "refused" : plan;
  }

  /** By restoring: a plan that does not restore would be none. */
  async function planOfOurs(replica: string, { txid, timestamp }: StockTarget): Promise<Outcome> {
    const options: RestoreReplicaOptions = {
      replica,
      target: join(root, "ours.db"),
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

  it("is stock's, from random listings, to the end and to every TXID", async () => {
    const prng = createPrng(seed);
    let planned = 0;
    let refused = 0;
    for (let index = 0; index < listingCount; index += 1) {
      const replica = join(root, `${index}`);
      const kept = await thinOut(prng, replica);
      const targets: StockTarget[] = [
        {},
        ...Array.from({ length: 3 }, () => ({ txid: toHex(prng.integer(1, txidMax)) })),
      ];
      for (const target of targets) {
        const [ours, stocks] = [
          await planOfOurs(replica, target),
          await planOfStock(replica, target),
        ];
        const what = `SEED=${seed}, listing ${index}: ${kept.join(" ")}, at ${target.txid ?? "the end"}`;
        expect(ours, what).toEqual(stocks);
        if (stocks === "refused") refused += 1;
        else planned += 1;
      }
    }
    // Both ends of the range were seen.
    expect(planned).toBeGreaterThan(10);
    expect(refused).toBeGreaterThan(10);
  });

  it("is stock's to a time too, but a hole is never passed over in silence, and the newest state stays the newest", async () => {
    const prng = createPrng(seed);
    const times = [...timesMs.values()].sort((a, b) => a - b);
    let planned = 0;
    let holes = 0;
    for (let index = 0; index < 2 * listingCount; index += 1) {
      const replica = join(root, `time-${index}`);
      const kept = await thinOut(prng, replica);
      const timestamp = new Date(prng.pick(times) + prng.pick([0, 1, 500]));
      const [ours, stocks] = [
        await planOfOurs(replica, { timestamp }),
        await planOfStock(replica, { timestamp }),
      ];
      const what = `SEED=${seed}, listing ${index}: ${kept.join(" ")}, before ${timestamp.toISOString()}`;
      const newestMs = Math.max(...kept.map((key) => timesMs.get(key) as number));
      if (timestamp.getTime() > newestMs && stocks === "refused") {
        // Stock knows nothing of times behind its newest file; to us nothing has changed since.
        expect(ours, what).toEqual(await planOfOurs(replica, {}));
        continue;
      }
      const isHole = stocks !== "refused" && endsAtHole(kept, stocks, timestamp);
      expect(ours, what).toEqual(isHole ? "refused" : stocks);
      if (isHole) holes += 1;
      if (ours !== "refused") planned += 1;
    }
    expect(planned).toBeGreaterThan(5);
    expect(holes).toBeGreaterThan(0);
  });
});

/** Whether a plan ends where a TXID is in no file that is left, and files of before that time go on behind it. */
function endsAtHole(kept: readonly string[], plan: readonly string[], before: Date): boolean {
  const next = hexAfter(endOf(plan.at(-1) as string));
  const increments = kept.filter((key) => !key.startsWith("ltx/9/"));
  const goesOn = increments.some(
    (key) => (timesMs.get(key) as number) < before.getTime() && startOf(key) > next,
  );
  return goesOn && !increments.some((key) => startOf(key) <= next && endOf(key) >= next);
}

/** Makes a replica of a random part of the whole one. @returns the keys that it has. */
async function thinOut(prng: Prng, replica: string): Promise<string[]> {
  const share = prng.pick([0.2, 0.5, 0.8, 0.95]);
  const keys = [...timesMs.keys()].filter((key) => {
    // Snapshots make everything before them easy: often there are none.
    if (key.startsWith("ltx/9/")) return prng.chance(0.3);
    return prng.chance(share);
  });
  await mkdir(join(replica, "ltx"), { recursive: true });
  for (const key of keys) {
    await mkdir(join(replica, key, ".."), { recursive: true });
    await link(join(root, "whole", key), join(replica, key));
  }
  expect(await readdir(replica)).toEqual(["ltx"]);
  return keys;
}

function toHex(txid: number): string {
  return txid.toString(16).padStart(16, "0");
}

function hexAfter(txid: string): string {
  return toHex(Number.parseInt(txid, 16) + 1);
}

function startOf(key: string): string {
  return key.slice(-37, -21);
}

function endOf(key: string): string {
  return key.slice(-20, -4);
}
