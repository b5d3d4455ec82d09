import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { type DrillStatus, drillStatus } from "./drill-status.ts";
import type { ProcessIdentity } from "./process-identity.ts";
import {
  type Budget,
  budget,
  type Maintenance,
  maintenance,
  type SourceCheck,
  sourceCheck,
  type WatchStatus,
  watchStatus,
} from "./watch-status.ts";

/**
 * What the daemon says about itself: one line of JSON in its own state directory beside the database, written by rename, read by
 * `status` and `healthcheck`, by the next start, and by anybody with `grep`. It is a report and nothing depends on its survival, so it is
 * not synced. There is no secret in it, and every user may read it: a health check often runs as another one.
 */
export interface DaemonStatus {
  // The predecessor's keys, exactly and first: its readers cut them out with grep.
  readonly status: "ok" | "error" | "shutdown";
  readonly role: "primary" | "secondary";
  /** Unix seconds, and the same in UTC with whole seconds: when this was written. */
  readonly timestamp: number;
  readonly datetime: string;
  readonly daemon: ProcessIdentity;
  /** When the daemon began, RFC 3339. */
  readonly startedAt: string;
  /** The vault; null before it is started and after it has ended. */
  readonly server: ProcessIdentity | null;
  /** Where the vault listens. */
  readonly url: string;
  /** Where it says that it lives: as the running vault has it, which reads its settings only when it starts. */
  readonly aliveUrl: string;
  /** How long database and files may lag behind before that is unhealthy, in milliseconds: what the daemon was started with. */
  readonly syncAgeMsMax: number;
  readonly database: string;
  readonly store: string;
  /** How far the store keeps a second writer away: `atomic`, it is prevented; `unproved`, it is detected. Null: not known yet. */
  readonly createIfAbsent: "atomic" | "unproved" | null;
  /** Null before the stream, and after a start without the store until that is back. */
  readonly epoch: number | null;
  readonly timeline: string | null;
  /** Since when commits are captured; null before that. */
  readonly streamingSince: string | null;
  /** 16 hex digits: safe from a crash of this process; safe from the loss of this machine. */
  readonly capturedTxid: string | null;
  readonly storedTxid: string | null;
  /** Every commit made before this moment is in the store. RFC 3339; null: not known yet. */
  readonly storedAsOf: string | null;
  /** When the WAL was last written to; null: not known. */
  readonly lastCommitAt: string | null;
  /** What waits for the store: files in the spool, their bytes, since when. */
  readonly waitingFiles: number;
  readonly waitingBytes: number;
  readonly waitingSince: string | null;
  /** The start brings the database back; null: it does not. */
  readonly restoring: RestoreStatus | null;
  /** The start waits for this owner's lease, at most until it is stale (RFC 3339) if nobody renews it. */
  readonly waitingFor: (EpochOwner & { readonly until: string }) | null;
  /** The lease cannot be renewed, since when. Once it is stale, another machine does not wait for us. */
  readonly leaseFailure: {
    readonly code: string;
    readonly message: string;
    readonly since: string;
  } | null;
  /** Who has taken over: the vault is stopped for good, and what it wrote since lies in a branch. */
  readonly fencedBy: (EpochOwner & { readonly timeline: string }) | null;
  /** Why nothing can be captured, why the store's newest answer was none, or what ended the daemon. */
  readonly failure: { readonly code: string; readonly message: string } | null;
  /** What the watchdog sees of the stream; null: it does not run yet. */
  readonly watch: WatchStatus | null;
  /** What SQLite says of the vault's own database; null: it was not looked through yet. */
  readonly sourceCheck: SourceCheck | null;
  /** Levels, snapshots and retention; null: none yet. */
  readonly maintenance: Maintenance | null;
  /** Of this hour's uploads; null: nothing was stored yet. */
  readonly budget: Budget | null;
  /** What is known of attachments, sends and keys; null: not looked at yet, or not kept in the store. */
  readonly files: FilesStatus | null;
  /** When a restore from this store was last proved; null: never. */
  readonly lastProvenRestore: string | null;
  /** Restore drills; null: there are none. */
  readonly drill: DrillStatus | null;
}

interface RestoreStatus {
  readonly since: string;
  /** When it was last seen to get on. */
  readonly progressAt: string;
  readonly bytesDone: number;
  readonly bytesTotal: number;
}

/** The files of the vault, as the last look at them and the last push left them. Times are RFC 3339. */
export interface FilesStatus {
  /** `waiting`: for the store, or for a file that is being written; `held`: deletions that nothing explains are not followed. */
  readonly state: "ok" | "waiting" | "held" | "failing";
  /** Why it is not `ok`. */
  readonly reason?: string | undefined;
  readonly roots: number;
  readonly files: number;
  readonly bytes: number;
  /** Every file that was there before this moment is stored; null: not known yet. */
  readonly storedAsOf: string | null;
  /** Since when something is not stored; null: everything that was seen is. */
  readonly backlogSince: string | null;
  /** Files that wait, and deletions that are held back. */
  readonly waiting: number;
  readonly held: number;
  /** The first twenty. */
  readonly problems: readonly { readonly path: string; readonly why: string }[];
  readonly lastLook: string | null;
  readonly lastPush: string | null;
  /** Key of the newest manifest. */
  readonly manifest: string | null;
}

export interface EpochOwner {
  readonly epoch: number;
  readonly host: string;
  readonly pid: number;
}

const epochOwner = { epoch: z.int(), host: z.string(), pid: z.int() };

const processIdentity: z.ZodType<ProcessIdentity> = z.object({
  pid: z.int().positive(),
  startedTicks: z.string(),
});

