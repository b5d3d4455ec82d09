import {
  type Fault,
  FaultyStore,
  noCounts,
  type ObjectStore,
  type StoreCall,
} from "@vaultwarden-stream/object-store";
import { createPrng } from "@vaultwarden-stream/testkit";
import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { EpochLog, type EpochMode, readLease, takeEpoch } from "./epoch.ts";
import type { EpochRecord } from "./epoch-record.ts";
import {
  type Conditions,
  detected,
  detectedOnly,
  exclusive,
  putText,
  recordFor,
  rootOf,
  TestStore,
} from "./epoch-testing.ts";
import { Fenced, LeaseKeeper } from "./lease.ts";

const intervalMs = 60_000;

/** A wall clock and a monotonic one that move by themselves, and the sleep of one keeper. */
class TestClock {
  wallMs = Date.parse("2026-11-25T00:00:00Z");
  monotonicMs = 5_000;
  #asleep = Promise.withResolvers<void>();
  #wake: () => void = () => {};

  readonly sleep = (ms: number, signal: AbortSignal): Promise<void> => {
    expect(ms).toBe(intervalMs);
    return new Promise<void>((resolve) => {
      this.#wake = resolve;
      signal.addEventListener("abort", () => resolve(), { once: true });
      this.#asleep.resolve();
    });
  };

  pass(ms: number): void {
    this.wallMs += ms;
    this.monotonicMs += ms;
  }

  /** Lets the keeper sleep to the end of its interval, and do what it does until it sleeps again. */
  async passInterval(): Promise<void> {
    await this.#asleep.promise;
    this.#asleep = Promise.withResolvers<void>();
    this.pass(intervalMs);
    this.#wake();
    await this.#asleep.promise;
  }

  /** The same, for a keeper that ends. */
  async passLastInterval(): Promise<void> {
    await this.#asleep.promise;
    this.pass(intervalMs);
    this.#wake();
  }
}

interface Held {
  readonly keeper: LeaseKeeper;
  readonly clock: TestClock;
  readonly record: EpochRecord;
  readonly reports: string[];
}

async function hold(
  store: ObjectStore,
  mode: EpochMode,
  owner: string,
  clock = new TestClock(),
): Promise<Held> {
  const root = rootOf(store);
  const record = await takeEpoch(root, mode, recordFor(owner));
  const reports: string[] = [];
  const keeper = new LeaseKeeper({
    root,
    record,
    mode,
    intervalMs,
    now: () => clock.wallMs,
    nowMs: () => clock.monotonicMs,
    sleep: clock.sleep,
    storedTxid: () => toTxid(7),
    onRenewFailed: (error) => reports.push((error as { code: string }).code),
    onRenewed: () => reports.push("renewed"),
  });
  return { keeper, clock, record, reports };
}

const signal = new AbortController().signal;
const modes: readonly (readonly [string, EpochMode])[] = [
  ["exclusive", exclusive],
  ["detected", detected],
  ["detected without conditions", detectedOnly],
];

/** Whether this request looks for a higher epoch. */
function isLook({ operation, key }: StoreCall): boolean {
  return operation === "list" || (operation === "get" && key.endsWith("00000002.json"));
}

