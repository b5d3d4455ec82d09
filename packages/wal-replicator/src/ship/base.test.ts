import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { type BaseDeps, storeBase } from "./base.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "base-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const away = Object.assign(new Error("away"), { code: "UNREACHABLE" });
const name = { minTxid: toTxid(1), maxTxid: toTxid(5), rollingChecksum: "8000000000000005" };

/** A base of a few bytes, made and stored in a world whose steps are noted in order. */
function fixture() {
  const log: string[] = [];
  const pauses: number[] = [];
  const closing = new AbortController();
  const world = {
    make: async (): Promise<void> => {},
    put: async (): Promise<void> => {},
    onPause: (): void => {},
  };
  const path = join(directory, "snapshot.tmp");
  const deps: BaseDeps = {
    makeSnapshot: async () => {
      log.push("make");
      await world.make();
      writeFileSync(path, "base");
      return { path, size: 4, name };
    },
    put: async (file) => {
      expect(file.name).toEqual(name);
      await world.put();
      log.push(`put ${readFileSync(file.path, "utf8")}`);
      return { key: "key" };
    },
    directory,
    at: () => {},
    sleep: async (ms) => {
      pauses.push(ms);
      // A disk that was too small for it is not kept full by it.
      expect(existsSync(path)).toBe(false);
      world.onPause();
    },
    onStored: (_, key) => log.push(`onStored ${key}`),
    onFailing: (error) => log.push(`failing ${(error as Error).message}`),
    isFatal: (error) => (error as Error).message === "fatal",
  };
  return { deps, log, pauses, closing, world, path, run: () => storeBase(deps, closing.signal) };
}

const once = ["make", "put base", "onStored key"];

describe("storeBase", () => {
  it("stores a snapshot once, and removes the file", async () => {
    const { run, log, path } = fixture();
    await run();
    expect(log).toEqual(once);
    expect(existsSync(path)).toBe(false);
  });

  it("tries what fails again, with growing pauses", async () => {
    const { run, log, pauses, world } = fixture();
    let failures = 12;
    world.put = async () => {
      failures -= 1;
      if (failures >= 0) throw away;
    };
    await run();
    expect(pauses.slice(0, 4)).toEqual([1_000, 2_000, 4_000, 8_000]);
    expect(pauses).toHaveLength(12);
    expect(Math.max(...pauses)).toBe(300_000);
    expect(log.filter((entry) => entry === "failing away")).toHaveLength(12);
    expect(log.slice(-3)).toEqual(once);
  });

  it("a snapshot that cannot be made is tried again too", async () => {
    const { run, log, world } = fixture();
    world.make = async () => {
      if (log.length === 1) throw away;
    };
    await run();
    expect(log).toEqual(["make", "failing away", ...once]);
  });

  it("what is fatal ends it at once, and leaves no file", async () => {
    const { run, world, pauses, log, path } = fixture();
    world.put = async () => {
      throw new Error("fatal");
    };
    await expect(run()).rejects.toThrow("fatal");
    expect(pauses).toEqual([]);
    expect(log).not.toContain("failing fatal");
    expect(existsSync(path)).toBe(false);
  });

  it("a failure behind the end of the session is none", async () => {
    const { run, world, closing, log, path } = fixture();
    world.put = async () => {
      closing.abort();
      throw away;
    };
    await run();
    expect(log).toEqual(["make"]);
    expect(existsSync(path)).toBe(false);
  });
});
