import BetterSqlite3 from "better-sqlite3";
import { ReplicationError } from "../errors.ts";
import { ReplicaError } from "../replica/replica-error.ts";

export interface CopyLockDeps {
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Readers have held the copy for so long, in milliseconds; called now and then until they let go. */
  readonly onBlocked: (forMs: number) => void;
}

/**
 * SQLite's exclusive lock on the copy, by a connection that never reads or writes a row. Under it we write the file ourselves.
 *
 * It opens the file itself and not through `connection.ts`, whose connections never take a lock that keeps readers out. The lock lives as
 * long as no descriptor of the copy is closed in this process (fcntl(2)): whoever has one closes it after this.
 */
export class CopyLock {
  readonly #path: string;
  readonly #deps: CopyLockDeps;
  #connection: BetterSqlite3.Database;

  /** @throws {ReplicaError} `TARGET_UNWRITABLE` */
  constructor(path: string, deps: CopyLockDeps) {
    this.#path = path;
    this.#deps = deps;
    this.#connection = this.#open();
  }

  /**
   * Lets SQLite roll back what a killed transaction left, if it left something.
   *
   * @throws {ReplicationError} `COPY_CHANGED` if the file is no database. @throws the abort reason.
   */
  async recover(signal: AbortSignal): Promise<void> {
    await this.#untilFree(signal, () => this.#connection.pragma("schema_version"));
    // Of a copy that rests in WAL mode, the connection would now be one of its readers, which keep `take` waiting.
    this.#connection.close();
    this.#connection = this.#open();
  }

  /**
   * Waits until no reader is in a transaction, and keeps all out from then on.
   *
   * @param isAtRest - the copy is in WAL mode: then until no reader is connected.
   * @returns gives the lock back; without having written anything itself.
   * @throws the abort reason, and what SQLite fails with.
   */
  async take(isAtRest: boolean, signal: AbortSignal): Promise<() => void> {
    await this.#untilFree(signal, () => {
      if (!isAtRest) return this.#connection.exec("BEGIN EXCLUSIVE");
      this.#connection.pragma("locking_mode = EXCLUSIVE");
      return this.#connection.pragma("schema_version");
    });
    return () => {
      if (!isAtRest) this.#connection.exec("ROLLBACK");
      else {
        this.#connection.close();
        this.#connection = this.#open();
      }
    };
  }

  close(): void {
    this.#connection.close();
  }

  #open(): BetterSqlite3.Database {
    try {
      return new BetterSqlite3(this.#path, { fileMustExist: true, timeout: busyTimeoutMs });
    } catch (error) {
      throw toCopyError(this.#path, error);
    }
  }

  /** Asks again and again: each time for a moment, since SQLite keeps new readers out and the whole process waiting meanwhile. */
  async #untilFree(signal: AbortSignal, work: () => unknown): Promise<void> {
    const startedMs = this.#deps.nowMs();
    for (let pauseMs = 20; ; pauseMs = Math.min(pauseMs * 2, pauseMsMax)) {
      signal.throwIfAborted();
      try {
        work();
        return;
      } catch (error) {
        if (!String((error as { code?: unknown }).code).startsWith("SQLITE_BUSY")) {
          throw toCopyError(this.#path, error);
        }
      }
      this.#deps.onBlocked(this.#deps.nowMs() - startedMs);
      await this.#deps.sleep(pauseMs, signal);
    }
  }
}

const busyTimeoutMs = 50;
const pauseMsMax = 500;

function toCopyError(path: string, cause: unknown): unknown {
  const { code, message } = cause as { code?: unknown; message?: unknown };
  if (typeof code !== "string" || !code.startsWith("SQLITE_")) return cause;
  if (/^SQLITE_(NOTADB|CORRUPT)/.test(code)) {
    return new ReplicationError(
      "COPY_CHANGED",
      `${path} is no database any more: ${message}`,
      "Somebody wrote into it. Move it away, or have it overwritten.",
      { cause },
    );
  }
  return new ReplicaError("TARGET_UNWRITABLE", `SQLite cannot lock ${path}: ${message}`, {
    path,
    hint: "Look at the permissions of the copy and of its directory, and at the disk.",
    cause,
  });
}
