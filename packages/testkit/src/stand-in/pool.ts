/**
 * The server's connection pool. Each statement is a transaction of its own: the server has no others outside of migrations.
 *
 * The busy timeout is waited for outside of SQLite: here all connections share one thread, and there a waiting writer stops neither
 * readers nor `/alive`.
 */
import { setTimeout as sleepMs } from "node:timers/promises";
import Database from "better-sqlite3";
import type { Settings } from "./settings.ts";

/** A value of a row. */
export type SqlValue = string | number | bigint | Uint8Array | null;
export type Row = Readonly<Record<string, SqlValue>>;

interface Connection {
  readonly database: Database.Database;
  readonly busyTimeoutMs: number;
  idleSinceMs: number;
}

/** No connection within `DATABASE_TIMEOUT`. */
export class PoolTimeoutError extends Error {
  override readonly name = "PoolTimeoutError";
}

const reaperIntervalMs = 30_000;
const lockPollMs = 10;
/** The server tries some writes so often, half a second apart. */
const writeAttempts = 10;

export class Pool {
  readonly #settings: Settings;
  readonly #idle: Connection[] = [];
  readonly #reaper: NodeJS.Timeout;
  #openCount = 0;

  /** @throws {SqliteError} if a connection cannot be opened or an init statement is rejected. */
  constructor(settings: Settings) {
    this.#settings = settings;
    // One more than the idle minimum is open after the server's own start.
    const count = Math.min(settings.databaseMinConns + 1, settings.databaseMaxConns);
    for (let index = 0; index < count; index += 1) this.#idle.push(this.#open());
    this.#reaper = setInterval(() => this.#reap(), reaperIntervalMs);
    this.#reaper.unref();
  }

  read(sql: string, ...values: readonly SqlValue[]): Promise<Row[]> {
    return this.#withConnection((connection) =>
      retryWhileBusy(connection.busyTimeoutMs, () =>
        connection.database.prepare<SqlValue[], Row>(sql).all(...values),
      ),
    );
  }

  async readOne(sql: string, ...values: readonly SqlValue[]): Promise<Row | undefined> {
    const [row] = await this.read(sql, ...values);
    return row;
  }

  /** Durable in the WAL, against a crash of the process, when it resolves. @returns how many rows changed. */
  async write(sql: string, ...values: readonly SqlValue[]): Promise<number> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#withConnection((connection) =>
          retryWhileBusy(
            connection.busyTimeoutMs,
            () => connection.database.prepare(sql).run(...values).changes,
          ),
        );
      } catch (error) {
        if (!isBusy(error) || attempt === writeAttempts) throw error;
        await sleepMs(500);
      }
    }
  }

  /** What `/alive` asks: whether a connection answers. It proves the process, not the data. */
  async check(): Promise<void> {
    await this.read("SELECT 1");
  }

  /** Closes all connections that are idle. Only without a job thread does the server come this far. */
  close(): void {
    clearInterval(this.#reaper);
    for (const { database } of this.#idle.splice(0)) database.close();
  }

  async #withConnection<Result>(use: (connection: Connection) => Promise<Result>): Promise<Result> {
    const connection = await this.#checkOut();
    try {
      return await use(connection);
    } finally {
      connection.idleSinceMs = performance.now();
      this.#idle.push(connection);
    }
  }

  async #checkOut(): Promise<Connection> {
    const deadlineMs = performance.now() + this.#settings.databaseTimeoutMs;
    for (;;) {
      const connection = this.#idle.pop();
      if (connection !== undefined) return connection;
      if (this.#openCount < this.#settings.databaseMaxConns) return this.#open();
      if (performance.now() >= deadlineMs) throw new PoolTimeoutError("no connection is free");
      await sleepMs(lockPollMs);
    }
  }

  #open(): Connection {
    const database = new Database(this.#settings.databasePath, {
      readonly: this.#settings.databaseReadOnly,
      timeout: 0,
    });
    try {
      database.exec(this.#settings.databaseConnInit);
      const busyTimeoutMs = database.pragma("busy_timeout", { simple: true }) as number;
      database.pragma("busy_timeout = 0");
      this.#openCount += 1;
      return { database, busyTimeoutMs, idleSinceMs: performance.now() };
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /** All idle connections may go in one tick, since their replacements are opened behind it: then the last close empties the WAL. */
  #reap(): void {
    const limitMs = performance.now() - this.#settings.databaseIdleTimeoutMs;
    for (const connection of this.#idle.splice(0)) {
      if (connection.idleSinceMs > limitMs) {
        this.#idle.push(connection);
        continue;
      }
      connection.database.close();
      this.#openCount -= 1;
    }
    setImmediate(() => {
      try {
        while (this.#openCount < this.#settings.databaseMinConns) this.#idle.push(this.#open());
      } catch {
        // The pool stays smaller; whoever needs a connection next opens one and hears why it fails.
      }
    });
  }
}

/** Whether somebody else's lock is the reason. */
export function isBusy(error: unknown): boolean {
  return error instanceof Database.SqliteError && error.code.startsWith("SQLITE_BUSY");
}

async function retryWhileBusy<Result>(timeoutMs: number, run: () => Result): Promise<Result> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    try {
      return run();
    } catch (error) {
      if (!isBusy(error) || performance.now() >= deadlineMs) throw error;
      await sleepMs(lockPollMs);
    }
  }
}
