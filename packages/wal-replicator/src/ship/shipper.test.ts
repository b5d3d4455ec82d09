import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { Shipper, type ShipperDeps } from "./shipper.ts";
import type { Spool, SpoolFile } from "./spool.ts";

function file(txid: number): SpoolFile {
  return {
    name: {
      minTxid: toTxid(txid),
      maxTxid: toTxid(txid),
      pageSize: 4096,
      pageCount: 1,
      rollingChecksum: "8000000000000000",
      walPosition: undefined,
      state: "waiting",
    },
    path: `file ${txid}`,
    size: 10,
    capturedAtMs: 0,
  };
}

/** A shipper over a spool in memory. `put` may be set by the test; sleeping takes no time. */
function fixture(txids: readonly number[]) {
  let waiting = txids.map(file);
  const stored: string[] = [];
  const failing: string[] = [];
  const recovered: number[] = [];
  const world = {
    put: async (next: SpoolFile): Promise<{ key: string }> => ({ key: next.path }),
    settled: async (): Promise<void> => {},
  };
  const spool = {
    get waiting() {
      return waiting;
    },
    settled: () => world.settled(),
    markStored: async (done: SpoolFile) => {
      waiting = waiting.filter((other) => other !== done);
    },
  } as unknown as Spool;
  const deps: ShipperDeps = {
    spool,
    put: (next) => world.put(next),
    now: () => 0,
    sleep: async () => {},
    at: () => {},
    onStored: (done) => stored.push(done.path),
    onFailing: (error) => failing.push((error as Error).message),
    onRecovered: (ms) => recovered.push(ms),
  };
  return {
    shipper: new Shipper(deps),
    world,
    stored,
    failing,
    recovered,
    add: (txid: number) => waiting.push(file(txid)),
    merge: (into: number) => {
      waiting = [...waiting.filter(({ name }) => name.maxTxid < into), file(into)];
    },
  };
}

describe("Shipper", () => {
  it("ships in order, and tells those who wait for a TXID when everything up to it is stored", async () => {
    const { shipper, stored } = fixture([1, 2, 3]);
    const waited = shipper.stored(toTxid(2n));
    const done = shipper.run(() => false);
    await waited;
    expect(stored.slice(0, 2)).toEqual(["file 1", "file 2"]);
    await shipper.stored(toTxid(3n));
    shipper.stop();
    await done;
    expect(stored).toEqual(["file 1", "file 2", "file 3"]);
  });

  it("repeats a failed upload and lets nothing pass it", async () => {
    const { shipper, world, stored, failing, recovered } = fixture([1, 2]);
    let attempts = 0;
    world.put = async (next) => {
      attempts += 1;
      if (attempts <= 3) throw new Error(`no ${next.path}`);
      return { key: next.path };
    };
    const done = shipper.run(() => false);
    await shipper.stored(toTxid(2n));
    shipper.stop();
    await done;
    expect(failing).toEqual(["no file 1", "no file 1", "no file 1"]);
    expect(recovered).toEqual([0]);
    expect(stored).toEqual(["file 1", "file 2"]);
  });

  it("ends with an error that no repetition mends, and tells everybody who waits, also later", async () => {
    const { shipper, world } = fixture([1]);
    const fatal = new Error("another writer");
    world.put = () => Promise.reject(fatal);
    const waited = shipper.stored(toTxid(1n));
    waited.catch(() => {});
    await expect(shipper.run((error) => error === fatal)).rejects.toBe(fatal);
    await expect(waited).rejects.toBe(fatal);
    await expect(shipper.stored(toTxid(1n))).rejects.toBe(fatal);
  });

  it("lets a caller stop waiting, and ships on", async () => {
    const { shipper, world } = fixture([1]);
    const gate = Promise.withResolvers<{ key: string }>();
    world.put = () => gate.promise;
    const done = shipper.run(() => false);
    const abort = new AbortController();
    const waited = shipper.stored(toTxid(1n), abort.signal);
    abort.abort(new Error("enough"));
    await expect(waited).rejects.toThrow("enough");
    gate.resolve({ key: "k" });
    await shipper.stored(toTxid(1n));
    shipper.stop();
    await done;
  });

  it("tells those who wait for a TXID that was merged away when the merged file is stored", async () => {
    const { shipper, world, stored, merge, add } = fixture([1, 2, 3, 4]);
    let isBack = false;
    world.put = async (next) => {
      if (!isBack) throw new Error("away");
      return { key: next.path };
    };
    const waited = shipper.stored(toTxid(4n)).then(() => stored.at(-1));
    const done = shipper.run(() => false);
    merge(2);
    shipper.takeBack(toTxid(2n));
    add(3);
    add(4);
    isBack = true;
    expect(await waited).toBe("file 2");
    await shipper.stored(toTxid(4n));
    expect(stored).toEqual(["file 1", "file 2", "file 3", "file 4"]);
    shipper.stop();
    await done;
  });

  it("takes no file before a merge that may replace it is over", async () => {
    const { shipper, world, stored, merge } = fixture([1, 2, 3]);
    const over = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    world.settled = async () => {
      if (stored.length === 0) return;
      asked.resolve();
      await over.promise;
    };
    const done = shipper.run(() => false);
    await asked.promise;
    expect(stored).toEqual(["file 1"]);
    merge(2);
    over.resolve();
    await shipper.stored(toTxid(2n));
    expect(stored).toEqual(["file 1", "file 2"]);
    shipper.stop();
    await done;
  });

  it("repeats also what fails before the upload: a merge that cannot be settled", async () => {
    const { shipper, world, failing, stored } = fixture([1]);
    let attempts = 0;
    world.settled = async () => {
      attempts += 1;
      if (attempts === 1) throw new Error("no room");
    };
    const done = shipper.run(() => false);
    await shipper.stored(toTxid(1n));
    expect(failing).toEqual(["no room"]);
    expect(stored).toEqual(["file 1"]);
    shipper.stop();
    await done;
  });

  it("tells those who wait when it is stopped before everything is stored", async () => {
    const { shipper, world } = fixture([1]);
    world.put = () => new Promise(() => {});
    const waited = shipper.stored(toTxid(1n));
    waited.catch(() => {});
    void shipper.run(() => false);
    shipper.stop();
    await expect(waited).rejects.toMatchObject({ code: "STOPPED" });
  });
});
