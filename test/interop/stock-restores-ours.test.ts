import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createPrng, describePeer, seedFromEnvironment } from "@vaultwarden-stream/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseTxid, restore, type Txid } from "wal-replicator";
import { hashFile, StockLitestream, type StockTarget, txidsOfLevel } from "./stock-litestream.ts";
import { type RememberedState, StreamedDatabase } from "./streamed-database.ts";

// Goal: if ours is gone, stock restores everything that we stored. Method: each timeline's directory by itself, at its end and at
// every TXID, byte by byte against our own restore, and against what SQLite showed where the stream was flushed.

const pageSizes = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536] as const;
const roundCount = 5;
const roundMs = 150;

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "interop-"));
});
afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

describePeer(describe, "litestream", "stock Litestream", (path) => {
  const stock = new StockLitestream(path);
  const first = seedFromEnvironment();

  /** @returns how many states were compared. */
  async function expectEqualRestores(
    replica: string,
    timeline: string,
    remembered: readonly RememberedState[],
  ): Promise<number> {
    const directory = join(replica, timeline);
    const [base = ""] = await txidsOfLevel(directory, 9);
    const all = [base, ...(await txidsOfLevel(directory, 0))].filter((txid) => txid !== "");
    // What a branch stored before its base restores over its parent, which only ours knows.
    const txids = all.filter((txid) => txid >= base);
    const targets: StockTarget[] = [{}, ...txids.map((txid) => ({ txid }))];
    for (const target of targets) {
      const stocks = await stock.restore(directory, join(root, "stock.db"), target);
      const ours = await restoreOurs(replica, timeline, target);
      expect(ours, `${timeline} at ${target.txid ?? "its end"}`).toEqual(stocks);
    }
    // The last one was not asked for by TXID only: it is the end as well.
    for (const state of remembered.filter((candidate) => candidate.timeline === timeline)) {
      expect(all).toContain(state.txid);
      const restored = txids.includes(state.txid)
        ? await stock.restore(directory, join(root, "stock.db"), { txid: state.txid })
        : await restoreOurs(replica, timeline, { txid: state.txid });
      expect(restored, `what SQLite showed at ${state.txid}`).toBe(state.sha256);
    }
    return targets.length;
  }

  async function restoreOurs(
    replica: string,
    timeline: string,
    { txid }: StockTarget,
  ): Promise<string> {
    const target = join(root, "ours.db");
    const at = txid === undefined ? {} : { txid: parseTxid(txid) as Txid };
    await restore({ replica, timeline, target, overwrite: true, ...at });
    return hashFile(target);
  }

  for (const [index, pageSize] of pageSizes.entries()) {
    for (const seed of [first + 2 * index, first + 2 * index + 1].map((value) => value >>> 0)) {
      it(`restores every TXID as we do, with pages of ${pageSize} bytes and seed ${seed}`, async () => {
        const directory = join(root, `${seed}`);
        const replica = join(directory, "replica");
        await mkdir(directory);
        await using streamed = new StreamedDatabase({ directory, replica, seed, pageSize });
        await streamed.start();
        for (let round = 0; round < roundCount; round += 1)
          await streamed.writeAndRemember(roundMs);
        await streamed.stopEngine();
        const { timeline } = streamed.remembered[0] as RememberedState;
        const count = await expectEqualRestores(replica, timeline, streamed.remembered);
        expect(count).toBeGreaterThan(roundCount);
      });
    }
  }

  it("restores both timelines where a copied volume branched off", async () => {
    const seed = (first + 100) >>> 0;
    const directory = join(root, `${seed}`);
    const replica = join(root, `${seed}-replica`);
    const pageSize = createPrng(seed).pick(pageSizes);
    await mkdir(directory);
    await using original = new StreamedDatabase({ directory, replica, seed, pageSize });
    await original.start();
    for (let round = 0; round < roundCount; round += 1) await original.writeAndRemember(roundMs);
    await original.kill();
    await using copy = await original.copyVolume(join(root, `${seed}-copy`));
    await copy.start();
    for (let round = 0; round < roundCount; round += 1) await copy.writeAndRemember(roundMs);
    await copy.stopEngine();

    const { timeline } = original.remembered[0] as RememberedState;
    const branch = copy.remembered.at(-1) as RememberedState;
    expect(branch.timeline).not.toBe(timeline);
    expect(await txidsOfLevel(join(replica, branch.timeline), 9)).toHaveLength(1);
    await expectEqualRestores(replica, timeline, original.remembered);
    await expectEqualRestores(replica, branch.timeline, copy.remembered);
  });
});
