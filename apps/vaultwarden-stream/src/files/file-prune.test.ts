import { listManifests, type PruneResult } from "@vaultwarden-stream/file-sync";
import { FaultyStore, MemoryStore, type StoreCall } from "@vaultwarden-stream/object-store";
import { beforeEach, expect, it } from "vitest";
import { parseTxid, type ReplicaListing, type Txid } from "wal-replicator";
import { FilePrune } from "./file-prune.ts";

const timeline = "00000001-aaaaaaaa";
const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

let nowMs: number;
let memory: MemoryStore;
let told: (PruneResult | { readonly error: unknown })[];
/** When the database has states: one file of level 3 each. */
let statesMs: number[];
beforeEach(() => {
  nowMs = Date.UTC(2026, 0, 1);
  memory = new MemoryStore({ now: () => new Date(nowMs) });
  told = [];
  statesMs = [];
});

/** A manifest of now, with these paths. */
async function store(sequence: number, paths: readonly string[], ofTimeline = timeline) {
  const time = new Date(nowMs);
  const directories = new Set(
    paths.flatMap((path) => (path.includes("/") ? [path.split("/")[0] ?? ""] : [])),
  );
  const entries = [
    ...[...directories].map((path) => ({ kind: "directory", path, mode: 0o755 })),
    ...paths.map((path) => ({
      kind: "file",
      path,
      mode: 0o644,
      mtimeMs: 0,
      size: 1,
      sha256: Buffer.from(path.padEnd(32, ".")).toString("hex").slice(0, 64),
    })),
  ].toSorted((a, b) => (a.path < b.path ? -1 : 1));
  const txid = "0".repeat(15) + 1;
  const manifest = { version: 1, timeline: ofTimeline, epoch: 1, sequence, txid, time, entries };
  const name = `00000001-${String(sequence).padStart(8, "0")}-${txid}-${time.toISOString().replaceAll(/[-:.]/g, "")}`;
  await memory.put(
    `files/manifests/${ofTimeline}/${name}.json`,
    new TextEncoder().encode(JSON.stringify(manifest)),
  );
}

function listing(head = timeline): ReplicaListing {
  const files = statesMs.map((ms, index) => {
    const txid = parseTxid((index + 1).toString(16).padStart(16, "0")) as Txid;
    const level = index === 0 ? 0 : 3;
    return {
      timeline: head,
      level,
      minTxid: txid,
      maxTxid: txid,
      key: `${index}`,
      size: 1,
      createdAt: new Date(ms),
    };
  });
  return {
    location: "memory:",
    head,
    timelines: [
      {
        timeline: head,
        role: "head",
        parent: null,
        levels: [],
        files,
        recoveryPoints: [],
        recoveryRanges: [],
        unreachableFileCount: 0,
      },
    ],
    epochs: [],
  };
}

/** A process: its own monotonic clock, and no memory of those before. */
function start(
  wrapped: FaultyStore | MemoryStore = memory,
  list = async () => listing(),
): () => Promise<boolean> {
  const prune = new FilePrune({
    store: wrapped,
    listReplica: list,
    retentionMs: 30 * dayMs,
    onPruned: (result) => told.push(result),
    now: () => new Date(nowMs),
    nowMs: () => nowMs,
  });
  return () => prune.runIfDue(timeline, new AbortController().signal);
}

const sequences = async (): Promise<number[]> =>
  (await listManifests(memory)).map(({ sequence }) => sequence);

/** Every 20 minutes for two hours, then two days of nothing. */
async function liveTwoDays(paths: (sequence: number) => readonly string[]): Promise<void> {
  for (let sequence = 1; sequence <= 6; sequence += 1) {
    await store(sequence, paths(sequence));
    nowMs += 20 * minuteMs;
  }
  nowMs += 10 * dayMs;
}

it("keeps a manifest an hour at that age, what each offered state has, and a file that only one in between has", async () => {
  statesMs = [nowMs + minuteMs, nowMs + 85 * minuteMs];
  await liveTwoDays((sequence) => [
    "config.json",
    ...(sequence === 2 ? ["sends/s"] : []),
    ...(sequence === 4 ? ["templates/t"] : []),
  ]);
  const run = start();
  nowMs += 2 * minuteMs;
  expect(await run()).toBe(true);
  // The first is in force at the first state, 5 at the second; 3 and 6 end their hours; 2 alone has what a row may name.
  expect(await sequences()).toEqual([1, 2, 3, 5, 6]);
  expect(told).toMatchObject([{ manifestsDeleted: 1 }]);
});

it("runs once a day, however short the processes live, and not in a start's first minute", async () => {
  statesMs = [nowMs];
  await liveTwoDays(() => ["config.json"]);
  const calls: StoreCall[] = [];
  const counted = new FaultyStore(memory, (call) => {
    calls.push(call);
    return undefined;
  });
  const runs: boolean[] = [];
  for (let count = 0; count < 3 * 48; count += 1) {
    const run = start(counted);
    runs.push(await run());
    nowMs += 2 * minuteMs;
    runs.push(await run());
    runs.push(await run());
    nowMs += 28 * minuteMs;
  }
  expect(runs.filter(Boolean)).toHaveLength(3);
  expect(runs.filter((_, index) => index % 3 === 0)).not.toContain(true);
  expect(told).toHaveLength(3);
  const heads = calls.filter(({ key }) => key === "files/pruned.json");
  // A look by each process, and a mark by each run.
  expect(heads).toHaveLength(3 * 48 + 3);
});

it("a process that lives on asks the store for no day but the first", async () => {
  statesMs = [nowMs];
  await liveTwoDays(() => ["config.json"]);
  const run = start();
  const runs: boolean[] = [];
  for (let hour = 0; hour < 49; hour += 1) {
    nowMs += hourMs;
    runs.push(await run());
  }
  expect(runs.filter(Boolean)).toHaveLength(3);
});

it("says what fails, deletes nothing then, and tries again a day later", async () => {
  statesMs = [nowMs];
  await liveTwoDays(() => ["config.json"]);
  let isAway = true;
  const run = start(memory, async () => {
    if (isAway) throw new Error("the store is away");
    return listing();
  });
  nowMs += 2 * minuteMs;
  expect(await run()).toBe(true);
  expect(told).toMatchObject([{ error: { message: "the store is away" } }]);
  expect(await sequences()).toHaveLength(6);
  isAway = false;
  nowMs += 23 * hourMs;
  expect(await run()).toBe(false);
  nowMs += hourMs;
  expect(await run()).toBe(true);
  expect((await sequences()).length).toBeLessThan(6);
});

it("deletes nothing while the head is another timeline: what is offered is not ours to say", async () => {
  statesMs = [nowMs];
  await liveTwoDays(() => ["config.json"]);
  const run = start(memory, async () => listing("00000002-bbbbbbbb"));
  nowMs += 2 * minuteMs;
  await run();
  expect(await sequences()).toHaveLength(6);
  expect(told).toEqual([]);
});

it("asks a store that does not answer once a day", async () => {
  const calls: StoreCall[] = [];
  const away = new FaultyStore(memory, (call) => {
    calls.push(call);
    return { kind: "error-before", code: "UNREACHABLE" };
  });
  const run = start(away);
  for (let hour = 0; hour < 48; hour += 1) {
    nowMs += hourMs;
    await run();
  }
  expect(told).toMatchObject([
    { error: { code: "UNREACHABLE" } },
    { error: { code: "UNREACHABLE" } },
  ]);
  // The look at the mark, and a day later the run itself.
  expect(calls).toHaveLength(2);
});