describe("LeaseKeeper", () => {
  it("spends 60 PUTs and 60 GETs in an idle hour, and nothing else", async () => {
    const store = new TestStore();
    const { keeper, clock } = await hold(store, exclusive, "a");
    const ending = new AbortController();
    const run = keeper.run(ending.signal);
    Object.assign(store.counts, noCounts());
    for (let minute = 0; minute < 60; minute += 1) await clock.passInterval();
    const { bytesUp, bytesDown: _, ...requests } = store.counts;
    expect(requests).toMatchObject({ put: 60, get: 60 });
    expect(Object.values(requests).reduce((sum, count) => sum + count)).toBe(120);
    expect(bytesUp).toBeLessThan(60 * 512);
    ending.abort();
    await run;
  });

  it.each(modes)("writes a lease that others can read the age of: %s", async (_, mode) => {
    const clock = new TestClock();
    // The store's clock is ten minutes off ours.
    const store = new TestStore("honours", () => clock.wallMs + 600_000);
    const { keeper, record } = await hold(store, mode, "a", clock);
    const ending = new AbortController();
    const run = keeper.run(ending.signal);
    for (let count = 0; count < 3; count += 1) {
      await clock.passInterval();
      expect(await readLease(rootOf(store), record)).toEqual({ ageMs: 0, owner: record.owner });
    }
    clock.pass(30_000);
    expect((await readLease(rootOf(store), record)).ageMs).toBe(30_000);
    ending.abort();
    await run;
  });

  it.each(modes)(
    "of two writers exactly one goes on, and the other knows whom it lost to: %s",
    async (_, mode) => {
      const store = new TestStore();
      const first = await hold(store, mode, "a");
      const second = await hold(store, mode, "b");
      const ending = new AbortController();
      const [running, fenced] = [second.keeper.run(ending.signal), first.keeper.run(ending.signal)];
      await first.clock.passLastInterval();
      await expect(fenced).rejects.toMatchObject({ name: "Fenced", by: second.record });
      // Fenced is for good, and says the same without asking anybody.
      Object.assign(store.counts, noCounts());
      await expect(first.keeper.beforeShip(signal)).rejects.toMatchObject({ by: second.record });
      expect(store.counts).toEqual(noCounts());
      await second.clock.passInterval();
      await second.keeper.beforeShip(signal);
      ending.abort();
      await running;
    },
  );

  it("renews nothing any more once it is fenced", async () => {
    const store = new TestStore();
    const { keeper, clock } = await hold(store, exclusive, "a");
    await hold(store, exclusive, "b");
    Object.assign(store.counts, noCounts());
    const run = keeper.run(signal);
    await clock.passLastInterval();
    await expect(run).rejects.toBeInstanceOf(Fenced);
    expect(store.counts).toMatchObject({ put: 0, get: 1 });
  });

  it.each(modes)(
    "passes over branches, and sees a writer behind them in the same look: %s",
    async (_, mode) => {
      const store = new TestStore();
      const { keeper, clock } = await hold(store, mode, "a");
      const takeBranch = () => takeEpoch(rootOf(store), mode, recordFor("b", { kind: "branch" }));
      await takeBranch();
      await takeBranch();
      await keeper.beforeShip(signal);
      clock.pass(2 * intervalMs);
      const writer = await takeEpoch(rootOf(store), mode, recordFor("c"));
      await expect(keeper.beforeShip(signal)).rejects.toMatchObject({ by: writer });
    },
  );

  it("asks for the number behind the last branch from then on", async () => {
    const store = new TestStore();
    const { keeper, clock } = await hold(store, exclusive, "a");
    await takeEpoch(rootOf(store), exclusive, recordFor("b", { kind: "branch" }));
    await keeper.beforeShip(signal);
    clock.pass(2 * intervalMs);
    Object.assign(store.counts, noCounts());
    await keeper.beforeShip(signal);
    expect(store.counts).toMatchObject({ get: 1, list: 0 });
  });

  it("an exclusive holder sees who takes over where nothing is proved any more, and the other way round", async () => {
    for (const [before, after] of [
      [exclusive, detected],
      [detectedOnly, exclusive],
    ] as const) {
      const store = new TestStore();
      const { keeper } = await hold(store, before, "b");
      const writer = await takeEpoch(rootOf(store), after, recordFor("a"));
      await expect(keeper.beforeShip(signal)).rejects.toMatchObject({ by: writer });
    }
  });

  it("where both were told that the same number is theirs, the lower nonce is fenced", async () => {
    const store = new TestStore("ignores");
    // Neither sees the other when it takes the epoch: listings are late.
    const blind = new FaultyStore(store, () => undefined);
    blind.list = async function* () {};
    const [first, second] = [
      await hold(blind, detectedOnly, "b"),
      await hold(blind, detectedOnly, "a"),
    ];
    expect([first.record.epoch, second.record.epoch]).toEqual([1, 1]);
    blind.list = (prefix, options) => store.list(prefix, options);
    await first.keeper.beforeShip(signal);
    await expect(second.keeper.beforeShip(signal)).rejects.toMatchObject({ by: first.record });
  });
});