const restoreStatus: z.ZodType<RestoreStatus> = z.object({
  since: z.string(),
  progressAt: z.string(),
  bytesDone: z.int(),
  bytesTotal: z.int(),
});

const filesStatus: z.ZodType<FilesStatus> = z.object({
  state: z.enum(["ok", "waiting", "held", "failing"]),
  reason: z.string().optional(),
  roots: z.int(),
  files: z.int(),
  bytes: z.int(),
  storedAsOf: z.string().nullable(),
  backlogSince: z.string().nullable(),
  waiting: z.int(),
  held: z.int(),
  problems: z.array(z.object({ path: z.string(), why: z.string() })),
  lastLook: z.string().nullable(),
  lastPush: z.string().nullable(),
  manifest: z.string().nullable(),
});

const daemonStatus: z.ZodType<DaemonStatus> = z.object({
  status: z.enum(["ok", "error", "shutdown"]),
  role: z.enum(["primary", "secondary"]),
  timestamp: z.int(),
  datetime: z.string(),
  daemon: processIdentity,
  startedAt: z.string(),
  server: processIdentity.nullable(),
  url: z.string(),
  aliveUrl: z.string(),
  syncAgeMsMax: z.int().positive(),
  database: z.string(),
  store: z.string(),
  createIfAbsent: z.enum(["atomic", "unproved"]).nullable(),
  epoch: z.int().nullable(),
  timeline: z.string().nullable(),
  streamingSince: z.string().nullable(),
  capturedTxid: z.string().nullable(),
  storedTxid: z.string().nullable(),
  storedAsOf: z.string().nullable(),
  lastCommitAt: z.string().nullable(),
  waitingFiles: z.int(),
  waitingBytes: z.int(),
  waitingSince: z.string().nullable(),
  restoring: restoreStatus.nullable(),
  waitingFor: z.object({ ...epochOwner, until: z.string() }).nullable(),
  leaseFailure: z.object({ code: z.string(), message: z.string(), since: z.string() }).nullable(),
  fencedBy: z.object({ ...epochOwner, timeline: z.string() }).nullable(),
  failure: z.object({ code: z.string(), message: z.string() }).nullable(),
  watch: watchStatus.nullable(),
  sourceCheck: sourceCheck.nullable(),
  maintenance: maintenance.nullable(),
  budget: budget.nullable(),
  files: filesStatus.nullable(),
  lastProvenRestore: z.string().nullable(),
  drill: drillStatus.nullable(),
});

/** How often the file is written although nothing has happened. */
export const heartbeatMs = 30_000;

/** Where the daemon keeps what it must know about itself. The engine's spool is another directory, and the engine's own. */
export function stateDirectory(database: string): string {
  return join(dirname(database), `.${basename(database)}-stream`);
}

/** @returns undefined if there is no such file, or none that we understand: then no daemon is known. */
export function readStatusFile(database: string): DaemonStatus | undefined {
  let text: string;
  try {
    text = readFileSync(statusPath(database), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    return daemonStatus.parse(JSON.parse(text));
  } catch {
    return undefined; // of another version, or not ours
  }
}

export class StatusFile {
  readonly #now: () => Date;
  readonly #onTrouble: (error: unknown) => void;
  #current: DaemonStatus;

  /**
   * Writes nothing yet.
   *
   * @param onTrouble - the file cannot be written: a full disk, say. Vault and stream go on without it.
   */
  constructor(
    initial: Pick<
      DaemonStatus,
      "daemon" | "url" | "aliveUrl" | "syncAgeMsMax" | "database" | "store"
    >,
    onTrouble: (error: unknown) => void,
    now: () => Date = () => new Date(),
  ) {
    this.#onTrouble = onTrouble;
    this.#now = now;
    this.#current = {
      status: "ok",
      role: "primary",
      timestamp: 0,
      datetime: "",
      startedAt: now().toISOString(),
      server: null,
      createIfAbsent: null,
      epoch: null,
      timeline: null,
      streamingSince: null,
      capturedTxid: null,
      storedTxid: null,
      storedAsOf: null,
      lastCommitAt: null,
      waitingFiles: 0,
      waitingBytes: 0,
      waitingSince: null,
      restoring: null,
      waitingFor: null,
      leaseFailure: null,
      fencedBy: null,
      failure: null,
      watch: null,
      sourceCheck: null,
      maintenance: null,
      budget: null,
      files: null,
      lastProvenRestore: null,
      drill: null,
      ...initial,
    };
  }

  /** What was written last, or would have been. */
  get current(): DaemonStatus {
    return this.#current;
  }

  /** Takes what has changed and writes the file. Never throws. */
  update(changes: Partial<Omit<DaemonStatus, "timestamp" | "datetime">>): void {
    const now = this.#now();
    const { status, role, timestamp: _, datetime: __, ...more } = { ...this.#current, ...changes };
    this.#current = {
      status,
      role,
      timestamp: Math.floor(now.getTime() / 1_000),
      datetime: `${now.toISOString().slice(0, 19)}Z`,
      ...more,
    };
    const line = JSON.stringify(this.#current);
    try {
      replaceFile(statusPath(this.#current.database), `${line}\n`);
    } catch (error) {
      this.#onTrouble(error);
    }
  }
}

function replaceFile(path: string, content: string): void {
  const directory = dirname(path);
  // The data folder above it stays private if it is we who make it.
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  writeFileSync(`${path}.tmp`, content);
  // Whatever our umask is, everybody may read it.
  chmodSync(directory, 0o755);
  chmodSync(`${path}.tmp`, 0o644);
  renameSync(`${path}.tmp`, path);
}

function statusPath(database: string): string {
  return join(stateDirectory(database), "status.json");
}
