import type { ReplicationEvent, Stage, StoreUsage } from "wal-replicator";

/** What the daemon has done since it began: numbers that only grow. */
export interface CounterReadings {
  readonly captures: number;
  readonly capturedBytes: number;
  /** By level: 0 commits, 1 to 8 merged files, 9 snapshots and bases. */
  readonly uploads: ReadonlyMap<number, { readonly files: number; readonly bytes: number }>;
  readonly checkpoints: number;
  readonly maintenanceFailures: number;
  readonly storeFailures: number;
  readonly stalls: ReadonlyMap<Stage, number>;
  readonly deletedFiles: number;
  readonly deletedBytes: number;
  /** Undefined while nothing was asked of the store. */
  readonly usage: StoreUsage | undefined;
}

/** Adds up what the stream tells. It lives as long as the daemon, and is lost with it, as counters are. */
export class StreamCounters implements CounterReadings {
  captures = 0;
  capturedBytes = 0;
  checkpoints = 0;
  maintenanceFailures = 0;
  storeFailures = 0;
  deletedFiles = 0;
  deletedBytes = 0;
  readonly uploads: Map<number, { files: number; bytes: number }> = new Map();
  readonly stalls: Map<Stage, number> = new Map([
    ["capture", 0],
    ["upload", 0],
    ["maintenance", 0],
  ]);
  #readUsage: () => StoreUsage | undefined = () => undefined;

  get usage(): StoreUsage | undefined {
    return this.#readUsage();
  }

  /** From now on what goes to the store is read here. */
  follow(readUsage: () => StoreUsage): void {
    this.#readUsage = readUsage;
  }

  note(event: ReplicationEvent): void {
    switch (event.type) {
      case "captured":
        this.captures += 1;
        this.capturedBytes += event.bytes;
        break;
      case "stored":
        this.#countUpload(0, event.bytes);
        break;
      case "compacted":
        this.#countUpload(event.level, event.bytes);
        break;
      case "snapshot-stored":
      case "base-stored":
        this.#countUpload(snapshotLevel, event.bytes);
        break;
      case "checkpointed":
        this.checkpoints += 1;
        break;
      case "store-failing":
        this.storeFailures += 1;
        break;
      case "retained":
        this.deletedFiles += event.files;
        this.deletedBytes += event.bytes;
        break;
      case "maintenance-failing":
        this.maintenanceFailures += 1;
        break;
      case "stalled":
        this.stalls.set(event.stage, (this.stalls.get(event.stage) ?? 0) + 1);
        break;
    }
  }

  #countUpload(level: number, bytes: number): void {
    const before = this.uploads.get(level) ?? { files: 0, bytes: 0 };
    this.uploads.set(level, { files: before.files + 1, bytes: before.bytes + bytes });
  }
}

/** Where stock and we keep full copies. */
const snapshotLevel = 9;
