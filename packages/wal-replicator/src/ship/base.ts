import { rm } from "node:fs/promises";
import type { LocalLtxFile } from "../replica/replica.ts";
import type { CrashPointListener } from "./crash-point.ts";

/**
 * The base of a timeline that branched off: the level-9 file `1-n`, which makes its directory a replica that stock restores alone. Increments
 * ship before it and restore over the parent meanwhile (architecture.md D3), so nothing waits for it and a crash costs only the work.
 */
export interface BaseDeps {
  /** A full copy of the newest captured state, once it is stored so far. Whoever gets it removes it. */
  readonly makeSnapshot: (directory: string, signal: AbortSignal) => Promise<LocalLtxFile>;
  readonly put: (file: LocalLtxFile, signal: AbortSignal) => Promise<{ readonly key: string }>;
  /** Directory of the timeline in the spool. */
  readonly directory: string;
  readonly at: CrashPointListener;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly onStored: (file: LocalLtxFile, key: string) => void;
  readonly onFailing: (error: unknown) => void;
  /** Errors that no repetition can mend: somebody took over, or writes into our timeline. */
  readonly isFatal: (error: unknown) => boolean;
}

const backoffMsMin = 1_000;
const backoffMsMax = 300_000;

/** Makes and stores the base; what fails is tried again until the signal is aborted. @throws what is fatal. */
export async function storeBase(deps: BaseDeps, signal: AbortSignal): Promise<void> {
  for (let pauseMs = backoffMsMin; !signal.aborted; pauseMs = Math.min(pauseMs * 2, backoffMsMax)) {
    let file: LocalLtxFile | undefined;
    try {
      // At once: what lies between the branch point and the base restores over the parent only.
      file = await deps.makeSnapshot(deps.directory, signal);
      deps.at("base-written");
      const { key } = await deps.put(file, signal);
      deps.at("base-stored");
      deps.onStored(file, key);
      return;
    } catch (error) {
      if (signal.aborted) return;
      if (deps.isFatal(error)) throw error;
      deps.onFailing(error);
    } finally {
      if (file !== undefined) await rm(file.path, { force: true });
    }
    await deps.sleep(pauseMs, signal);
  }
}
