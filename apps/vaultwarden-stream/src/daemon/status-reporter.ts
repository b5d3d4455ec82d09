import { statSync } from "node:fs";
import {
  type FencedEvent,
  formatTxid,
  type Replication,
  type ReplicationEvent,
  type ReplicationStatus,
  type RestoreProgress,
  type StoreUsage,
} from "wal-replicator";
import { formatTime } from "wal-replicator/command-line";
import {
  type DaemonStatus,
  type FilesStatus,
  heartbeatMs,
  type StatusFile,
} from "./status-file.ts";
import { toBudget, toMaintenance, toSourceCheck, toWatchStatus } from "./watch-status.ts";

/** How often the WAL is looked at. */
const lookIntervalMs = 250;
/** A write so soon after another one may leave the same time on the WAL. */
const walTimeStepMs = 50;
/** A restore says how far it is for every piece; as often as this it is written down. */
const restoreNoteMs = 1_000;
/** Of the files that cannot be stored, so many are named. */
const problemCountMax = 20;

type StatusChanges = Parameters<StatusFile["update"]>[0];

/**
 * Keeps the status file true while the stream runs. What it reports as stored comes from `flush()`, which the store has confirmed,
 * and not from counting what was sent. Idle, it costs four `stat`s a second and one small file every 30 s.
 */
export class StatusReporter {
  readonly #file: StatusFile;
  readonly #usage: () => StoreUsage | undefined;
  readonly #walPath: string;
  readonly #stopped = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #walSeen = "never looked at";
  /** What was seen of the WAL is stored. */
  #isStored = false;
  #changed = true;
  #writtenMs = 0;
  #flushing = false;
  #storedAsOf: Date | undefined;
  /** 0: not known. */
  #lastCommitMs = 0;
  #fenced: FencedEvent | undefined;
  #files: FilesStatus | null = null;
  #restoringSince: string | undefined;
  #restoreNotedMs = Number.NEGATIVE_INFINITY;

  /** @param usage - what went to the store so far. */
  constructor(file: StatusFile, database: string, usage: () => StoreUsage | undefined) {
    this.#file = file;
    this.#usage = usage;
    this.#walPath = `${database}-wal`;
  }

  /** Takes what only an event says. Also before the stream runs: its start may wait for another writer. */
  note(event: ReplicationEvent): void {
    this.#changed = true;
    if (event.type === "fenced") this.#fenced = event;
    const changes = describeEvent(event, new Date());
    if (changes !== undefined) this.#file.update(changes);
  }

  /** Takes how far the start's restore is: whoever looks at the vault's health has to tell a long restore from one that hangs. */
  noteRestoring({
    bytesDone,
    bytesTotal,
  }: Pick<RestoreProgress, "bytesDone" | "bytesTotal">): void {
    if (performance.now() - this.#restoreNotedMs < restoreNoteMs) return;
    this.#restoreNotedMs = performance.now();
    const progressAt = formatTime(new Date());
    this.#restoringSince ??= progressAt;
    this.#file.update({
      restoring: { since: this.#restoringSince, progressAt, bytesDone, bytesTotal },
    });
  }

  /** Takes what the last look at the files, or the last push, has found. */
  noteFiles(files: FilesStatus): void {
    this.#changed = true;
    this.#files = { ...files, problems: files.problems.slice(0, problemCountMax) };
    this.#file.update({ files: this.#files });
  }

  /** Whether uploads are stopped has changed. */
  noteBudget(): void {
    const usage = this.#usage();
    if (usage !== undefined) this.#file.update({ budget: toBudget(usage, Date.now()) });
  }

  /** Reports on the stream from now on. */
  follow(replication: Replication): void {
    this.#file.update({ restoring: null, streamingSince: formatTime(new Date()) });
    this.#timer = setInterval(() => void this.#look(replication), lookIntervalMs);
    void this.#look(replication);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#stopped.abort();
  }

