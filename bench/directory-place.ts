import { type FSWatcher, mkdirSync, readdirSync, statSync, watch } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { nowMs } from "./clock.ts";
import { type BenchStore, type LevelZeroWatch, type Place, waitUntilQuiet } from "./place.ts";
import { sleepMs } from "./statistics.ts";

const ltxName = /^[0-9a-f]{16}-([0-9a-f]{16})\.ltx$/;
const pollMs = 20;

/** @param directory - exists; who made it removes it. A place is the directory `<name>/store` in it, beside what else has that name. */
export function openDirectoryStore(directory: string): BenchStore {
  return {
    kind: "directory",
    async makePlace(name) {
      const store = join(directory, name, "store");
      mkdirSync(store, { recursive: true });
      return toPlace(store);
    },
    async [Symbol.asyncDispose]() {},
  };
}

function toPlace(store: string): Place {
  const replica = (): string => {
    const level = findLevelZero(store);
    if (level === undefined) throw new Error(`${store} holds no replica`);
    return join(level, "..", "..");
  };
  return {
    url: pathToFileURL(store).href,
    env: {},
    location: store,
    log: undefined,
    watch: (signal) => DirectoryWatch.open(store, signal),
    replicaUrl: () => pathToFileURL(replica()).href,
    levelZeroSizes: () =>
      listFiles(join(replica(), "ltx", "0"))
        .filter(({ path }) => path.endsWith(".ltx"))
        .map(({ size }) => size),
    storedBytes: () => listFiles(store).reduce((sum, { size }) => sum + size, 0),
    [Symbol.dispose]() {},
  };
}

/** By inotify, with a poll as the safety net. A replica of ours and a plain stock one are told apart by looking. */
class DirectoryWatch implements LevelZeroWatch {
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

  static async open(store: string, signal: AbortSignal): Promise<DirectoryWatch> {
    for (;;) {
      const directory = findLevelZero(store);
      if (directory !== undefined) return new DirectoryWatch(directory);
      await sleepMs(5, signal);
    }
  }

  /** A file that is being written has no name yet, and is not seen to be on its way. */
  waitUntilQuiet(quietMs: number, signal: AbortSignal, afterMs = 0): Promise<number> {
    return waitUntilQuiet(
      () => {
        this.#look();
        return { newestAtMs: [...this.appearedAtMs.values()].at(-1), isBusy: false };
      },
      quietMs,
      signal,
      afterMs,
    );
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

interface StoreFile {
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
