import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { invariant } from "../errors.ts";
import { formatTxid } from "../ltx/txid.ts";
import { orSayOlder } from "../replica/older-replica.ts";
import type { ReplicaRoot } from "../replica/replica.ts";
import { ReplicaError } from "../replica/replica-error.ts";
import { type RestoreProgress, type RestoreResult, restoreDatabase } from "../restore/restore.ts";
import type { CopyPlace } from "./copy-place.ts";
import type { CopyPosition } from "./copy-state.ts";
import { type Batch, growsWhole } from "./fetch-batch.ts";
import type { FollowEvent } from "./follow-events.ts";
import { FollowedCopy, type FollowedCopyDeps } from "./followed-copy.ts";
import type { RestoreReason } from "./plan-follow.ts";
import { publishRestored, updateToRestored } from "./restore-copy.ts";

export interface CopyKeeperDeps extends FollowedCopyDeps {
  /** Behind retries. */
  readonly root: ReplicaRoot;
  readonly place: CopyPlace;
  /** The timeline that is followed by its name. */
  readonly named: string | undefined;
  readonly emit: (event: FollowEvent) => void;
  readonly onProgress: (progress: RestoreProgress) => void;
}

/** The batch does not fit the copy: nothing was written, and only a whole restore helps. */
export class BatchRefused extends Error {
  override readonly name = "BatchRefused";
  readonly reason: RestoreReason;

