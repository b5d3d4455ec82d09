import { type FSWatcher, readdirSync, statSync, watch } from "node:fs";
import { join } from "node:path";
import { sleepMs } from "./statistics.ts";

const ltxName = /^[0-9a-f]{16}-([0-9a-f]{16})\.ltx$/;
const pollMs = 20;

/**
 * Notes when each level-0 file of a replica in a directory appears under its final name: by inotify, with a poll as the safety net.
 * A replica of ours and a plain stock one are told apart by looking.
 */
export class StoreWatch implements Disposable {
  /** Milliseconds since 1970, with fractions, by the TXID at which a file ends (16 hex digits), in the order of appearance. */
  readonly appearedAtMs: Map<string, number> = new Map();
  readonly #directory: string;
  readonly #watcher: FSWatcher;
  readonly #timer: NodeJS.Timeout;

  private constructor(directory: string) {
    this.#directory = directory;
    this.#watcher = watch(directory, (_event, name) => {
      if (name !== null) this.#note(name);
    });
    this.#timer = setInterval(() => this.#look(), pollMs);
    this.#look();
  }

  /** Waits for the level-0 directory. What lies there already counts as seen at this moment. */
  static async open(store: string, signal: AbortSignal): Promise<StoreWatch> {
    for (;;) {
      const directory = findLevelZero(store);
      if (directory !== undefined) return new StoreWatch(directory);
      await sleepMs(5, signal);
    }
  }

  /** Resolves when the store has at least one file and no other appeared for so long. @returns when the newest one did. */
  async waitUntilQuiet(quietMs: number, signal: AbortSignal): Promise<number> {
    const sinceMs = nowMs();
    for (;;) {
      this.#look();
      const newestAtMs = [...this.appearedAtMs.values()].at(-1);
      if (newestAtMs !== undefined && nowMs() - Math.max(newestAtMs, sinceMs) >= quietMs) {
        return newestAtMs;
      }
      await sleepMs(pollMs, signal);
    }
  }

  [Symbol.dispose](): void {
    this.#watcher.close();
    clearInterval(this.#timer);
  }

  #look(): void {
    for (const name of readdirSync(this.#directory).sort()) this.#note(name);
  }

  #note(name: string): void {
    const txid = ltxName.exec(name)?.[1];
    if (txid !== undefined && !this.appearedAtMs.has(txid)) this.appearedAtMs.set(txid, nowMs());
  }
}

/** Comparable with the times of other processes of this machine. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

/** The replica that stock can read by itself: the newest timeline of ours, or the store itself. */
export function findReplicaDirectory(store: string): string | undefined {
  const level = findLevelZero(store);
  return level === undefined ? undefined : join(level, "..", "..");
}

export interface StoreFile {
  readonly path: string;
  readonly size: number;
  readonly mtimeMs: number;
}

/** All complete files below a directory. */
export function listFiles(directory: string): StoreFile[] {
  const files: StoreFile[] = [];
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    // A temporary file may be gone by now.
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat !== undefined) files.push({ path, size: stat.size, mtimeMs: stat.mtimeMs });
  }
  return files;
}

function findLevelZero(store: string): string | undefined {
  const timelines = entriesOf(store)
    .filter((name) => name !== "epochs")
    .sort();
  for (const timeline of ["", ...timelines.toReversed()]) {
    const directory = join(store, timeline, "ltx", "0");
    if (entriesOf(directory).some((name) => ltxName.test(name))) return directory;
  }
  return undefined;
}

function entriesOf(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    // Not there yet, or a file: nothing to find in it.
    return [];
  }
}
