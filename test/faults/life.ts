import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { RetryingStore } from "@vaultwarden-stream/object-store";
import Database from "better-sqlite3";
import type { Replication, ReplicationEvent } from "wal-replicator";
import { restoreDatabase, startReplicator } from "wal-replicator/internals";
import { commitLabel, readLabels } from "../writers/row-database.ts";
import type { Beginning } from "./beginnings.ts";
import type { FaultyPlace, Requests } from "./faulty-place.ts";

export const phases = ["start", "stream", "stop", "restore"] as const;
export type Phase = (typeof phases)[number];

export interface Trouble {
  /** Requests of this phase fail. */
  readonly phase: Phase;
  /** From the `skip + 1`-th on, `times` of them. */
  readonly skip: number;
  readonly times: number;
}

/**
 * A stream from its start to its release and the restore behind it, in which some requests of one phase fail. The law:
 *
 * - whatever a call throws and an event says has a code, the cause and what to do about it, and no secret;
 * - once nothing fails any more, the next call succeeds, and in the end all is stored and released;
 * - each restore has everything that was acknowledged before it, and is a state that was committed;
 * - a fault is never taken for a stranger: the stream stays on its timeline, and one that branched off gets its base;
 * - nothing in the store is deleted or overwritten with other bytes, but leases and the scratch keys of a probe.
 */
export class FaultLife {
  readonly violations: string[] = [];
  readonly #place: FaultyPlace;
  readonly #trouble: Trouble;
  readonly #directory = mkdtempSync(join(tmpdir(), "fault-"));
  readonly #path = join(this.#directory, "volume", "app.db");
  readonly #events: ReplicationEvent[] = [];
  readonly #committed: string[];
  #acknowledgedCount: number;
  #requests: Requests = { requestCount: 0, failedCount: 0 };
  #database: Database.Database | undefined;
  #replication: Replication | undefined;
  #restoreCount = 0;
  #startCount = 0;
  #based = Promise.withResolvers<void>();

  /** @param isStored - whether the store has what the beginning's database holds. */
  constructor(place: FaultyPlace, beginning: Beginning, isStored: boolean, trouble: Trouble) {
    this.#place = place;
    this.#trouble = trouble;
    this.#committed = [...beginning.labels];
    this.#acknowledgedCount = isStored ? beginning.labels.length : 0;
    beginning.copyVolume(join(this.#directory, "volume"));
  }

  /** @returns the requests of the phase: none has failed if there are no more of them than are skipped. */
  async run(): Promise<Requests> {
    try {
      await this.#live();
    } catch (error) {
      this.violations.push(`ended by ${inspect(error)}`);
    } finally {
      this.#place.lift();
      this.#database?.close();
      await this.#replication?.stop({ timeoutMs: 1 }).catch(() => {}); // a violation already
      rmSync(this.#directory, { recursive: true, force: true });
    }
    for (const event of this.#events) this.#checkEvent(event);
    if (this.#events.filter(({ type }) => type === "started").length > this.#startCount) {
      this.violations.push("a fault made the stream begin another timeline by itself");
    }
    this.violations.push(...this.#place.destroyed());
    return this.#requests;
  }

  async #live(): Promise<void> {
    await this.#during("start", () => this.#start());
    await this.#during("stream", async () => {
      // Before anything is committed: what is tried again is the same file then.
      await this.#untilBased();
      for (let round = 0; round < 3; round++) {
        this.#commit();
        await this.#acknowledge();
      }
    });
    this.#commit();
    const isReleased = await this.#during("stop", () => this.#stop());
    if (isReleased) this.#acknowledgedCount = this.#committed.length;
    await this.#during("restore", () => this.#restore());

    // All is well again: the next start has it all, whatever the end before it was like.
    await this.#start();
    this.#commit();
    await this.#acknowledge();
    if (!(await this.#stop())) this.violations.push("not released although nothing failed");
    await this.#restore();
  }

  async #during<T>(phase: Phase, work: () => Promise<T>): Promise<T> {
    const { skip, times } = this.#trouble;
    const isOurs = phase === this.#trouble.phase;
    if (isOurs) this.#place.arm(skip, times);
    try {
      return await work();
    } finally {
      if (isOurs) this.#requests = this.#place.lift();
    }
  }

  async #start(): Promise<void> {
    this.#replication = await this.#tryAgain("start", () =>
      startReplicator(
        {
          database: this.#path,
          replica: "unused",
          syncIntervalMs: 1,
          Database,
          onEvent: (event) => {
            this.#events.push(event);
            if (event.type === "base-stored") this.#based.resolve();
          },
        },
        { store: this.#place.store },
      ),
    );
    this.#startCount += 1;
    this.#database ??= new Database(this.#path);
  }

  /** A timeline that branched off gets its base. */
  async #untilBased(): Promise<void> {
    const started = this.#events.findLast((event) => event.type === "started");
    if (started?.continued !== false || started.parent === null) return;
    const timeout = AbortSignal.timeout(60_000);
    timeout.addEventListener("abort", () => this.#based.reject(new Error("no base was stored")));
    await this.#based.promise;
  }

  #commit(): void {
    if (this.#database === undefined) throw new Error("there is no database yet");
    const label = `W-${this.#committed.length}`;
    commitLabel(this.#database, label);
    this.#committed.push(label);
  }

  async #acknowledge(): Promise<void> {
    await this.#tryAgain("flush", async () => {
      const { length } = this.#committed;
      try {
        await this.#replication?.flush({ signal: AbortSignal.timeout(60_000) });
      } catch (error) {
        await this.#replication?.stop({ timeoutMs: 1 }).catch(() => {}); // `flush` said why
        await this.#start();
        throw error;
      }
      this.#acknowledgedCount = length;
    });
  }