  constructor(reason: RestoreReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** Has the copy, and brings it from one proved state to the next. */
export class CopyKeeper {
  readonly #deps: CopyKeeperDeps;
  #copy: FollowedCopy | undefined;
  /** When the last whole restore of a copy that was there began, by the monotonic clock, and how many there were in a row. */
  #restored: { readonly beganMs: number; readonly inARow: number } | undefined;

  constructor(deps: CopyKeeperDeps) {
    this.#deps = deps;
  }

  /** Where the copy stands; undefined: there is none that is known to be sound. */
  get position(): CopyPosition | undefined {
    return this.#soundCopy?.position;
  }

  get #soundCopy(): FollowedCopy | undefined {
    const copy = this.#copy;
    return copy !== undefined && !copy.isUncertain && copy.isSound ? copy : undefined;
  }

  get openCopy(): FollowedCopy {
    invariant(this.#copy !== undefined, "the copy is open");
    return this.#copy;
  }

  /**
   * Makes sure that there is a copy: opens the one that is there, again after a transaction that failed, or restores.
   *
   * @throws as `FollowedCopy.open` and `restoreDatabase`.
   */
  async ensure(overwrite: boolean, signal: AbortSignal): Promise<void> {
    if (this.#copy !== undefined && !this.#copy.isUncertain) return;
    await this.close();
    const { place, emit } = this.#deps;
    const isThere = existsSync(place.path);
    const opened = await FollowedCopy.open(place, this.#deps, signal).catch((error: unknown) => {
      if (overwrite && isOthers(error)) return undefined;
      throw error;
    });
    if (opened === undefined) await this.#restoreFirst(isThere, signal);
    const copy = opened ?? (await FollowedCopy.open(place, this.#deps, signal));
    if (copy === undefined) {
      throw new ReplicaError("TARGET_UNWRITABLE", `${place.path} was removed again`, {
        path: place.path,
        hint: "Find out who removes it.",
      });
    }
    this.#copy = copy;
    const { timeline, txid } = copy.position;
    if (opened !== undefined) emit({ type: "copy-opened", timeline, txid });
    if (copy.isSound) await copy.follow(signal);
    else {
      const message = "its pages are not what was written there";
      await this.restoreAnew("damaged-copy", message, signal);
    }
  }

  /**
   * Applies a batch in one transaction, once it is proved to give what was recorded.
   *
   * @throws {BatchRefused} @throws {ReplicaError} `CHAIN_BROKEN`, `TARGET_UNWRITABLE` @throws {ReplicationError} `COPY_CHANGED`
   */
  async apply(batch: Batch, signal: AbortSignal): Promise<void> {
    const copy = this.openCopy;
    const { header, changes, recordedChecksum, files } = batch;
    const { pageSize, pageCount } = copy.checksums;
    const { timeline, key, maxTxid: txid, level } = files.at(-1) as (typeof files)[number];
    if (header.pageSize !== pageSize) {
      throw new BatchRefused("page-size", `pages of ${header.pageSize} bytes follow ${pageSize}`);
    }
    if (!growsWhole(batch, pageCount, pageSize)) {
      throw new ReplicaError("CHAIN_BROKEN", "a database grows, and not all new pages are there", {
        ...{ key, timeline, level, txid },
        hint: "Whoever wrote that file left pages out. The copy stays where it is.",
      });
    }
    const rollingChecksum = copy.checksums.rollingAfter(changes);
    if (recordedChecksum !== undefined && recordedChecksum !== rollingChecksum) {
      throw new BatchRefused(
        "checksum",
        `at TXID ${formatTxid(txid)} the copy would have rolling checksum ${rollingChecksum}, and ${recordedChecksum} is recorded with ${key}`,
      );
    }
    const before = copy.position;
    await copy.update(
      {
        ...{ timeline, txid, pageSize, rollingChecksum },
        timestampMs: header.timestampMs,
        pageCount: changes.pageCount,
        checksums: () => {
          copy.checksums.apply(changes);
          return copy.checksums;
        },
        pgnos: Uint32Array.from(
          { length: changes.count },
          (_, index) => changes.entries[index * 3] as number,
        ),
        page1: batch.page1,
        pages: batch.pages,
      },
      signal,
    );
    const { emit } = this.#deps;
    if (timeline !== before.timeline) {
      const branch = files.findLast((file) => file.timeline !== timeline)?.maxTxid ?? before.txid;
      emit({ type: "timeline-changed", from: before.timeline, to: timeline, txid: branch });
    }
    const at = new Date(header.timestampMs);
    const counts = { fileCount: files.length, pageCount: changes.count };
    emit({ type: "applied", timeline, txid, at, ...counts });
  }

  /** Makes the copy what a whole restore gives, in one transaction. Not time and again: pauses between such restores grow. */
  async restoreAnew(reason: RestoreReason, message: string, signal: AbortSignal): Promise<void> {
    const copy = this.openCopy;
    const { place, emit, nowMs } = this.#deps;
    const before = this.#restored;
    const beganMs = nowMs();
    const inARow = before !== undefined && beganMs - before.beganMs < calmMs ? before.inARow : 0;
    const pauseMs = inARow === 0 ? 0 : Math.min(pauseMsMin * 2 ** inARow, pauseMsMax);
    if (before !== undefined && beganMs - before.beganMs < pauseMs) {
      throw new ReplicaError(
        "VERIFICATION_FAILED",
        `the copy has to be restored anew: ${message}`,
        {
          path: place.path,
          hint: "That was done a moment ago and comes again: it waits before the next attempt. Verify the replica, and look at the disk.",
        },
      );
    }
    emit({ type: "copy-restoring", reason, message });
    this.#restored = { beganMs, inARow: inARow + 1 };
    const result = await this.#restoreBeside(signal);
    await copy.update(await updateToRestored(place, result, copy.checksums), signal);
    await this.#tidy(result);
  }

  /** Gives the copy its own header back and lets go of it. @returns whether the header is its own. */
  async end(signal: AbortSignal): Promise<boolean> {
    const copy = this.#soundCopy;
    if (copy === undefined) return false;
    try {
      await copy.rest(signal);
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      throw error;
    } finally {
      await this.close();
    }
  }

  async close(): Promise<void> {
    const copy = this.#copy;
    this.#copy = undefined;
    await copy?.close();
  }

  async #restoreFirst(isThere: boolean, signal: AbortSignal): Promise<void> {
    const { place, emit, at } = this.#deps;
    const message = isThere ? `${place.path} is overwritten` : `there is no ${place.path} yet`;
    emit({ type: "copy-restoring", reason: "no-copy", message });
    const result = await this.#restoreBeside(signal);
    await publishRestored(place, result, at);
    await this.#tidy(result);
  }

  async #restoreBeside(signal: AbortSignal): Promise<RestoreResult> {
    const { root, place, named, onProgress, at } = this.#deps;
    const result = await orSayOlder(root, { signal }, () =>
      restoreDatabase({
        root,
        path: place.incoming,
        overwrite: true,
        ...(named === undefined ? {} : { timeline: named }),
        onProgress,
        signal,
      }),
    );
    at("restored");
    return result;
  }

  async #tidy({ timeline, txid, pageSize, pageCount }: RestoreResult): Promise<void> {
    await rm(this.#deps.place.incoming, { force: true });
    this.#deps.emit({ type: "copy-restored", timeline, txid, bytes: pageSize * pageCount });
  }
}

/** After so long without a whole restore the next one is the first again. */
const calmMs = 6 * 3_600_000;
const pauseMsMin = 30_000;
const pauseMsMax = 3_600_000;

/** What lies there is not what we left. */
function isOthers(error: unknown): boolean {
  const { code } = error as { readonly code?: unknown };
  return code === "COPY_CHANGED" || code === "TARGET_EXISTS";
}
