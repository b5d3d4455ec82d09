import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type CrashChild,
  createPrng,
  type Prng,
  type RunningChild,
  startCrashChild,
  startTypeScriptChild,
} from "@vaultwarden-stream/testkit";
import Database from "better-sqlite3";
import { formatTxid, restore } from "wal-replicator";
import type { FollowCrashPoint } from "wal-replicator/internals";
import { type Engine, startEngine } from "../support/engine.ts";
import { commitTransfer, ledgerSchema } from "./ledger.ts";

const followerEntry = new URL("follower-main.ts", import.meta.url).pathname;
const readerEntry = new URL("reader-main.ts", import.meta.url).pathname;

/** Those of a transaction. */
const crashPoints: readonly FollowCrashPoint[] = [
  "state-written",
  "journal-written",
  "journal-hot",
  "half-written",
  "pages-written",
  "committed",
];

/** Everything in seconds: levels are merged, snapshots made, and old files removed while the test runs. */
const quickMaintenance = {
  levelIntervalsMs: [1_000, 5_000, 10_000],
  keepMs: [2_000, 10_000, 20_000, 40_000],
  snapshotIntervalMs: 4_000,
  snapshotAtLeastMs: 20_000,
  snapshotGrowth: 0.2,
  graceMs: 2_000,
};

/**
 * An application, the real engine that streams its database, followers that are killed at random and at named points, and a reader of the copy that
 * never may see a state that was not committed. The application is this process; all others are their own.
 */
export class FollowedLife implements AsyncDisposable {
  readonly prng: Prng;
  readonly replica: string;
  readonly copy: string;
  database: Database.Database;
  readonly #directory: string;
  #engine: Engine | undefined;
  #follower: CrashChild | undefined;
  #reader: RunningChild | undefined;
  killCount = 0;

  constructor(directory: string, seed: number) {
    this.prng = createPrng(seed);
    this.#directory = directory;
    this.replica = join(directory, "replica");
    this.copy = join(directory, "copy.db");
    this.database = this.#openSource("app.db");
    this.database.exec(ledgerSchema);
  }

  async startEngine(): Promise<void> {
    this.#engine = await startEngine({
      database: this.database.name,
      replica: this.replica,
      syncIntervalMs: 10,
      ifHeld: "take-over",
      checkpointPolicy: { passiveFrames: 100, barrierBytes: 400_000 },
      maintenance: quickMaintenance,
    });
    await this.#engine.flush();
  }

  /** The engine dies, and its host with it; another one goes on from what the store has, on a timeline of its own. */
  async takeOver(): Promise<void> {
    await this.#engine?.kill();
    const name = `app-${this.killCount}.db`;
    await restore({ replica: this.replica, target: join(this.#directory, name) });
    this.database.close();
    this.database = this.#openSource(name);
    await this.startEngine();
  }

  commit(count: number): void {
    for (let index = 0; index < count; index += 1) commitTransfer(this.database, this.prng);
  }

  async flush(): Promise<string> {
    return formatTxid((await (this.#engine as Engine).flush()).txid);
  }

  /** After which what nobody can ask for any more is removed. */
  async snapshot(): Promise<void> {
    await (this.#engine as Engine).snapshot();
  }

  startReader(): void {
    this.#reader = startTypeScriptChild(readerEntry, { arguments: [this.copy] });
  }

  startFollower(): void {
    const isNamed = this.prng.chance(0.5);
    this.#follower = startCrashChild({
      entry: followerEntry,
      arguments: [this.replica, this.copy],
      crashAt: isNamed ? this.prng.pick(crashPoints) : undefined,
      nth: this.prng.integer(2, 12),
    });
  }

  /** Whether the follower has done so many transactions that readers see, or is dead. */
  hasFollowed(transactions: number): boolean {
    const { stdout } = this.#follower as CrashChild;
    return (
      hasEnded(this.#follower as CrashChild) ||
      stdout().split(`"type":"applied"`).length > transactions
    );
  }

  /** Kills the follower, unless it has done that itself, and starts the next. */
  async nextFollower(): Promise<void> {
    // It has seen something wrong: there is no need to go on.
    if (this.#reader !== undefined && hasEnded(this.#reader)) await this.endReader();
    this.#follower?.process.kill("SIGKILL");
    const exit = await this.#follower?.killed;
    if (exit !== undefined && !exit.byCrash) {
      throw new Error(`the follower ended by itself: ${exit.stderr}${exit.stdout.slice(-2_000)}`);
    }
    this.killCount += 1;
    this.startFollower();
  }

  /** The reader saw nothing wrong. @returns how often it looked, and how often it saw something else than before. */
  async endReader(): Promise<{ lookCount: number; changeCount: number; lastSeq: number }> {
    const reader = this.#reader as RunningChild;
    reader.process.kill("SIGTERM");
    const { code, signal, stdout, stderr } = await reader.exited;
    if (code !== 0) throw new Error(`the reader ended by ${signal ?? code}: ${stderr}`);
    return JSON.parse(stdout) as { lookCount: number; changeCount: number; lastSeq: number };
  }

  /** Follows to the newest state and ends. @returns what the follower said of its end, and all events. */
  async endFollower(txid: string): Promise<{ end: object; events: string }> {
    await this.#follower?.process.kill("SIGKILL");
    await this.#follower?.killed;
    const last = startCrashChild({
      entry: followerEntry,
      arguments: [this.replica, this.copy],
      crashAt: undefined,
    });
    this.#follower = last;
    const isThere = (text: string): boolean => last.stdout().includes(text);
    while (!isThere(`"txid":"${txid}"`) || !isThere(`"type":"ready"`)) {
      if (hasEnded(last)) throw new Error(last.stderr());
      await sleep(20);
    }
    last.process.kill("SIGTERM");
    const { stdout, stderr, code } = await last.killed;
    if (code !== 0) throw new Error(stderr);
    return { end: JSON.parse(stdout.trimEnd().split("\n").at(-1) as string), events: stdout };
  }

  /** What the store restores now, and what lies at the copy's path, byte for byte. */
  async images(): Promise<{ restored: Buffer; copy: Buffer }> {
    const target = join(this.#directory, "restored.db");
    await restore({ replica: this.replica, target, overwrite: true });
    return { restored: readFileSync(target), copy: readFileSync(this.copy) };
  }

  async stopEngine(): Promise<void> {
    await this.#engine?.stop(false);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of [this.#follower, this.#reader]) {
      child?.process.kill("SIGKILL");
      await child?.exited;
    }
    await this.#engine?.kill();
    this.database.close();
  }

  #openSource(name: string): Database.Database {
    const database = new Database(join(this.#directory, name), { timeout: 20_000 });
    database.pragma("journal_mode = wal");
    return database;
  }
}

function hasEnded({ process }: RunningChild): boolean {
  return process.exitCode !== null || process.signalCode !== null;
}
