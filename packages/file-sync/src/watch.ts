/**
 * Hints that something in the roots may have changed. Never the truth: notifications get lost, run out, or do not exist on a file
 * system, and then changes are found by the next look.
 *
 * Directories are watched by chokidar, their files are not, since a directory tells of them. Only those that exist are: for what is
 * missing it would watch the directory above, and there a database is written to with every commit. Which file or directory a
 * root is, if any, is asked once a second instead; that also covers roots that are single files.
 */
import { realpath, stat } from "node:fs/promises";
import { type FSWatcher, watch } from "chokidar";
import { errnoOf, resolveExcluded } from "./scan.ts";
import type { SyncRoot } from "./sync-root.ts";

export interface WatchOptions {
  readonly roots: readonly SyncRoot[];
  /** Absolute paths. */
  readonly exclude?: readonly string[];
  readonly onHint: () => void;
  /** Notifications cannot be had, or not for all directories. Told once. */
  readonly onFailing: (error: unknown) => void;
}

export interface RootWatch {
  close(): Promise<void>;
}

const pollMs = 1_000;

/** Resolves when what exists is watched: what changes from then on makes a hint. */
export async function watchRoots(options: WatchOptions): Promise<RootWatch> {
  const { roots, exclude = [], onHint } = options;
  const excluded = await resolveExcluded(exclude);
  let isFailing = false;
  const onFailing = (error: unknown): void => {
    if (!isFailing) options.onFailing(error);
    isFailing = true;
  };
  const watches = roots.map((root) => new OneRoot(root, excluded, onHint, onFailing));
  const pollAll = async (): Promise<void> => {
    const polled = await Promise.all(watches.map((one) => one.poll()));
    if (polled.includes(true)) onHint();
  };
  let timer: NodeJS.Timeout | undefined;
  let poll = pollAll();
  await poll;
  const again = (): void => {
    timer = setTimeout(() => {
      poll = pollAll().then(again);
    }, pollMs).unref();
  };
  again();
  return {
    close: async () => {
      await poll;
      clearTimeout(timer);
      await Promise.all(watches.map((one) => one.close()));
    },
  };
}

class OneRoot {
  readonly #root: SyncRoot;
  readonly #excluded: ReadonlySet<string>;
  readonly #onHint: () => void;
  readonly #onFailing: (error: unknown) => void;
  /** What it was when it was last asked. */
  #state: string | undefined;
  #watcher: FSWatcher | undefined;

  constructor(
    root: SyncRoot,
    excluded: ReadonlySet<string>,
    onHint: () => void,
    onFailing: (error: unknown) => void,
  ) {
    this.#root = root;
    this.#excluded = excluded;
    this.#onHint = onHint;
    this.#onFailing = onFailing;
  }

  /** @returns whether it is another than before. */
  async poll(): Promise<boolean> {
    const state = await this.#ask();
    if (state === this.#state) return false;
    this.#state = state;
    if (this.#root.kind === "directory") {
      try {
        await this.close();
        if (state !== "missing") await this.#watch(await realpath(this.#root.path));
      } catch (error) {
        this.#onFailing(error);
      }
    }
    return true;
  }

  async close(): Promise<void> {
    await this.#watcher?.close();
    this.#watcher = undefined;
  }

  async #ask(): Promise<string> {
    try {
      const stats = await stat(this.#root.path, { bigint: true });
      const which = `${stats.dev} ${stats.ino}`;
      if (this.#root.kind === "directory") return which;
      return `${which} ${stats.size} ${stats.mtimeNs} ${stats.ctimeNs}`;
    } catch (error) {
      return errnoOf(error) === "ENOENT" ? "missing" : `unreadable: ${errnoOf(error)}`;
    }
  }

  async #watch(location: string): Promise<void> {
    const watcher = watch(location, {
      ignoreInitial: true,
      followSymlinks: false,
      ignored: (path, stats) => stats?.isFile() === true || this.#excluded.has(path),
    });
    this.#watcher = watcher;
    watcher.on("error", this.#onFailing);
    await new Promise<void>((resolve) => watcher.once("ready", resolve));
    watcher.on("raw", this.#onHint).on("all", this.#onHint);
  }
}
