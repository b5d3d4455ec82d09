import { join } from "node:path";
import { ObservedStore, type SignOfLife } from "@vaultwarden-stream/object-store";
import type { ReplicaRoot } from "../replica/replica.ts";
import { uploadClass } from "../replica/upload-class.ts";
import type { ReplicationStatus } from "../replication.ts";
import type { CaptureState } from "../ship/capture.ts";
import type { Connections } from "../ship/connections.ts";
import type { SessionDeps } from "../ship/session-deps.ts";
import type { Spool } from "../ship/spool.ts";
import { formatWalPosition } from "../sqlite/wal-reader.ts";
import { CommitWatch, type Uncaptured } from "./commit-watch.ts";
import { unfinishedFiles } from "./unfinished-files.ts";
import { type StageReading, Watchdog } from "./watchdog.ts";

/** What of a session is looked at. Everything here is read and nothing is waited for. */
export interface SessionWatchParts {
  readonly deps: SessionDeps;
  readonly connections: Connections;
  readonly capture: {
    readonly state: Pick<CaptureState, "txid" | "walPosition">;
    readonly blocksRead: number;
  };
  readonly spool: Pick<Spool, "directory" | "state" | "waiting">;
  /** Why nothing is stored at present, and why nothing is captured; undefined: nothing has said so. */
  readonly storeFailure: () => unknown;
  readonly captureFailure: () => unknown;
  /** A step of the maintenance is under way and waits for nothing but itself, and for the store. */
  readonly isMaintaining: () => boolean;
  /** Where it builds its files. */
  readonly scratchDirectory: () => string;
}

/** The watchdog of a session: which stages there are, and by what each shows that it gets on. */
export class SessionWatch {
  readonly #parts: SessionWatchParts;
  readonly #commits: CommitWatch;
  readonly #watchdog: Watchdog;
  readonly #timelineDirectory: string;
  #uncaptured: Uncaptured = { bytes: 0, sinceMs: undefined, committed: undefined };
  #uploadSigns = 0;
  #maintenanceSigns = 0;

  constructor(parts: SessionWatchParts) {
    const { deps, connections, capture, spool } = parts;
    this.#parts = parts;
    this.#timelineDirectory = join(spool.directory, spool.state?.timeline ?? "");
    this.#commits = new CommitWatch({
      // One of its own: whatever holds up the others does not hold up this one. It is closed with them.
      connection: connections.openReader(),
      walPath: connections.walPath,
      pageSize: connections.pageSize,
      captured: () => capture.state.walPosition,
      now: deps.now,
    });
    this.#watchdog = new Watchdog({
      stages: [
        { stage: "capture", look: () => this.#lookAtCapture() },
        { stage: "upload", look: () => this.#lookAtUpload() },
        { stage: "maintenance", look: () => this.#lookAtMaintenance() },
      ],
      policy: deps.watchPolicy,
      now: deps.now,
      nowMs: deps.nowMs,
      sleep: deps.sleep,
      emit: deps.emit,
    });
  }

  /** The same roots, with their signs of life seen. */
  observe<T extends Pick<SessionDeps, "replica" | "retryingReplica">>(deps: T): T {
    const observed = (root: ReplicaRoot): ReplicaRoot => ({
      ...root,
      store: new ObservedStore(root.store, (sign) => this.#note(sign, root)),
    });
    return {
      ...deps,
      replica: observed(deps.replica),
      retryingReplica: observed(deps.retryingReplica),
    };
  }

  get status(): Pick<ReplicationStatus, "uncapturedBytes" | "uncapturedSinceMs" | "stalls"> {
    const { bytes, sinceMs } = this.#uncaptured;
    return { uncapturedBytes: bytes, uncapturedSinceMs: sinceMs, stalls: this.#watchdog.stalls };
  }

  /** Watches until the signal is aborted. */
  run(signal: AbortSignal): Promise<void> {
    return this.#watchdog.run(signal);
  }

  #note({ operation, key }: SignOfLife, { timelinesUnder }: ReplicaRoot): void {
    const kind = uploadClass(key, timelinesUnder);
    if (kind === "free") return;
    const isWrite = operation === "put" || operation === "putIfAbsent";
    // Maintenance reads level 0 and never writes it.
    if (kind === "stream" && isWrite) this.#uploadSigns += 1;
    else this.#maintenanceSigns += 1;
  }

  #lookAtCapture(): StageReading {
    const { capture, captureFailure } = this.#parts;
    this.#uncaptured = this.#commits.look();
    const { bytes } = this.#uncaptured;
    if (bytes === 0) return { isBusy: false, bytes, mark: "", isAnnounced: false };
    const { walPosition, txid } = capture.state;
    const position = walPosition === undefined ? "none" : formatWalPosition(walPosition);
    return {
      isBusy: true,
      bytes,
      // A pass over a large database takes its time: it reads blocks, or its file grows.
      mark: `${txid} ${position} ${capture.blocksRead} ${unfinishedFiles(this.#timelineDirectory)}`,
      isAnnounced: captureFailure() !== undefined,
    };
  }

  #lookAtUpload(): StageReading {
    const { spool, storeFailure } = this.#parts;
    const { waiting } = spool;
    return {
      isBusy: waiting.length > 0,
      bytes: waiting.reduce((bytes, file) => bytes + file.size, 0),
      mark: `${waiting[0]?.name.maxTxid} ${this.#uploadSigns}`,
      isAnnounced: storeFailure() !== undefined,
    };
  }

  #lookAtMaintenance(): StageReading {
    const { isMaintaining, scratchDirectory, storeFailure } = this.#parts;
    const isBusy = isMaintaining();
    return {
      isBusy,
      bytes: 0,
      mark: isBusy ? `${this.#maintenanceSigns} ${unfinishedFiles(scratchDirectory())}` : "",
      isAnnounced: storeFailure() !== undefined,
    };
  }
}
