import { ObjectStoreError } from "@vaultwarden-stream/object-store";
import { describe, expect, it } from "vitest";
import { Catalog } from "../replica/catalog.ts";
import type { EpochRecord } from "../replica/epoch-record.ts";
import { Fenced, type LeaseKeeper } from "../replica/lease.ts";
import { Claim, type Holding } from "./claim.ts";
import { StartAgain } from "./session-ends.ts";

function holding(kind: EpochRecord["kind"] = "writer"): Holding {
  return {
    mode: { kind: "exclusive" },
    catalog: new Catalog(),
    record: {
      version: 1,
      epoch: 3,
      nonce: "0".repeat(32),
      kind,
      owner: { host: "h", pid: 1, installation: { hostId: "", spoolInode: "1", spoolBornAt: "1" } },
      timeline: "t",
      parent: null,
      startedAt: "2026-01-01T00:00:00Z",
    },
  };
}

const away = new ObjectStoreError("UNREACHABLE", "away", { operation: "list", key: "epochs/" });

/** A claim in a world without time: its pauses last until the test ends them. */
function fixture(given: { readonly holding?: Holding; readonly takes?: (Holding | Error)[] }) {
  const takes = given.takes ?? [];
  const log: string[] = [];
  const pauses: (() => void)[] = [];
  const world = { look: async (): Promise<void> => {} };
  const claim = new Claim({
    holding: given.holding,
    take: async () => {
      log.push("take");
      const next = takes.shift();
      if (next === undefined) throw new Error("taken too often");
      if (next instanceof Error) throw next;
      return next;
    },
    makeKeeper: ({ record }) => {
      log.push(`keep ${record.epoch}`);
      return {
        run: async () => void log.push("run"),
        beforeShip: () => {
          log.push("look");
          return world.look();
        },
      } as unknown as LeaseKeeper;
    },
    onTaken: ({ epoch }) => log.push(`taken ${epoch}`),
    whileHeld: async ({ record }) => void log.push(`hold ${record.epoch}`),
    onFailing: (error) => log.push(`failing ${(error as { code: string }).code}`),
    sleep: () => new Promise((resolve) => pauses.push(resolve)),
  });
  return { claim, log, pauses, world };
}

const { signal } = new AbortController();

describe("with an epoch", () => {
  it("looks before anything ships, keeps the lease, and does beside it what a writer does", async () => {
    const { claim, log } = fixture({ holding: holding() });
    expect(await claim.beforeShip(signal)).toEqual(holding());
    await claim.run(signal);
    expect(log).toEqual(["keep 3", "look", "run", "hold 3"]);
  });

  it("nothing ships if the look fails", async () => {
    const { claim, world } = fixture({ holding: holding() });
    const fenced = new Fenced(holding().record);
    for (const failure of [away, fenced]) {
      world.look = async () => {
        throw failure;
      };
      await expect(claim.beforeShip(signal)).rejects.toBe(failure);
    }
  });

  it("a branch claims nothing, keeps no lease, and does nothing of what a writer does", async () => {
    const { claim, log } = fixture({ holding: holding("branch") });
    await claim.beforeShip(signal);
    await claim.run(signal);
    expect(log).toEqual([]);
  });
});

describe("without one, after a start without the store", () => {
  it("takes it when the store is back, saying so once, and looks before anything ships", async () => {
    const { claim, log, pauses } = fixture({ takes: [away, away, holding()] });
    expect(claim.holding).toBeUndefined();
    const running = claim.run(signal);
    for (let round = 0; round < 2; round += 1) {
      await expect.poll(() => pauses.length).toBe(round + 1);
      pauses[round]?.();
    }
    await running;
    expect(claim.holding).toEqual(holding());
    await claim.beforeShip(signal);
    const failed = ["take", "failing UNREACHABLE"];
    expect(log).toEqual([
      ...failed,
      ...failed,
      "take",
      "keep 3",
      "taken 3",
      "run",
      "hold 3",
      "look",
    ]);
  });

  it("the uploader and the keeper share one attempt", async () => {
    const { claim, log } = fixture({ takes: [holding()] });
    await Promise.all([claim.beforeShip(signal), claim.run(signal), claim.beforeShip(signal)]);
    expect(log.filter((entry) => entry === "take")).toHaveLength(1);
    expect(log.filter((entry) => entry === "taken 3")).toHaveLength(1);
  });

  it("nothing ships while it cannot be taken, and the next upload asks again", async () => {
    const { claim, log } = fixture({ takes: [away, holding()] });
    await expect(claim.beforeShip(signal)).rejects.toBe(away);
    expect(await claim.beforeShip(signal)).toEqual(holding());
    expect(log).toEqual(["take", "take", "keep 3", "taken 3", "look"]);
  });

  it.each([
    ["somebody took over meanwhile", new Fenced(holding().record)],
    ["a new timeline is needed", new StartAgain("restored")],
  ])("%s: it ends, for who waits and who ships", async (_, end) => {
    const { claim } = fixture({ takes: [end, end] });
    await expect(claim.run(signal)).rejects.toBe(end);
    await expect(claim.beforeShip(signal)).rejects.toBe(end);
  });

  it("ends quietly when the session does", async () => {
    const { claim, pauses, log } = fixture({ takes: [away] });
    const closing = new AbortController();
    const running = claim.run(closing.signal);
    await expect.poll(() => pauses.length).toBe(1);
    closing.abort();
    pauses[0]?.();
    await running;
    expect(log).toEqual(["take", "failing UNREACHABLE"]);
  });
});
