import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import type { SqliteConnection } from "../sqlite/connection.ts";
import { type BaseDeps, storeBase } from "./base.ts";
import type { Capture } from "./capture.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "base-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const away = Object.assign(new Error("away"), { code: "UNREACHABLE" });

/** A base of a few bytes, built and stored in a world whose steps are noted in order. */
function fixture() {
  const log: string[] = [];
  const pauses: number[] = [];
  const closing = new AbortController();
  const world = {
    pass: async (): Promise<void> => void log.push("pass"),
    stored: async (): Promise<void> => void log.push("stored"),
    write: async (begin: () => Promise<(chunk: Uint8Array) => Promise<void>>): Promise<void> => {
      const write = await begin();
      await write(Buffer.from("ba"));
      await write(Buffer.from("se"));
    },
    put: async (bytes: string): Promise<void> => void log.push(`put ${bytes}`),
    onPause: (): void => {},
    mergeCount: 0,
  };
  const deps: BaseDeps = {
    capture: {
      writeBase: async (_: unknown, begin: () => Promise<(chunk: Uint8Array) => Promise<void>>) => {
        log.push("write");
        await world.write(begin);
        return { txid: toTxid(5), rollingChecksum: "8000000000000005" };
      },
    } as unknown as Capture,
    reader: {
      beginRead: () => log.push("begin"),
      endTransaction: () => log.push("end"),
    } as unknown as SqliteConnection,
    pass: () => world.pass(),
    storedSoFar: () => world.stored(),
    mergeCount: () => world.mergeCount,
    put: async ({ path, size, name }) => {
      const bytes = readFileSync(path, "utf8");
      expect(bytes).toHaveLength(size);
      expect(name).toEqual({ minTxid: 1n, maxTxid: 5n, rollingChecksum: "8000000000000005" });
      await world.put(bytes);
      return { key: "key" };
    },
    directory,
    sleep: async (ms) => {
      pauses.push(ms);
      world.onPause();
    },
    onStored: (_, key) => log.push(`onStored ${key}`),
    onFailing: (error) => log.push(`failing ${(error as Error).message}`),
    isFatal: (error) => (error as Error).message === "fatal",
  };
  return { deps, log, pauses, closing, world, run: () => storeBase(deps, closing.signal) };
}

const once = ["begin", "pass", "write", "end", "stored", "put base", "onStored key"];

describe("storeBase", () => {
  it("reads under a transaction that began before a pass, and is never the only file of its TXID", async () => {
    const { run, log } = fixture();
    await run();
    expect(log).toEqual(once);
    expect(existsSync(join(directory, "base.tmp"))).toBe(false);
  });

  it("begins the file again from nothing when the capture says so", async () => {
    const { run, log, world } = fixture();
    world.write = async (begin) => {
      await (await begin())(Buffer.from("longer than the second"));
      const write = await begin();
      await write(Buffer.from("second"));
    };
    await run();
    expect(log).toContain("put second");
  });

  it("tries what fails again, with growing pauses, and ends its transaction each time", async () => {
    const { run, log, pauses, world } = fixture();
    let failures = 12;
    const { put } = world;
    world.put = async (bytes) => {
      failures -= 1;
      if (failures >= 0) throw away;
      await put(bytes);
    };
    await run();
    expect(pauses.slice(0, 4)).toEqual([1_000, 2_000, 4_000, 8_000]);
    expect(pauses).toHaveLength(12);
    expect(Math.max(...pauses)).toBe(300_000);
    const count = (entry: string): number => log.filter((other) => other === entry).length;
    expect(count("failing away")).toBe(12);
    expect(count("begin")).toBe(13);
    expect(count("end")).toBe(13);
    expect(log.at(-1)).toBe("onStored key");
  });

  it("a pass that fails ends the transaction too", async () => {
    const { run, log, world, closing } = fixture();
    world.pass = async () => {
      throw away;
    };
    world.onPause = () => closing.abort();
    await run();
    expect(log).toEqual(["begin", "end", "failing away"]);
  });

  it("is built again if its TXID was taken back before it was stored", async () => {
    const { run, log, world, pauses } = fixture();
    let merges = 2;
    world.stored = async () => {
      if (merges > 0) world.mergeCount += 1;
      merges -= 1;
    };
    await run();
    expect(log.filter((entry) => entry === "write")).toHaveLength(3);
    expect(log.filter((entry) => entry === "put base")).toHaveLength(1);
    expect(pauses).toEqual([]);
  });

  it("stores nothing while what was captured is not stored", async () => {
    const { run, log, world, closing } = fixture();
    world.stored = async () => {
      if (log.includes("write")) throw away;
    };
    world.onPause = () => closing.abort();
    await run();
    expect(log).not.toContain("put base");
    expect(existsSync(join(directory, "base.tmp"))).toBe(false);
  });

  it("what is fatal ends it at once, and leaves no file", async () => {
    const { run, world, pauses, log } = fixture();
    world.put = async () => {
      throw new Error("fatal");
    };
    await expect(run()).rejects.toThrow("fatal");
    expect(pauses).toEqual([]);
    expect(log).not.toContain("failing fatal");
    expect(existsSync(join(directory, "base.tmp"))).toBe(false);
  });

  it("a failure behind the end of the session is none", async () => {
    const { run, world, closing, log } = fixture();
    world.put = async () => {
      closing.abort();
      throw away;
    };
    await run();
    expect(log.filter((entry) => entry.startsWith("failing"))).toEqual([]);
    expect(existsSync(join(directory, "base.tmp"))).toBe(false);
  });
});
