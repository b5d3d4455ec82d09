import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { Spool } from "./spool.ts";

/** What the spool asked of the disk, in order. */
const { log, faults } = vi.hoisted(() => ({
  log: [] as string[],
  faults: {
    datasync: undefined as Error | undefined,
    directorySync: undefined as Error | undefined,
  },
}));
vi.mock("node:fs/promises", async (importOriginal) => {
  const actual = await importOriginal<typeof import("node:fs/promises")>();
  return {
    ...actual,
    rename: async (from: string, to: string) => {
      if (to.endsWith(".stored"))
        log.push(`mark ${Number(/^([0-9a-f]{16})-/.exec(basename(to))?.[1])}`);
      await actual.rename(from, to);
    },
    open: async (path: string, flags?: string, mode?: number) => {
      const handle = await actual.open(path, flags, mode);
      const { sync, datasync } = handle;
      handle.sync = async () => {
        if (flags === "r" && faults.directorySync !== undefined) throw faults.directorySync;
        if (flags === "r") log.push("sync");
        await sync.call(handle);
      };
      handle.datasync = async () => {
        if (faults.datasync !== undefined) throw faults.datasync;
        await datasync.call(handle);
      };
      return handle;
    },
  };
});

const timeline = "0000000000000001-aaaa";
let directory: string;
let spool: Spool;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "spool-"));
  spool = await Spool.open(join(directory, "spool"));
  await spool.saveState({
    version: 1,
    timeline,
    position: undefined,
    storedTxid: undefined,
    restored: false,
    generations: [],
  });
  log.length = 0;
});
afterEach(() => {
  faults.datasync = undefined;
  faults.directorySync = undefined;
  spool.close();
  rmSync(directory, { recursive: true, force: true });
});

async function capture(txid: number): Promise<void> {
  const writer = await spool.create();
  await writer.write(new Uint8Array(10));
  await writer.commit(
    {
      minTxid: toTxid(txid),
      maxTxid: toTxid(txid),
      pageSize: 4096,
      pageCount: 1,
      rollingChecksum: "8000000000000000",
      walPosition: undefined,
      state: "waiting",
    },
    0,
  );
}

/** As the shipper does it. */
async function ship(): Promise<void> {
  await spool.settled();
  log.push(`try ${Number(spool.waiting[0]?.name.maxTxid)}`);
  await spool.markStored(spool.waiting[0] as (typeof spool.waiting)[0]);
}

describe("Spool", () => {
  it("tries no file before a power cut can no longer take the mark of the one before it: only the first that waits counts as tried", async () => {
    await capture(1);
    await capture(2);
    log.length = 0;
    await ship();
    await ship();
    expect(log).toEqual(["try 1", "mark 1", "sync", "try 2", "mark 2"]);
  });

  it("does not trust the marks of an earlier life either, which may have been killed before any sync", async () => {
    await capture(1);
    await capture(2);
    await ship();
    spool.close();
    spool = await Spool.open(join(directory, "spool"));
    log.length = 0;
    await ship();
    expect(log).toEqual(["sync", "try 2", "mark 2"]);
  });

  it("syncs no more than the captures do while the store keeps up", async () => {
    for (const txid of [1, 2, 3]) {
      await capture(txid);
      await ship();
    }
    expect(log.filter((entry) => entry === "sync")).toHaveLength(3);
  });

  it.each(["datasync", "directorySync"] as const)(
    "leaves nothing of a file whose %s fails, and takes the next one",
    async (fault) => {
      faults[fault] = new Error("no room");
      await expect(capture(1)).rejects.toThrow("no room");
      faults[fault] = undefined;
      expect(spool.files).toEqual([]);
      expect(readdirSync(join(spool.directory, timeline))).toEqual([]);
      spool.close();
      spool = await Spool.open(join(directory, "spool"));
      expect(spool.files).toEqual([]);
      await capture(1);
      expect(spool.waiting).toHaveLength(1);
    },
  );
});