describe("writers that start at once, in any interleaving", () => {
  const worlds: readonly (readonly [Conditions, string, EpochMode])[] = [
    ["honours", "exclusive", exclusive],
    ["honours", "detected", detected],
    ["ignores", "detected", detected],
    ["ignores", "detected without conditions", detectedOnly],
    ["inverts", "detected without conditions", detectedOnly],
    ["refuses", "detected without conditions", detectedOnly],
  ];

  it.each(worlds)(
    "end with one, the newest, and no other ships again: a store that %s conditions, %s",
    async (conditions, _, mode) => {
      const seedCount = 100;
      const firstSeed = Number(process.env["SEED"] ?? 1);
      for (let seed = firstSeed; seed < firstSeed + seedCount; seed += 1) {
        const inner = new TestStore(conditions);
        const random = createPrng(seed);
        const store = new FaultyStore(inner, () => ({
          kind: "delay",
          wait: async () => {
            for (let turns = random.integer(0, 3); turns > 0; turns -= 1) {
              await new Promise((resolve) => setImmediate(resolve));
            }
          },
        }));
        const start = async (owner: string): Promise<Held | undefined> => {
          try {
            const held = await hold(store, mode, owner);
            await held.keeper.beforeShip(signal);
            return held;
          } catch (error) {
            if (error instanceof Fenced) return undefined;
            if ((error as { code?: string }).code === "EPOCH_HELD") return undefined;
            throw error;
          }
        };
        const started = (await Promise.all(["a", "b", "c"].map(start))).filter(
          (held) => held !== undefined,
        );
        for (const { clock } of started) clock.pass(2 * intervalMs);
        const shipping: EpochRecord[] = [];
        for (const { keeper, record } of started) {
          await keeper.beforeShip(signal).then(
            () => shipping.push(record),
            (error: unknown) => expect(error, `SEED=${seed}`).toBeInstanceOf(Fenced),
          );
        }
        const newest = await (await EpochLog.read(rootOf(inner))).newest();
        expect(shipping, `SEED=${seed}`).toEqual([newest?.record]);
      }
    },
  );
});

describe("beforeShip", () => {
  it("looks first when it was never looked, and asks nobody while the last look is recent", async () => {
    const store = new TestStore();
    const { keeper, clock } = await hold(store, exclusive, "a");
    Object.assign(store.counts, noCounts());
    await keeper.beforeShip(signal);
    expect(store.counts.get).toBe(1);
    clock.pass(1.5 * intervalMs);
    await keeper.beforeShip(signal);
    expect(store.counts.get).toBe(1);
    clock.pass(1);
    await keeper.beforeShip(signal);
    expect(store.counts.get).toBe(2);
    await keeper.beforeShip(signal);
    expect(store.counts.get).toBe(2);
  });

  it.each([
    ["a suspended machine: the wall clock went on alone", 10 * intervalMs, 0],
    ["a frozen process: both went on", 10 * intervalMs, 10 * intervalMs],
    ["a wall clock set back while it was suspended", -10 * intervalMs, 0],
    ["a wall clock set back over a long pause", 0, 1.2 * intervalMs],
    ["a wall clock that stands still over a pause", 0, 2 * intervalMs],
  ])(
    "looks after a gap, and ships nothing once another has taken over: %s",
    async (_, wallMs, monotonicMs) => {
      const store = new TestStore();
      const { keeper, clock } = await hold(store, exclusive, "a");
      await keeper.beforeShip(signal);
      const writer = await takeEpoch(rootOf(store), exclusive, recordFor("b"));
      clock.wallMs += wallMs;
      clock.monotonicMs += monotonicMs;
      await expect(keeper.beforeShip(signal)).rejects.toMatchObject({ by: writer });
    },
  );

  it("counts a look from when it began: a pause during the look is no look", async () => {
    const inner = new TestStore();
    const clock = new TestClock();
    let pauses = 0;
    const store = new FaultyStore(inner, (call) =>
      isLook(call) && call.operation === "get"
        ? {
            kind: "delay",
            wait: async () => {
              pauses += 1;
              if (pauses === 1) clock.pass(10 * intervalMs);
            },
          }
        : undefined,
    );
    const { keeper } = await hold(store, exclusive, "a", clock);
    await keeper.beforeShip(signal);
    await keeper.beforeShip(signal);
    expect(pauses).toBe(2);
  });

  it.each([
    ["forbidden", { kind: "error-before", code: "FORBIDDEN" }, "FORBIDDEN"],
    ["unreachable", { kind: "error-before", code: "UNREACHABLE" }, "UNREACHABLE"],
  ] as const)(
    "lets nothing through if the look fails, and looks again: %s",
    async (_, fault: Fault, code) => {
      for (const [, mode] of modes) {
        const inner = new TestStore();
        let isFailing = false;
        const store = new FaultyStore(inner, (call) =>
          isFailing && isLook(call) ? fault : undefined,
        );
        const { keeper } = await hold(store, mode, "a");
        isFailing = true;
        await expect(keeper.beforeShip(signal)).rejects.toMatchObject({ code });
        isFailing = false;
        await keeper.beforeShip(signal);
      }
    },
  );

  it.each(modes)(
    "takes an epoch that cannot be read neither for a branch nor for none: %s",
    async (_, mode) => {
      const store = new TestStore();
      const { keeper } = await hold(store, mode, "a");
      const key =
        mode.kind === "exclusive"
          ? "vault/epochs/00000002.json"
          : "vault/epochs/00000002-b0000000.json";
      await putText(store, key, "{}");
      await expect(keeper.beforeShip(signal)).rejects.toMatchObject({
        code: "REPLICA_MALFORMED",
        key,
      });
    },
  );

  it("passes the reason of an abort on", async () => {
    const { keeper } = await hold(new TestStore(), exclusive, "a");
    const reason = new Error("enough");
    await expect(keeper.beforeShip(AbortSignal.abort(reason))).rejects.toBe(reason);
  });
});

