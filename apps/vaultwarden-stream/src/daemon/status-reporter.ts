import { statSync } from "node:fs";
import { formatTxid, type Replication, type ReplicationStatus } from "wal-replicator";
import { formatTime } from "wal-replicator/command-line";
import type { StatusFile } from "./status-file.ts";

/** How often the WAL is looked at, and how often the file is written although nothing happened. */
const lookIntervalMs = 250;
const heartbeatMs = 30_000;

/**
 * Keeps the status file true while the stream runs. What it reports as stored comes from `flush()`, which the store has confirmed,
 * and not from counting what was sent. Idle, it costs four `stat`s a second and one small file every 30 s.
 */
export class StatusReporter {
  readonly #file: StatusFile;
  readonly #replication: Replication;
  readonly #walPath: string;
  readonly #stopped = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #walSeen = "never looked at";
  #changed = true;
  #writtenMs = 0;
  #flushing = false;
  #storedAsOf: Date | undefined;

  constructor(file: StatusFile, replication: Replication, database: string) {
    this.#file = file;
    this.#replication = replication;
    this.#walPath = `${database}-wal`;
  }

  start(): void {
    this.#timer = setInterval(() => void this.#look(), lookIntervalMs);
    void this.#look();
  }

  /** Something happened that the file does not say yet. */
  changed(): void {
    this.#changed = true;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#stopped.abort();
  }

  async #look(): Promise<void> {
    const wal = this.#describeWal();
    if (wal !== this.#walSeen && !this.#flushing) {
      this.#walSeen = wal;
      void this.#flush(new Date());
    }
    if (!this.#changed && performance.now() - this.#writtenMs < heartbeatMs) return;
    this.#changed = false;
    this.#writtenMs = performance.now();
    const status = await this.#replication.status().catch(() => undefined);
    // Without an answer the stream has ended, and whoever ended it writes the last word.
    if (status === undefined || this.#stopped.signal.aborted) return;
    this.#file.update(describeStatus(status, this.#storedAsOf));
  }

  async #flush(asOf: Date): Promise<void> {
    this.#flushing = true;
    try {
      await this.#replication.flush({ signal: this.#stopped.signal });
      this.#storedAsOf = asOf;
      this.#changed = true;
    } catch {
      // Stopped, or the stream has ended: its own end says why.
    } finally {
      this.#flushing = false;
    }
  }

  #describeWal(): string {
    const stats = statSync(this.#walPath, { throwIfNoEntry: false });
    return stats === undefined ? "missing" : `${stats.ino} ${stats.size} ${stats.mtimeMs}`;
  }
}

function describeStatus(
  status: ReplicationStatus,
  storedAsOf: Date | undefined,
): Parameters<StatusFile["update"]>[0] {
  return {
    status: status.storeFailure === undefined ? "ok" : "error",
    epoch: status.epoch,
    timeline: status.timeline,
    capturedTxid: status.captured === undefined ? null : formatTxid(status.captured.txid),
    storedTxid: status.storedTxid === undefined ? null : formatTxid(status.storedTxid),
    storedAsOf: storedAsOf === undefined ? null : formatTime(storedAsOf),
    waitingFiles: status.waitingFiles,
    waitingBytes: status.waitingBytes,
    waitingSince: status.waitingSinceMs === undefined ? null : formatTime(status.waitingSinceMs),
    failure: status.storeFailure ?? null,
  };
}
