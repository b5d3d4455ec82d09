import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createPrng, type Prng } from "@vaultwarden-stream/testkit";
import Database from "better-sqlite3";
import { type Engine, EngineError, type EngineOptions, startEngine } from "../support/engine.ts";
import { restoreLabels } from "../writers/law.ts";
import { commitLabel, readLabels, rowSchema } from "../writers/row-database.ts";

/** The named points of `ship/crash-point.ts`. */
export const crashPoints = [
  "epoch-taken",
  "timeline-entered",
  "captured-not-durable",
  "spooled",
  "barrier-held",
  "checkpointed",
  "stored-not-marked",
  "marked",
  "flushed",
  "state-saved",
  "released",
] as const;

/**
 * A life of an engine that is killed once: as `CrashLife`, but cheap enough for hundreds of seeds. The application is this process; the engine is
 * a process of its own, and so is the store.
 *
 * The law: what the store restores is a state that was committed, with everything that it had confirmed; after the kill, and again
 * when the next engine has gone on.
 */
export class KilledStream implements AsyncDisposable {
  readonly prng: Prng;
  readonly #directory: string;
  readonly #replica: string;
  readonly #database: Database.Database;
  readonly #committed: string[] = [];
  #confirmedCount = 0;
  #engine: Engine | undefined;

  constructor(seed: number, replica: string) {
    this.prng = createPrng(seed);
    this.#replica = replica;
    this.#directory = mkdtempSync(join(tmpdir(), `killed-${seed}-`));
    this.#database = new Database(join(this.#directory, "app.db"), { timeout: 20_000 });
    this.#database.pragma(`page_size = ${this.prng.pick([512, 1024, 4096])}`);
    this.#database.pragma("journal_mode = wal");
    this.#database.exec(rowSchema);
    this.commit(this.prng.integer(0, 5));
  }

  /** @returns whether it streams: else the crash point was hit in the start. */
  async start(options: Pick<EngineOptions, "crashAt" | "crashNth"> = {}): Promise<boolean> {
    try {
      this.#engine = await startEngine({
        database: this.#database.name,
        replica: this.#replica,
        syncIntervalMs: 1,
        checkpointPolicy: { passiveFrames: 10, barrierBytes: 20_000 },
        ...options,
      });
      return true;
    } catch (error) {
      if (error instanceof EngineError && error.code === "CRASHED") return false;
      throw error;
    }
  }

  commit(count: number): void {
    for (let index = 0; index < count; index++) {
      const label = `W-${this.#committed.length}`;
      commitLabel(this.#database, label);
      this.#committed.push(label);
    }
  }

  /** Commits and confirms at random until the engine is gone. @returns false if so many commits did not end it. */
  async writeUntilKilled(commitsMax: number): Promise<boolean> {
    const engine = this.#engine as Engine;
    let isGone = false;
    const gone = engine.exited.then(() => {
      isGone = true;
    });
    for (let count = 0; count < commitsMax && !isGone; count++) {
      this.commit(this.prng.integer(1, 3));
      const isAsked = this.prng.chance(0.3);
      // A turn for the messages of the engine: without one, nothing here would ever hear of its end.
      if (isAsked) await Promise.race([this.confirm().catch(ignoreCrash), gone]);
      else await delay(this.prng.integer(0, 3));
    }
    return isGone;
  }

  /** Commits one by one, each time until it is captured, for nobody confirms anything. @returns false if so many did not end the engine. */
  async captureUntilKilled(commitsMax: number): Promise<boolean> {
    const engine = this.#engine as Engine;
    for (let count = 0; count < commitsMax; count++) {
      this.commit(1);
      const { length } = engine.events;
      while (engine.events.slice(length).every(({ type }) => type !== "captured")) {
        const isGone = await Promise.race([engine.exited.then(() => true), delay(1, false)]);
        if (isGone) return true;
      }
    }
    return false;
  }

  async confirm(): Promise<void> {
    const { length } = this.#committed;
    await (this.#engine as Engine).flush();
    this.#confirmedCount = length;
  }

  async kill(): Promise<void> {
    await this.#engine?.kill();
  }

  /** Stops the engine. @returns false if it was killed on the way. */
  async stop(): Promise<boolean> {
    const { length } = this.#committed;
    try {
      const { released } = await (this.#engine as Engine).stop(false);
      if (released) this.#confirmedCount = length;
      return true;
    } catch (error) {
      ignoreCrash(error);
      return false;
    }
  }

  /** What the store has, held against the law. */
  async checkRestored(): Promise<void> {
    if (this.#confirmedCount === 0) return; // nothing may be there yet
    const labels = await restoreLabels(this.#replica);
    if (labels.length < this.#confirmedCount) {
      throw new Error(`${this.#confirmedCount} were confirmed, and ${labels.length} restored`);
    }
    const line = readLabels(this.#database);
    const strange = labels.find((label, index) => label !== line[index]);
    if (strange !== undefined) throw new Error(`${strange} was restored, and is not of this line`);
  }

  /** After the kill: the store is sound, and the next engine goes on. */
  async checkRecovery(): Promise<void> {
    await this.checkRestored();
    this.commit(this.prng.integer(0, 20));
    if (!(await this.start())) throw new Error("the next engine does not start");
    this.commit(this.prng.integer(0, 5));
    await this.confirm();
    await this.checkRestored();
    await this.kill();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.#database.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** One life from its seed: killed at a named point, or at any moment. */
export async function liveAndDie(seed: number, replica: string): Promise<void> {
  await using life = new KilledStream(seed, replica);
  const { prng } = life;
  if (prng.chance(0.4)) {
    // An engine before, so that the one that is killed finds a timeline.
    await life.start();
    await life.writeUntilKilled(prng.integer(1, 10));
    if (prng.chance(0.5)) await life.stop();
    else await life.kill();
  }
  const crashAt = prng.chance(0.6) ? prng.pick(crashPoints) : undefined;
  const point = crashAt === undefined ? {} : { crashAt, crashNth: prng.integer(1, 4) };
  if (await life.start(point)) {
    const isGone = await life.writeUntilKilled(prng.integer(1, 40));
    if (!isGone && (crashAt === undefined || (await life.stop()))) await life.kill();
  }
  await life.checkRecovery();
}

function ignoreCrash(error: unknown): void {
  if (!(error instanceof EngineError) || error.code !== "CRASHED") throw error;
}
