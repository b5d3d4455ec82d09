import { createHash } from "node:crypto";
import { createReadStream, statSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findContenders } from "@vaultwarden-stream/bench/contenders";
import { runMeasured } from "@vaultwarden-stream/bench/measured-run";
import { readProcessUsage } from "@vaultwarden-stream/bench/process-usage";
import { fill } from "@vaultwarden-stream/bench/writers";
import { readDatabaseImage } from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Engine, startEngine } from "../support/engine.ts";

// Goal: neither the size of the database nor that of a transaction has a part in memory, and the lock page at 1 GiB in the result.
// Method: real gigabytes by a writer of its own process, the engine and the restore command each in theirs, their VmHWM.

const megabyte = 1_000_000;
/** The goal, and from sources too, where Node needs about 30 MB more to erase the types (measured: 140). */
const memoryBytesMax = 200 * megabyte;
/** Of the byte that SQLite locks; the page that holds it has no content. */
const pendingByte = 0x4000_0000;
const mixed = { randomShare: 0.5 };

let directory: string;
let database: string;
let replica: string;
let engine: Engine | undefined;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "large-"));
  database = join(directory, "app.db");
  replica = join(directory, "replica");
});
afterEach(async () => {
  await engine?.kill();
  engine = undefined;
  await rm(directory, { recursive: true, force: true });
});

/** One transaction. */
function write(bytes: number, pageSize = 4096): Promise<void> {
  return fill({ ...mixed, database, bytes, transactionBytes: bytes, pageSize });
}

/** Ends the stream, restores with the command, and holds the result and both peaks of memory against what they should be. */
async function expectRestored(running: Engine): Promise<void> {
  await running.flush();
  const { sha256 } = await readDatabaseImage(database);
  const streaming = readProcessUsage(running.pid);
  const { released } = await running.stop(false);
  expect(released).toBe(true);

  const target = join(directory, "restored.db");
  const restoring = await runMeasured(findContenders().ours.restoreCommand(replica, target));
  expect(await hashFile(target)).toBe(sha256);
  const peaks = { streaming: streaming?.peakBytes, restoring: restoring.peakBytes };
  process.stderr.write(`peak memory in MB: ${JSON.stringify(peaks, toMegabytes)}\n`);
  expect(peaks.streaming).toBeGreaterThan(0);
  expect(peaks.streaming).toBeLessThan(memoryBytesMax);
  expect(peaks.restoring).toBeLessThan(memoryBytesMax);
}

describe("a database over 1 GiB", () => {
  it("that grows over the lock page while it is streamed restores to what SQLite showed, in constant memory", async () => {
    await write(1_000 * megabyte);
    expect(statSync(database).size).toBeLessThan(pendingByte);
    engine = await startEngine({ database, replica });
    await engine.flush();
    await write(80 * megabyte);
    for (let increment = 0; increment < 3; increment += 1) {
      await engine.flush();
      await write(megabyte);
    }
    await expectRestored(engine);
    expect(statSync(join(directory, "restored.db")).size).toBeGreaterThan(pendingByte + megabyte);
  });

  it("with pages of 64 KiB, over the lock page before it is streamed, does too", async () => {
    await write(1_000 * megabyte, 65_536);
    expect(statSync(database).size).toBeGreaterThan(pendingByte + megabyte);
    engine = await startEngine({ database, replica });
    for (let increment = 0; increment < 3; increment += 1) {
      await engine.flush();
      await write(megabyte);
    }
    await expectRestored(engine);
  });
});

it("a transaction of 500 MB while it is streamed is shipped in constant memory", async () => {
  await write(megabyte);
  engine = await startEngine({ database, replica });
  await engine.flush();
  await write(500 * megabyte);
  await expectRestored(engine);
});

async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest("hex");
}

function toMegabytes(_key: string, value: unknown): unknown {
  return typeof value === "number" ? Math.round(value / megabyte) : value;
}
