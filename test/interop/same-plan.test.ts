import { copyFile, mkdir, mkdtemp, readFile, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createPrng, describePeer, seedFromEnvironment } from "@vaultwarden-stream/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ComparedPlans, toHexTxid } from "./compared-plans.ts";
import { StockLitestream } from "./stock-litestream.ts";

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

describePeer(describe, "litestream", "the restore plan", (path) => {
  const seed = seedFromEnvironment();

  async function compared(name: string): Promise<ComparedPlans> {
    const directory = join(root, name);
    await mkdir(directory);
    const stock = new StockLitestream(path);
    return new ComparedPlans({ stock, directory, whole: join(root, "whole"), timesMs });
  }

  it("is stock's, from random listings, to the end and to every TXID", async () => {
    const prng = createPrng(seed);
    const plans = await compared("txids");
    for (let index = 0; index < listingCount; index += 1) {
      const txids = Array.from({ length: 3 }, () => toHexTxid(prng.integer(1, txidMax)));
      await plans.compareToTxids(prng, seed, txids);
    }
    // Both ends of the range were seen.
    expect(plans.counts.planned).toBeGreaterThan(10);
    expect(plans.counts.refused).toBeGreaterThan(10);
  });

  it("is stock's to a time too, but a hole is never passed over in silence, and the newest state stays the newest", async () => {
    const prng = createPrng(seed);
    const plans = await compared("times");
    for (let index = 0; index < 2 * listingCount; index += 1) await plans.compareToTime(prng, seed);
    expect(plans.counts.planned).toBeGreaterThan(5);
    expect(plans.counts.holes).toBeGreaterThan(0);
  });
});