  async #look(replication: Replication): Promise<void> {
    const now = new Date();
    const wal = this.#lookAtWal();
    // An empty WAL has its time from the checkpoint that emptied it.
    if (wal.size > 0) this.#lastCommitMs = wal.mtimeMs;
    if (wal.text !== this.#walSeen) {
      if (!this.#flushing) {
        this.#walSeen = wal.text;
        this.#isStored = false;
        void this.#flush(replication, now);
      }
    } else if (this.#isStored && now.getTime() - wal.mtimeMs > walTimeStepMs) {
      // Nothing was committed since. Said at once after a change, then with each heartbeat: somebody may wait for it.
      this.#changed ||= (this.#storedAsOf?.getTime() ?? 0) <= wal.mtimeMs + walTimeStepMs;
      this.#storedAsOf = now;
    }
    if (!this.#changed && performance.now() - this.#writtenMs < heartbeatMs) return;
    this.#changed = false;
    this.#writtenMs = performance.now();
    const status = await replication.status().catch(() => undefined);
    // Without an answer the stream has ended, and whoever ended it writes the last word.
    if (status === undefined || this.#stopped.signal.aborted) return;
    const usage = this.#usage();
    const lastCommitAt = this.#lastCommitMs === 0 ? null : formatTime(this.#lastCommitMs);
    this.#file.update({
      ...describeStatus(status, this.#files, this.#fenced),
      storedAsOf: this.#storedAsOf === undefined ? null : formatTime(this.#storedAsOf),
      lastCommitAt,
      budget: usage === undefined ? null : toBudget(usage, now.getTime()),
    });
  }

  async #flush(replication: Replication, asOf: Date): Promise<void> {
    this.#flushing = true;
    try {
      await replication.flush({ signal: this.#stopped.signal });
      this.#storedAsOf = asOf;
      this.#isStored = true;
      this.#changed = true;
    } catch {
      // Stopped, or the stream has ended: its own end says why.
    } finally {
      this.#flushing = false;
    }
  }

  #lookAtWal(): { readonly text: string; readonly size: number; readonly mtimeMs: number } {
    const stats = statSync(this.#walPath, { throwIfNoEntry: false });
    if (stats === undefined) return { text: "missing", size: 0, mtimeMs: 0 };
    const { ino, size, mtimeMs } = stats;
    return { text: `${ino} ${size} ${mtimeMs}`, size, mtimeMs };
  }
}

/** @returns undefined if the stream's own status says it all. */
export function describeEvent(event: ReplicationEvent, now: Date): StatusChanges | undefined {
  switch (event.type) {
    case "waiting": {
      const until = formatTime(now.getTime() + event.forMs);
      return { waitingFor: { epoch: event.epoch, ...event.owner, until } };
    }
    case "started":
      return { waitingFor: null };
    case "lease-failing": {
      const { code, message } = event;
      return { leaseFailure: { code, message, since: formatTime(now) } };
    }
    case "lease-renewed":
      return { leaseFailure: null };
    case "fenced":
      return describeFenced(event);
    default:
      return undefined;
  }
}

function describeFenced({
  by,
  message,
}: FencedEvent): Pick<DaemonStatus, "status" | "fencedBy" | "leaseFailure" | "failure"> {
  return {
    status: "error",
    fencedBy: by,
    // A branch has no lease to keep.
    leaseFailure: null,
    failure: { code: "FENCED", message },
  };
}

function describeStatus(
  status: ReplicationStatus,
  files: FilesStatus | null,
  fenced: FencedEvent | undefined,
): StatusChanges {
  // Without room here nothing is even captured: the worst of them.
  const failure = status.spoolFailure ?? status.storeFailure ?? filesFailure(files);
  const isDamaged = status.sourceCheck?.complaint !== undefined;
  const isWell = failure === undefined && status.stalls.length === 0 && !isDamaged;
  return {
    status: isWell ? "ok" : "error",
    createIfAbsent: status.createIfAbsent ?? null,
    epoch: status.epoch,
    timeline: status.timeline,
    capturedTxid: status.captured === undefined ? null : formatTxid(status.captured.txid),
    storedTxid: status.storedTxid === undefined ? null : formatTxid(status.storedTxid),
    waitingFiles: status.waitingFiles,
    waitingBytes: status.waitingBytes,
    waitingSince: status.waitingSinceMs === undefined ? null : formatTime(status.waitingSinceMs),
    failure: failure ?? null,
    watch: toWatchStatus(status),
    sourceCheck: status.sourceCheck === undefined ? null : toSourceCheck(status.sourceCheck),
    maintenance: status.maintenance === undefined ? null : toMaintenance(status.maintenance),
    // Whatever the store says: it is no longer about this vault's line.
    ...(fenced === undefined ? {} : describeFenced(fenced)),
  };
}

function filesFailure(files: FilesStatus | null): DaemonStatus["failure"] | undefined {
  if (files?.state !== "failing") return undefined;
  return { code: "FILES_FAILING", message: files.reason ?? "files of the vault cannot be stored" };
}
