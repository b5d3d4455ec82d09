import { expect } from "vitest";
import { checkLaw } from "./law.ts";
import type { Stage } from "./stage.ts";

/** What two hosts do to each other. Each ends with the law. */
export interface Scenario {
  readonly name: string;
  readonly play: (stage: Stage) => Promise<void>;
}

/** B is a copy of A's volume, started while A lives. */
const waits: Scenario = {
  name: "a copy of the volume waits while the original lives, and goes on behind its release",
  play: async (stage) => {
    const { a, b } = stage;
    await a.write(5);
    await a.start();
    await a.write(10);
    await a.acknowledge();
    b.copyVolumeOf(a);
    const launched = await b.launch();
    const waiting = await launched.waitFor("waiting");
    expect(waiting.owner.pid).toBe(a.engine.pid);
    expect(waiting.message).not.toBe("");
    await a.write(10);
    await a.acknowledge();
    expect(launched.events.some(({ type }) => type === "started")).toBe(false);
    await a.stopEngine();
    await b.goOn(launched);
    await b.write(5);
    await b.acknowledge();
    await stage.end();
    expect(a.engines[0]?.events.some(({ type }) => type === "fenced")).toBe(false);
    const { listing, labels } = await checkLaw(stage);
    expect(labels.get(listing.head as string)).toEqual(
      expect.arrayContaining([...a.acknowledged, ...b.acknowledged].map(({ label }) => label)),
    );
  },
};

/** A dies with its machine; B has an empty disk. A comes back later. */
const killed: Scenario = {
  name: "killed: the other one takes over when the lease is stale, and who comes back waits and loses nothing",
  play: async (stage) => {
    const { a, b } = stage;
    await a.write(5);
    await a.start();
    a.goOnWriting(5);
    await a.acknowledge();
    await a.killEngine();
    await a.killWriter();
    const { prepared } = await b.prepare();
    expect(prepared.outcome).toBe("restored");
    const second = await b.start();
    expect(second.events.at(-1)).toMatchObject({ type: "started", continued: false });
    await b.write(10);
    await b.acknowledge();
    const back = await a.launch();
    expect((await back.waitFor("waiting")).owner.pid).toBe(second.pid);
    await b.write(5);
    await b.acknowledge();
    await b.stopEngine();
    await a.goOn(back);
    await a.write(5);
    await a.acknowledge();
    await stage.end();
    const { listing, labels } = await checkLaw(stage);
    expect(labels.get(listing.head as string)).toEqual(
      expect.arrayContaining(b.acknowledged.map(({ label }) => label)),
    );
  },
};

/** The new container has no disk, and is started before the old one ends. Back and forth, as deployments go. */
const rollingDeploy: Scenario = {
  name: "rolling deploys: each waits for the other's release, and nobody's rows are missing",
  play: async (stage) => {
    let [old, fresh] = [stage.a, stage.b];
    await old.write(3);
    await old.start();
    for (let deploy = 0; deploy < 3; deploy++) {
      old.goOnWriting(5);
      await old.acknowledge();
      const preparing = deploy === 0 ? fresh.prepare() : undefined;
      const launched = preparing === undefined ? await fresh.launch() : undefined;
      await launched?.waitFor("waiting");
      await old.write(3);
      await old.acknowledge();
      await old.killWriter();
      await old.stopEngine();
      await preparing;
      await fresh.goOn(launched ?? (await fresh.launch()));
      await fresh.write(3);
      await fresh.acknowledge();
      [old, fresh] = [fresh, old];
    }
    await stage.end();
    const { listing, labels } = await checkLaw(stage);
    const all = stage.hosts.flatMap((host) => host.acknowledged.map(({ label }) => label));
    expect(labels.get(listing.head as string)).toEqual(expect.arrayContaining(all));
    if (stage.isExclusive) expect(listing.timelines).toHaveLength(1);
  },
};

/** An operator says that B is the one, while A is healthy and busy. */
const takeOver: Scenario = {
  name: "taken over while it writes: fenced, says by whom, and what it commits later is a branch",
  play: async (stage) => {
    const { a, b } = stage;
    await a.write(5);
    await a.start();
    a.goOnWriting(5);
    await a.acknowledge();
    await b.start({ ifHeld: "take-over" });
    b.goOnWriting(5);
    const { by, message } = await a.engine.waitFor("fenced");
    // By the first engine of B that had to say so: A ships on while B restores.
    expect(b.engines.map(({ pid }) => pid)).toContain(by.pid);
    expect(message).toContain(String(by.pid));
    await a.write(5);
    const branch = await a.acknowledge();
    await b.write(5);
    const head = await b.acknowledge();
    expect(branch?.timeline).not.toBe(head?.timeline);
    expect((await a.engine.status()).fencedBy).toEqual(by);
    await a.stopEngine();
    await stage.end();
    const { listing } = await checkLaw(stage);
    expect(listing.head).toBe(head?.timeline);
    const role = listing.timelines.find(({ timeline }) => timeline === branch?.timeline)?.role;
    expect(role).toBe("branch");
  },
};

