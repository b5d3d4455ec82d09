import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MemoryStore, type ObjectStore } from "@vaultwarden-stream/object-store";
import BetterSqlite3 from "better-sqlite3";
import { expect } from "vitest";
import type { FollowOptions } from "./follow.ts";
import type { FollowCrashPointListener } from "./follow-crash-point.ts";
import type { FollowEvent } from "./follow-events.ts";
import { rootOfStore, TestSource } from "./follow-testing.ts";
import { RunningFollower } from "./follower.ts";

export interface TestFollower extends RunningFollower {
  readonly events: FollowEvent[];
}

/**
 * A replica in memory with its source, and followers of it in this process. Time is the test's: it goes on by what a follower sleeps, and by
 * `elapse`.
 */
export class FollowPlace implements AsyncDisposable {
  readonly directory: string = mkdtempSync(join(tmpdir(), "follow-"));
  readonly store: MemoryStore = new MemoryStore({ now: () => new Date(this.nowMs) });
  readonly source: TestSource;
  readonly copy: string = join(this.directory, "copy.db");
  nowMs: number = Date.UTC(2026, 10, 24);
  /** How often followers went to sleep: once after each poll that found nothing. */
  sleepCount = 0;
  readonly #running = new Set<RunningFollower>();
  #held: PromiseWithResolvers<void> | undefined;
  #heldCount = 0;

  constructor(options: { readonly pageSize?: number } = {}) {
    this.source = new TestSource(this.store, this.directory, options);
  }

  start(
    options: Partial<FollowOptions> & {
      readonly over?: ObjectStore;
      readonly at?: FollowCrashPointListener;
    } = {},
  ): TestFollower {
    const { over = this.store, at = () => {}, ...rest } = options;
    const events: FollowEvent[] = [];
    const follower = new RunningFollower(
      {
        replica: "memory",
        output: this.copy,
        onEvent: (event) => events.push(event),
        ...rest,
      },
      {
        root: rootOfStore(over),
        now: () => this.nowMs,
        nowMs: () => this.nowMs,
        sleep: async (ms) => {
          this.nowMs += ms;
          this.sleepCount += 1;
          await new Promise((resolve) => setTimeout(resolve, 1));
          if (this.#held === undefined) return;
          this.#heldCount += 1;
          await this.#held.promise;
          this.#heldCount -= 1;
        },
        at,
      },
    );
    this.#running.add(follower);
    follower.done.catch(() => {}).finally(() => this.#running.delete(follower));
    return Object.assign(follower, { events });
  }

  /** Keeps all that run asleep while the work is done. */
  async whileAsleep(work: () => Promise<void>): Promise<void> {
    this.#held = Promise.withResolvers<void>();
    await expect.poll(() => this.#heldCount).toBe(this.#running.size);
    await work();
    this.#held.resolve();
    this.#held = undefined;
  }

  elapse(ms: number): void {
    this.nowMs += ms;
  }

  /** As any application reads the copy: over a connection of its own. */
  read(): { readonly rows: number; readonly integrity: string } {
    const reader = new BetterSqlite3(this.copy, { timeout: 5_000 });
    try {
      return readRows(reader);
    } finally {
      reader.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const follower of this.#running) await follower.stop().catch(() => {});
    this.source.database.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A reader that stays open. */
export class OpenReader implements Disposable {
  readonly database: BetterSqlite3.Database;

  constructor(path: string) {
    this.database = new BetterSqlite3(path, { timeout: 5_000 });
  }

  [Symbol.dispose](): void {
    this.database.close();
  }
}

export function readRows(reader: BetterSqlite3.Database): {
  readonly rows: number;
  readonly integrity: string;
} {
  return {
    rows: reader.prepare("SELECT count(*) FROM t").pluck().get() as number,
    integrity: reader.pragma("integrity_check", { simple: true }) as string,
  };
}

/** The copy, and what it is to be the same as, byte for byte. */
export function expectVerbatim(place: { readonly copy: string }, image: Uint8Array): void {
  expect(Buffer.compare(readFileSync(place.copy), image)).toBe(0);
}

export async function reaches(follower: TestFollower, txid: number): Promise<void> {
  await expect
    .poll(() => {
      const { failure, txid: reached } = follower.status();
      return { failure, txid: Number(reached ?? 0n) };
    })
    .toEqual({ failure: undefined, txid });
}

export async function says<T extends FollowEvent["type"]>(
  follower: TestFollower,
  type: T,
): Promise<Extract<FollowEvent, { type: T }>> {
  const isIt = (event: FollowEvent): event is Extract<FollowEvent, { type: T }> =>
    event.type === type;
  await expect.poll(() => follower.events.map((event) => event.type)).toContain(type);
  return follower.events.find(isIt) as Extract<FollowEvent, { type: T }>;
}
