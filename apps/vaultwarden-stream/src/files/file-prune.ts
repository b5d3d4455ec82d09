import { markPruned, type PruneResult, prune, prunedAgeMs } from "@vaultwarden-stream/file-sync";
import type { ObjectStore } from "@vaultwarden-stream/object-store";
import { describeOffer, policyWithin, type ReplicaListing } from "wal-replicator";
import { rootOf } from "../restore/choose-files.ts";
import { lineageOf } from "../restore/lineage.ts";
import { rootNames } from "./vault-roots.ts";

export interface FilePruneDeps {
  readonly store: ObjectStore;
  /** What the store holds of the database. */
  readonly listReplica: (signal: AbortSignal) => Promise<ReplicaListing>;
  /** How far back moments can be asked for, in milliseconds. */
  readonly retentionMs: number;
  /** Something was deleted that no moment needs any more, or could not be. */
  readonly onPruned: (result: PruneResult | { readonly error: unknown }) => void;
  /** This machine's clock. */
  readonly now: () => Date;
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
}

const pruneIntervalMs = 24 * 3_600_000;
/** A start has other things to do, and one that fails soon is to have cost nothing. */
const settledAfterMs = 60_000;
/** How old a blob must be before it may go: well beyond the time from its upload to its manifest, and that of a restore. */
const pruneGraceMs = 24 * 3_600_000;
/** Where files lie that rows of the database name. */
const rootsOfRows: ReadonlySet<string> = new Set([rootNames.attachments, rootNames.sends]);

/**
 * Removes files that no moment needs any more, which the database offers: once a day, also where each process lives for minutes, since the store knows
 * when that was last done.
 */
export class FilePrune {
  readonly #deps: FilePruneDeps;
  readonly #startedAtMs: number;
  /** Of this process, or of whichever was before it; undefined: the store was not asked yet. */
  #prunedAtMs: number | undefined;

  constructor(deps: FilePruneDeps) {
    this.#deps = deps;
    this.#startedAtMs = deps.nowMs();
  }

  /**
   * To be called now and then, never while a push is under way. What fails is said, and tried again a day later.
   *
   * @param timeline - that the database is written into.
   * @returns whether this day's work is done.
   * @throws the signal's reason, and nothing else.
   */
  async runIfDue(timeline: string, signal: AbortSignal): Promise<boolean> {
    const { nowMs, onPruned } = this.#deps;
    if (nowMs() - this.#startedAtMs < settledAfterMs) return false;
    try {
      if (!(await this.#isDue(signal))) return false;
      this.#prunedAtMs = nowMs();
      const result = await this.#run(timeline, signal);
      if (result !== undefined) onPruned(result);
    } catch (error) {
      signal.throwIfAborted();
      this.#prunedAtMs = nowMs();
      onPruned({ error });
    }
    return true;
  }

  async #isDue(signal: AbortSignal): Promise<boolean> {
    const { store, now, nowMs } = this.#deps;
    if (this.#prunedAtMs === undefined) {
      const ageMs = await prunedAgeMs(store, now, { signal });
      this.#prunedAtMs = nowMs() - (ageMs ?? pruneIntervalMs);
    }
    return nowMs() - this.#prunedAtMs >= pruneIntervalMs;
  }

  /** @returns undefined if it is not known what is offered. */
  async #run(timeline: string, signal: AbortSignal): Promise<PruneResult | undefined> {
    const { store, listReplica, retentionMs, now } = this.#deps;
    const listing = await listReplica(signal);
    // Ours has no files yet, or somebody has taken over.
    if (listing.head !== timeline) return undefined;
    const policy = policyWithin({ retentionMs });
    const { instants } = describeOffer(listing, policy, now().getTime());
    const result = await prune({
      store,
      lineages: [lineageOf(listing, timeline)],
      moments: instants.map(({ at }) => at),
      precisions: policy.keepMs.map((keepMs, level) => ({
        keepMs,
        windowMs: policy.levelIntervalsMs[level - 1] ?? 0,
      })),
      isNamedElsewhere: (path) => rootsOfRows.has(rootOf(path)),
      graceMs: pruneGraceMs,
      now,
      signal,
    });
    // What stopped at its bounds goes on in the next process, or tomorrow.
    if (result.stopped?.reason !== "count") await markPruned(store, now, { signal });
    return result;
  }
}
