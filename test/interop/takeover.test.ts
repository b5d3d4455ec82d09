import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createPrng,
  describePeer,
  readDatabaseImage,
  seedFromEnvironment,
} from "@vaultwarden-stream/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { restore } from "wal-replicator";
import { hashFile, StockLitestream, stockEnvironment, txidsOfLevel } from "./stock-litestream.ts";
import { type RememberedState, StreamedDatabase } from "./streamed-database.ts";

// Goal: whoever leaves us goes on with stock in the same directory. Method: a timeline of ours, released; then stock's own
// `replicate` on it, with nothing of ours removed, while the application writes.

const roundMs = 300;
/** Stock's tick is a second, and its second tick finds what the first one missed. */
const stockTicksMs = 3_000;

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "interop-takeover-"));
});
afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

describePeer(describe, "litestream", "stock goes on in a timeline of ours", (path) => {
  const stock = new StockLitestream(path);
  const seed = seedFromEnvironment();

  it("with a full copy, and what it stores then restores equally with both", async () => {
    const pageSize = createPrng(seed).pick([512, 4096, 65536] as const);
    const replica = join(root, "replica");
    await using streamed = new StreamedDatabase({ directory: root, replica, seed, pageSize });
    await streamed.start();
    const before = await streamed.writeAndRemember(roundMs);
    await streamed.stopEngine();
    const { timeline } = before;
    const directory = join(replica, timeline);
    const lastOfOurs = (await txidsOfLevel(directory, 0)).at(-1) as string;
    // Between the two, as it happens at a real takeover.
    await streamed.write(roundMs);

    const log = await runStock(path, streamed, directory);

    expect(log).toMatch(new RegExp(`msg=sync .*txid=${hexAfter(lastOfOurs)} .*snap=true`));
    expect(log).not.toMatch(/level=ERROR/);
    const txids = await txidsOfLevel(directory, 0);
    expect(txids.indexOf(lastOfOurs), "stock stored something behind ours").toBeLessThan(
      txids.length - 1,
    );
    expect(txids).toContain(lastOfOurs);
    const stocks = await stock.restore(directory, join(root, "stock.db"));
    const target = join(root, "ours.db");
    await restore({ replica, timeline, target });
    expect(await hashFile(target)).toBe(stocks);
    const { sha256 } = await readDatabaseImage(streamed.path);
    expect(stocks, "what SQLite shows at the end").toBe(sha256);
    // What was there before is still there.
    await expectRestores(before, directory);
  });

  async function expectRestores(state: RememberedState, directory: string): Promise<void> {
    const restored = await stock.restore(directory, join(root, "stock.db"), { txid: state.txid });
    expect(restored, `what SQLite showed at ${state.txid}`).toBe(state.sha256);
  }
});

/** Streams with stock while the application writes. @returns its log, after it has ended cleanly. */
async function runStock(
  path: string,
  streamed: StreamedDatabase,
  directory: string,
): Promise<string> {
  const args = ["replicate", "-log-level", "debug", streamed.path, `file://${directory}`];
  const child = spawn(path, args, { env: stockEnvironment(), stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      log += chunk.toString();
    });
  }
  const closed = once(child, "close");
  try {
    for (let round = 0; round < 3; round += 1) {
      await sleepMs(stockTicksMs);
      await streamed.write(roundMs);
    }
    // Its last sync happens at its end, after the last commit.
    child.kill("SIGTERM");
    const [code] = (await closed) as [number | null];
    expect(code, log).toBe(0);
    return log;
  } finally {
    child.kill("SIGKILL");
  }
}

function hexAfter(txid: string): string {
  return (BigInt(`0x${txid}`) + 1n).toString(16).padStart(16, "0");
}

function sleepMs(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
