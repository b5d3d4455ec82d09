import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { toTxid } from "../ltx/txid.ts";
import type { LocalLtxFile } from "../replica/replica.ts";
import type { SqliteConnection } from "../sqlite/connection.ts";
import type { Capture } from "./capture.ts";

/**
 * The base of a timeline that branched off: the level-9 file `1-n`, which makes its directory a replica that stock restores alone. Increments
 * ship before it and restore over the parent meanwhile (architecture.md D3), so nothing waits for it and a crash costs only the work.
 */
export interface BaseDeps {
  readonly capture: Capture;
  /** A connection of its own: its read transaction lasts as long as the database is read. */
  readonly reader: SqliteConnection;
  /** Resolves when a pass that began after the call has ended. */
  readonly pass: () => Promise<void>;
  /** Resolves when everything captured so far is stored: a base is never the only file of its TXID. */
  readonly storedSoFar: (signal: AbortSignal) => Promise<void>;
  /** How many merges of the spool took TXIDs back so far; never one that is stored. */
  readonly mergeCount: () => number;
  readonly put: (file: LocalLtxFile, signal: AbortSignal) => Promise<{ readonly key: string }>;
  /** Directory of the timeline in the spool. */
  readonly directory: string;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly onStored: (file: LocalLtxFile, key: string) => void;
  readonly onFailing: (error: unknown) => void;
  /** Errors that no repetition can mend: somebody took over, or writes into our timeline. */
  readonly isFatal: (error: unknown) => boolean;
}

const backoffMsMin = 1_000;
const backoffMsMax = 300_000;

/** Builds and stores the base; what fails is tried again until the signal is aborted. @throws what is fatal. */
export async function storeBase(deps: BaseDeps, signal: AbortSignal): Promise<void> {
  const path = join(deps.directory, "base.tmp");
  try {
    for (
      let pauseMs = backoffMsMin;
      !signal.aborted;
      pauseMs = Math.min(pauseMs * 2, backoffMsMax)
    ) {
      try {
        const mergeCount = deps.mergeCount();
        // At once: what lies between the branch point and the base restores over the parent only.
        const file = await writeBase(deps, path);
        await deps.storedSoFar(signal);
        // Its TXID may have been taken back since, and given to another state.
        if (deps.mergeCount() !== mergeCount) continue;
        const { key } = await deps.put(file, signal);
        deps.onStored(file, key);
        return;
      } catch (error) {
        if (signal.aborted) return;
        if (deps.isFatal(error)) throw error;
        deps.onFailing(error);
        // A disk that was too small for it is not kept full by half of it.
        await rm(path, { force: true });
        await deps.sleep(pauseMs, signal);
      }
    }
  } finally {
    await rm(path, { force: true });
  }
}

async function writeBase(deps: BaseDeps, path: string): Promise<LocalLtxFile> {
  await using handle = await open(path, "w", 0o600);
  deps.reader.beginRead();
  try {
    await deps.pass();
    let size = 0;
    const { txid, rollingChecksum } = await deps.capture.writeBase(deps.reader, async () => {
      await handle.truncate(0);
      size = 0;
      return async (chunk) => {
        await writeAll(handle, chunk, size);
        size += chunk.length;
      };
    });
    return { path, size, name: { minTxid: toTxid(1n), maxTxid: txid, rollingChecksum } };
  } finally {
    deps.reader.endTransaction();
  }
}

async function writeAll(handle: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < chunk.length; ) {
    const { bytesWritten } = await handle.write(chunk, done, chunk.length - done, position + done);
    done += bytesWritten;
  }
}