describe("a lease that cannot be renewed", () => {
  it("is reported once a cause and stops nothing; then it is reported as renewed", async () => {
    const inner = new TestStore();
    const faults: (Fault | undefined)[] = [
      { kind: "error-before", code: "UNREACHABLE" },
      { kind: "error-before", code: "UNREACHABLE" },
      { kind: "error-before", code: "FORBIDDEN" },
      undefined,
      undefined,
    ];
    const store = new FaultyStore(inner, ({ key, nth }) =>
      key.endsWith(".lease.json") ? faults[nth - 1] : undefined,
    );
    const { keeper, clock, reports } = await hold(store, exclusive, "a");
    const ending = new AbortController();
    const run = keeper.run(ending.signal);
    for (const _ of faults) await clock.passInterval();
    expect(reports).toEqual(["UNREACHABLE", "FORBIDDEN", "renewed"]);
    // Looks went on, so that nothing has to be asked now.
    Object.assign(inner.counts, noCounts());
    await keeper.beforeShip(signal);
    expect(inner.counts).toEqual(noCounts());
    ending.abort();
    await run;
  });

  it("is reported too if only the look fails, which fences nobody; the lease is renewed meanwhile", async () => {
    const inner = new TestStore();
    const store = new FaultyStore(inner, (call) =>
      isLook(call) && call.operation === "get"
        ? { kind: "error-before", code: "FORBIDDEN" }
        : undefined,
    );
    const { keeper, clock, reports } = await hold(store, exclusive, "a");
    const ending = new AbortController();
    const run = keeper.run(ending.signal);
    await clock.passInterval();
    await clock.passInterval();
    expect(reports).toEqual(["FORBIDDEN"]);
    expect(inner.counts.put).toBe(2);
    ending.abort();
    await run;
  });

  it("ends without a word when it is stopped in the middle of a request", async () => {
    const inner = new TestStore();
    const stalled = Promise.withResolvers<void>();
    const store = new FaultyStore(inner, ({ key }) => {
      if (!key.endsWith(".lease.json")) return undefined;
      stalled.resolve();
      return { kind: "stall" };
    });
    const { keeper, clock, reports } = await hold(store, exclusive, "a");
    const ending = new AbortController();
    const run = keeper.run(ending.signal);
    await clock.passLastInterval();
    await stalled.promise;
    ending.abort();
    await run;
    expect(reports).toEqual([]);
  });
});