/** A's engine stands still for longer than its lease, while its application goes on. */
const paused: Scenario = {
  name: "stopped for longer than its lease: it looks before it ships, and nothing lands in a line that went on",
  play: async (stage) => {
    const { a, b } = stage;
    await a.write(5);
    await a.start();
    await a.write(10);
    const before = await a.acknowledge();
    a.engine.signal("SIGSTOP");
    await a.write(10);
    const second = await b.start();
    await b.write(10);
    const head = await b.acknowledge();
    // Slow looks: what does not wait for one has shipped before it is answered.
    await stage.store.server?.setFaults([
      {
        match: { operation: ["GetObject", "ListObjects", "ListObjectsV2"], keyPattern: "epochs/" },
        fault: { kind: "latency", ms: 700 },
      },
    ]);
    a.engine.signal("SIGCONT");
    const fenced = await a.engine.waitFor("fenced");
    expect(fenced.by.pid).toBe(second.pid);
    await stage.store.server?.setFaults();
    const branch = await a.acknowledge();
    await b.write(5);
    await b.acknowledge();
    await stage.end();
    const { listing } = await checkLaw(stage);
    expect(listing.head).toBe(head?.timeline);
    expect([before?.timeline, head?.timeline]).not.toContain(branch?.timeline);
    const old = listing.timelines.find(({ timeline }) => timeline === before?.timeline);
    expect(old?.files.at(-1)?.maxTxid, "what A shipped after its pause").toBe(before?.txid);
  },
};

/** Both containers are restarted whenever they end, after B was made the owner. */
const restartLoops: Scenario = {
  name: "both restarted always: the epoch does not go back and forth",
  play: async (stage) => {
    const { a, b } = stage;
    await a.write(5);
    await a.start();
    await a.acknowledge();
    await b.start({ ifHeld: "take-over" });
    await b.write(5);
    await b.acknowledge();
    await a.engine.waitFor("fenced");
    for (let restart = 0; restart < 3; restart++) {
      await a.killEngine();
      const launched = await a.launch();
      expect((await launched.waitFor("waiting")).owner.pid).toBe(b.engine.pid);
      await b.write(3);
      await b.acknowledge();
    }
    // The owner itself is restarted at once, time and again; the other one still waits.
    for (let restart = 0; restart < 2; restart++) {
      await b.killEngine();
      await b.start();
      await b.write(3);
      await b.acknowledge();
    }
    await stage.end();
    const { listing, labels } = await checkLaw(stage);
    const writers = listing.epochs.filter(({ kind }) => kind === "writer");
    const pidsOfA = a.engines.map(({ pid }) => pid);
    expect(writers.filter(({ owner }) => pidsOfA.includes(owner.pid))).toHaveLength(1);
    expect(writers).toHaveLength(4);
    expect(labels.get(listing.head as string)).toEqual(
      expect.arrayContaining(b.acknowledged.map(({ label }) => label)),
    );
  },
};

/** The owner is dead, and two copies of its volume are told to take over at the same moment: theirs would be the same epoch. */
const bothAtOnce: Scenario = {
  name: "both take over at the same moment: one goes on, the other one's commits are a line of their own",
  play: async (stage) => {
    const { a, b } = stage;
    await a.write(5);
    await a.start();
    await a.acknowledge();
    await a.killEngine();
    b.copyVolumeOf(a);
    // Both at once at the step that counts, whatever their processes do before it.
    await stage.store.server?.setFaults([
      {
        match: { operation: "PutObject", keyPattern: "epochs/" },
        fault: { kind: "latency", ms: 1_000 },
      },
    ]);
    const launched = await Promise.all([
      a.launch({ ifHeld: "take-over" }),
      b.launch({ ifHeld: "take-over" }),
    ]);
    const takeOver = { ifHeld: "take-over" } as const;
    await Promise.all([a.goOn(launched[0], takeOver), b.goOn(launched[1], takeOver)]);
    await Promise.all([a.write(5), b.write(5)]);
    await Promise.all([a.acknowledge(), b.acknowledge()]);
    await stage.store.server?.setFaults();
    const saysSo = (): boolean =>
      stage.hosts.some(({ engine }) => engine.events.some(({ type }) => type === "fenced"));
    await expect.poll(saysSo, { timeout: 20_000 }).toBe(true);
    await Promise.all([a.write(5), b.write(5)]);
    await Promise.all([a.acknowledge(), b.acknowledge()]);
    await stage.end();
    await checkLaw(stage);
  },
};

export const scenarios: readonly Scenario[] = [
  waits,
  killed,
  rollingDeploy,
  takeOver,
  paused,
  restartLoops,
  bothAtOnce,
];
