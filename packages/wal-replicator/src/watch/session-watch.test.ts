import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MemoryStore } from "@vaultwarden-stream/object-store";
import BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ReplicationEvent } from "../events.ts";
import { toTxid } from "../ltx/txid.ts";
import { type Connections, openConnections } from "../ship/connections.ts";
import type { SessionDeps } from "../ship/session-deps.ts";
import { SessionWatch } from "./session-watch.ts";
import { defaultWatchPolicy } from "./watchdog.ts";

const timeline = "00000001-aaaaaaaa";
const levelZero = `${timeline}/0000/0000000000000001-0000000000000001.ltx`;

/** A session that does nothing by itself: each test says what it does from one look to the next. */
describe("SessionWatch", () => {
  let directory: string;
  let application: BetterSqlite3.Database;
  let connections: Connections;
  let events: ReplicationEvent[];
  let clockMs: number;
  let waiting: { name: { maxTxid: bigint }; size: number }[];
  let isMaintaining: boolean;
  let blocksRead: number;
  let store: MemoryStore;
  let watch: SessionWatch;
  let deps: SessionDeps;
  let atEachLook: () => Promise<void>;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "session-watch-"));
    application = new BetterSqlite3(join(directory, "db"));
    application.pragma("journal_mode = WAL");
    application.exec("CREATE TABLE t (x)");
    connections = openConnections(join(directory, "db"), undefined);
    events = [];
    clockMs = 0;
    waiting = [];
    isMaintaining = false;
    blocksRead = 0;
    store = new MemoryStore();
    for (const name of [timeline, "maintenance"]) mkdirSync(join(directory, name));
    const root = { store, prefix: "", timelinesUnder: "" };
    deps = {
      replica: root,
      retryingReplica: root,
      watchPolicy: defaultWatchPolicy,
      now: () => clockMs,
      nowMs: () => clockMs,
      sleep: async (ms: number) => {
        clockMs += ms;
        await atEachLook();
      },
      emit: (event: ReplicationEvent) => events.push(event),
    } as unknown as SessionDeps;
    watch = new SessionWatch({
      deps,
      connections,
      capture: {
        state: { walPosition: undefined, txid: toTxid(1n) },
        get blocksRead() {
          return blocksRead;
        },
      },
      spool: {
        directory,
        state: { timeline },
        get waiting() {
          return waiting;
        },
      } as never,
      storeFailure: () => undefined,
      captureFailure: () => undefined,
      isMaintaining: () => isMaintaining,
      scratchDirectory: () => join(directory, "maintenance"),
    });
    deps = watch.observe(deps);
  });
  afterEach(() => {
    connections.close();
    application.close();
    rmSync(directory, { recursive: true, force: true });
  });

  /** Watches for so many minutes of the virtual clock. @returns which stages stood still. */
  async function stalledWithin(
    minutes: number,
    step: () => Promise<void> | void,
  ): Promise<string[]> {
    const end = new AbortController();
    const endMs = clockMs + minutes * 60_000;
    atEachLook = async () => {
      if (clockMs >= endMs) end.abort();
      await step();
    };
    await watch.run(end.signal);
    return events.flatMap((event) => (event.type === "stalled" ? [event.stage] : []));
  }

  const upload = (): void => {
    application.pragma("wal_checkpoint(TRUNCATE)");
    waiting = [{ name: { maxTxid: 1n }, size: 100 }];
  };

  it("sees a commit that nothing captures, and says so in its status", async () => {
    expect(await stalledWithin(1, () => {})).toEqual(["capture"]);
    expect(watch.status).toMatchObject({
      uncapturedSinceMs: 0,
      stalls: [{ stage: "capture" }],
    });
    expect(watch.status.uncapturedBytes).toBeGreaterThan(4_096);
  });

  it("waits for a pass that reads a large database, or writes a large file", async () => {
    expect(await stalledWithin(5, () => void blocksRead++)).toEqual([]);
    let size = 0;
    const grow = (): void =>
      writeFileSync(join(directory, timeline, "capture.tmp"), new Uint8Array(++size));
    expect(await stalledWithin(5, grow)).toEqual([]);
    expect(await stalledWithin(1, () => {})).toEqual(["capture"]);
  });

  it("waits for an upload of which piece after piece is taken, and not for one of which none is", async () => {
    connections.anchor.letGo();
    upload();
    const pieces = Promise.withResolvers<void>();
    let next = pieces;
    const put = deps.replica.store.putIfAbsent(levelZero, {
      size: 60,
      open: async function* () {
        for (let index = 0; index < 60; index++) {
          await next.promise;
          next = Promise.withResolvers();
          yield new Uint8Array(1);
        }
      },
    });
    const takePiece = async (): Promise<void> => {
      next.resolve();
      await new Promise((resolve) => setImmediate(resolve));
    };
    expect(await stalledWithin(2, takePiece)).toEqual([]);
    expect(await stalledWithin(1, () => {})).toEqual(["upload"]);
    for (let index = 0; index < 70; index++) await takePiece();
    await put;
  });

  it("is not deceived by the lease, nor by what maintenance sends meanwhile", async () => {
    connections.anchor.letGo();
    upload();
    await store.put(levelZero, new Uint8Array(1));
    const others = async (): Promise<void> => {
      await deps.replica.store.put("epochs/00000001.lease.json", new Uint8Array(1));
      await deps.retryingReplica.store.put(`${timeline}/0001/x`, new Uint8Array(1));
      await (await deps.retryingReplica.store.get(levelZero)).body[
        Symbol.asyncIterator
      ]().return?.();
    };
    expect(await stalledWithin(1, others)).toEqual(["upload"]);
  });

  it("waits for a merge that reads the store or writes its file, and not for one that hangs", async () => {
    connections.anchor.letGo();
    application.pragma("wal_checkpoint(TRUNCATE)");
    await store.put(levelZero, new Uint8Array(1));
    isMaintaining = true;
    const read = async (): Promise<void> => void (await deps.retryingReplica.store.head(levelZero));
    expect(await stalledWithin(5, read)).toEqual([]);
    let size = 0;
    const grow = (): void =>
      writeFileSync(join(directory, "maintenance", "merged.tmp"), new Uint8Array(++size));
    expect(await stalledWithin(5, grow)).toEqual([]);
    const renew = (): Promise<void> =>
      deps.replica.store.put("epochs/00000001.lease.json", new Uint8Array(1));
    expect(await stalledWithin(1, renew)).toEqual(["maintenance"]);
    isMaintaining = false;
    await stalledWithin(1, () => {});
    expect(events.at(-1)).toMatchObject({ type: "stall-ended", stage: "maintenance" });
  });
});