  /** @returns whether all is stored and the epoch released. */
  async #stop(): Promise<boolean> {
    const replication = this.#replication;
    this.#replication = undefined;
    try {
      const result = await replication?.stop({ timeoutMs: 30_000 });
      return result?.released === true;
    } catch (error) {
      this.#checkError("stop", error);
      return false;
    }
  }

  async #restore(): Promise<void> {
    const labels = await this.#tryAgain("restore", async () => {
      this.#restoreCount += 1;
      const path = join(this.#directory, `restored-${this.#restoreCount}.db`);
      const store = new RetryingStore(this.#place.store, {
        budgetMs: 60_000,
        onRetry: ({ error }) => this.#checkError("restore, tried again", error),
      });
      await restoreDatabase({ root: { store, prefix: "", timelinesUnder: "" }, path });
      const database = new Database(path);
      try {
        return readLabels(database);
      } finally {
        database.close();
      }
    });
    if (labels.length < this.#acknowledgedCount) {
      this.violations.push(
        `${this.#acknowledgedCount} rows were acknowledged, and ${labels.length} restored`,
      );
    }
    if (labels.some((label, index) => label !== this.#committed[index])) {
      this.violations.push("what was restored was never committed");
    }
  }

  /** As often as requests may fail, and once more. Whatever fails says why. */
  async #tryAgain<T>(what: string, work: () => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        this.#checkError(what, error);
        if (attempt === this.#trouble.times) throw error;
      }
    }
  }

  #checkError(what: string, error: unknown): void {
    const { code, message, hint } = error as { code?: unknown; message?: unknown; hint?: unknown };
    if (typeof code !== "string" || typeof message !== "string" || message === "") {
      this.violations.push(`${what}: not one of our errors: ${inspect(error)}`);
    } else if (typeof hint !== "string" && !message.includes("injected fault")) {
      this.violations.push(`${what}: says nothing about what to do: ${code} ${message}`);
    }
    this.#checkSecrets(what, inspect(error, { depth: 10, showHidden: true }));
  }

  #checkEvent(event: ReplicationEvent): void {
    this.#checkSecrets(event.type, inspect(event, { depth: 10 }));
    if (event.type === "store-failing") this.#checkError(event.type, event);
  }

  #checkSecrets(what: string, text: string): void {
    const found = this.#place.secrets.find((secret) => text.includes(secret));
    if (found !== undefined) this.violations.push(`${what}: shows ${found.slice(0, 4)}…: ${text}`);
  }
}
