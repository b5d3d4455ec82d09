import { ObjectStoreError, type RequestOptions } from "@vaultwarden-stream/object-store";
import { formatTxid, type Txid, toTxid } from "../ltx/txid.ts";
import type { Catalog, ReplicaFile } from "../replica/catalog.ts";
import type { EpochMode } from "../replica/epoch.ts";
import { EpochLog } from "../replica/epoch-log.ts";
import type { EpochRecord, TimelinePosition } from "../replica/epoch-record.ts";
import type { ReplicaRoot } from "../replica/replica.ts";
import type { CrashPointListener } from "../ship/crash-point.ts";
import type { RetentionEvent, RetentionHold } from "./events-of-retention.ts";
import {
  type Deletion,
  type DeletionReason,
  planRetention,
  type RetentionPlan,
  type RetentionTimeline,
} from "./plan-retention.ts";
import type { MaintenancePolicy } from "./policy.ts";
import { isEpochAbove, readLines } from "./read-lines.ts";

export interface RetainDeps {
  /** Behind retries. */
  readonly root: ReplicaRoot;
  /** What is known of our timeline. What is deleted is removed from it, and what a listing does not show any more. */
  readonly catalog: Catalog;
  readonly policy: MaintenancePolicy;
  /** To be awaited before anything is deleted: proves that the epoch is still ours. Throws `Fenced`, or the store's error. */
  readonly beforeWrite: (
    signal: AbortSignal,
  ) => Promise<{ readonly record: Place; readonly mode: EpochMode }>;
  /** The points that were proved last. Asked in each run that deletes. */
  readonly proven: (signal: AbortSignal) => Promise<readonly TimelinePosition[]>;
  /** This machine's clock, in milliseconds since the Unix epoch. */
  readonly now: () => number;
  readonly at: CrashPointListener;
  readonly emit: (event: RetentionEvent) => void;
}

/** Our timeline, and where it branched off. */
type Place = Pick<EpochRecord, "timeline" | "parent">;

const dayMs = 86_400_000;
/** A process that finds nothing to delete in its own timeline looks for the dead lines of others once it has lived so long. */
const firstListingAfterMs = 3_600_000;
/** Whoever takes an epoch stores a file soon, or is gone. */
const firstFileWithinMs = 3_600_000;
const clockDifferenceMaxMs = 5 * 60_000;
/** A run that takes minutes would hold up the merges behind it. */
const deletesMax = 5_000;
/** By one request, where the store can do that. Between two of them somebody else may take over. */
const deletesAtOnce = 100;
/** So many of the deleted keys are looked for in the next listing. */
const deletedKeysMax = 1_000;

/**
 * Deletes what nobody can ask for any more, as `planRetention` has it. Idle costs nothing: without anything to delete there is no request. Else there
 * is a look at the store's clock; at most once a day a LIST of everything, since who writes into no timeline but its own knows of no other; and the
 * deletes. Killed anywhere, it leaves everything that is offered, and the next run goes on.
 */
export class Retainer {
  readonly #deps: RetainDeps;
  readonly #firstMs: number;
  #log: EpochLog | undefined;
  /** Without our own timeline, of which the catalogue knows more. */
  #others: ReadonlyMap<string, RetentionTimeline> = new Map();
  #unknown: readonly string[] = [];
  /** Of our timeline, once it is known. */
  #parent: TimelinePosition | null = null;
  #listedMs: number | undefined;
  /** Somebody has begun a timeline, and nothing of it was in the last listing. */
  #isOneToCome = false;
  #protected: readonly TimelinePosition[] = [];
  /** Merged files by their key: when they were stored, as the listing said, or first seen here. Undefined: nothing was listed yet. */
  #storedMs: Map<string, number> | undefined;
  /** Since the last listing. */
  readonly #deletedKeys = new Set<string>();
  #held: RetentionHold | undefined;
  #forbiddenMs: number | undefined;

  constructor(deps: RetainDeps) {
    this.#deps = deps;
    this.#firstMs = deps.now();
  }

  /** Why nothing is deleted at present; undefined: nothing is in the way. */
  get held(): RetentionHold | undefined {
    return this.#held;
  }

  /**
   * One run, of at most 5,000 deletes. To be called every few minutes, and not while another run is under way.
   *
   * @throws the store's error, `Fenced`, and the signal's reason. What was deleted before that is out of the catalogue.
   */
  async retain(signal: AbortSignal): Promise<void> {
    const { catalog, beforeWrite, now, proven } = this.#deps;
    const [own] = catalog.files;
    if (own === undefined || this.#isForbidden(now()) || !this.#isDue(own.timeline)) return;
    const { record, mode } = await beforeWrite(signal);
    await this.#listIfNeeded(record, mode, { signal });
    if (this.#isOneToCome) return; // what it will restore over is not known to be needed yet
    const [unknown] = this.#unknown;
    if (unknown !== undefined) {
      this.#hold(
        "unknown-line",
        `timeline ${unknown} does not begin with TXID 1, and the epoch that began it is missing, so nobody knows which files of others it needs. Bring the epoch's object back; or delete what lies below ${unknown} if nobody needs it.`,
      );
      return;
    }
    const storeMs = await this.#askClock({ signal });
    if (storeMs === undefined) return;
    this.#protected = await proven(signal);
    const plan = this.#plan(record, storeMs);
    if (plan.outcome === "refused") {
      this.#refuse(plan.lost);
      return;
    }
    await this.#deleteAll(plan.deletions, signal);
  }

  /** By what is known, without a request. */
  #isDue(timeline: string): boolean {
    const nowMs = this.#deps.now();
    if (this.#listedMs === undefined && nowMs - this.#firstMs >= firstListingAfterMs) return true;
    const plan = this.#plan({ timeline, parent: this.#parent }, nowMs);
    return plan.outcome === "refused" || plan.deletions.length > 0;
  }

  #plan({ timeline, parent }: Place, nowMs: number): RetentionPlan {
    const { catalog, policy } = this.#deps;
    const { files } = catalog;
    const known = this.#storedMs;
    for (const { key, level } of files)
      if (level > 0 && known?.has(key) === false) known.set(key, nowMs);
    const timelines = new Map([
      ...this.#others,
      [timeline, { timeline, parent, files, lastStoredMs: nowMs }],
    ]);
    const storedMs = ({ key }: ReplicaFile): number | undefined => known?.get(key);
    const facts = { head: timeline, timelines, protected: this.#protected, storedMs };
    return planRetention(facts, policy, nowMs);
  }

  /** Once a day, and whenever an epoch was taken since: a branch may have begun that restores over what nobody else needs. */
  async #listIfNeeded(record: Place, mode: EpochMode, request: RequestOptions): Promise<void> {
    const { root, catalog, now } = this.#deps;
    const nowMs = now();
    const isRecent = this.#listedMs !== undefined && Math.abs(nowMs - this.#listedMs) < dayMs;
    if (
      isRecent &&
      this.#log !== undefined &&
      !(await isEpochAbove(root, this.#log, mode, request))
    )
      return;
    const log = await (this.#log?.readAgain(request) ?? EpochLog.read(root, request));
    const { files: before, highestTxid: tip = toTxid(1) } = catalog;
    const { timelines, unknown, storedMs } = await readLines(root, log, request);
    this.#isOneToCome = await this.#isAwaited(log, timelines);
    // Only now, and not while a timeline is still to come: else nobody would look for it again.
    if (!this.#isOneToCome) this.#log = log;
    this.#storedMs = new Map(storedMs);
    const listed = timelines.get(record.timeline)?.files ?? [];
    this.#others = new Map([...timelines].filter(([name]) => name !== record.timeline));
    this.#unknown = unknown.filter((name) => name !== record.timeline);
    this.#parent = record.parent;
    this.#compare(before, tip, listed);
    const ignored = [...timelines.values()]
      .flatMap(({ files }) => files.map(({ key }) => key))
      .filter((key) => this.#deletedKeys.has(key));
    this.#deletedKeys.clear();
    this.#report("deletes-ignored", ignored);
    this.#listedMs = nowMs;
  }

  /** Whether an epoch was taken a short time ago whose timeline has no file yet. */
  async #isAwaited(log: EpochLog, timelines: ReadonlyMap<string, unknown>): Promise<boolean> {
    for (const id of log.ids) {
      if (this.#deps.now() - id.recordModified.getTime() >= firstFileWithinMs) continue;
      const { record } = await log.get(id);
      if (!timelines.has(record.timeline)) return true;
    }
    return false;
  }

  /** What was known before the listing began and is not in it is gone; what is in it and was not known, is known now. */
  #compare(before: readonly ReplicaFile[], tip: Txid, listed: readonly ReplicaFile[]): void {
    const { catalog } = this.#deps;
    const there = new Set(listed.map(({ key }) => key));
    const vanished = before.filter(({ key }) => !there.has(key));
    for (const file of vanished) catalog.remove(file);
    // What lies behind our tip is on its way into the catalogue, or a stranger's.
    for (const file of listed) if (file.maxTxid <= tip) catalog.add(file);
    this.#report(
      "files-vanished",
      vanished.map(({ key }) => key),
    );
  }

  #report(type: "deletes-ignored" | "files-vanished", keys: readonly string[]): void {
    const [key] = keys;
    if (key !== undefined) this.#deps.emit({ type, files: keys.length, key });
  }

  /** @returns the store's time; undefined: nobody knows what time it is. */
  async #askClock(request: RequestOptions): Promise<number | undefined> {
    const { root, catalog, now } = this.#deps;
    const newest = catalog.files.at(-1);
    if (newest === undefined) return undefined;
    const { storeTime } = await root.store.head(newest.key, request);
    const nowMs = now();
    const storeMs = storeTime?.getTime() ?? nowMs;
    if (Math.abs(nowMs - storeMs) <= clockDifferenceMaxMs) return storeMs;
    const seconds = Math.round((nowMs - storeMs) / 1000);
    this.#hold(
      "clock",
      `this machine's clock is ${seconds} s from the store's, so the age of files is not known. Set the clock; nothing is deleted until then.`,
    );
    return undefined;
  }

  #refuse(lost: readonly TimelinePosition[]): void {
    const [first] = lost;
    const where =
      first && `the first is TXID ${formatTxid(first.txid)} of timeline ${first.timeline}`;
    this.#hold(
      "refused",
      `what was to be deleted would have made ${lost.length} recovery points impossible to restore (${where}). That is a mistake in this program: please report it, with the output of list --files --json. Nothing is deleted.`,
    );
  }

  #hold(reason: RetentionHold, message: string): void {
    if (this.#held === reason) return;
    this.#held = reason;
    this.#deps.emit({ type: "retention-held", reason, message });
  }

  #resume(): void {
    if (this.#held === undefined) return;
    this.#held = undefined;
    this.#deps.emit({ type: "retention-resumed" });
  }

  /** Where nothing may be deleted it is tried once a day: permissions change. */
  #isForbidden(nowMs: number): boolean {
    return this.#forbiddenMs !== undefined && Math.abs(nowMs - this.#forbiddenMs) < dayMs;
  }

  async #deleteAll(deletions: readonly Deletion[], signal: AbortSignal): Promise<void> {
    const done: Deletion[] = [];
    try {
      const some = deletions.slice(0, deletesMax);
      for (let start = 0; start < some.length; start += deletesAtOnce) {
        await this.#deps.beforeWrite(signal);
        await this.#deleteSome(some.slice(start, start + deletesAtOnce), done, signal);
        this.#deps.at("retention-deleted");
      }
      this.#forbiddenMs = undefined;
      this.#resume();
    } catch (error) {
      if (!(error instanceof ObjectStoreError) || error.code !== "FORBIDDEN") throw error;
      this.#forbiddenMs = this.#deps.now();
      this.#hold(
        "append-only",
        `the store lets us delete nothing: ${error.message}. Where that is meant, let lifecycle rules of the bucket remove old files; else grant s3:DeleteObject.`,
      );
    } finally {
      this.#forget(done, deletions.length);
    }
  }

  /** In no order: all that is offered needs none of them. What is known to be gone is `done`, also where the rest fails. */
  async #deleteSome(
    some: readonly Deletion[],
    done: Deletion[],
    signal: AbortSignal,
  ): Promise<void> {
    const keys = some.map(({ file }) => file.key);
    try {
      await this.#deps.root.store.deleteAll(keys, { signal });
      done.push(...some);
    } catch (error) {
      if (error instanceof ObjectStoreError) {
        const left = new Set(error.leftKeys ?? keys);
        done.push(...some.filter(({ file }) => !left.has(file.key)));
      }
      throw error;
    }
  }

  #forget(done: readonly Deletion[], planned: number): void {
    if (done.length === 0) return;
    const { catalog, emit } = this.#deps;
    const gone = new Set(done.map(({ file }) => file));
    const reasons: Record<DeletionReason, number> = {
      merged: 0,
      "beyond-retention": 0,
      "dead-line": 0,
    };
    for (const { file, reason } of done) {
      reasons[reason] += 1;
      if (this.#deletedKeys.size < deletedKeysMax) this.#deletedKeys.add(file.key);
      this.#storedMs?.delete(file.key);
      if (!this.#others.has(file.timeline)) catalog.remove(file);
    }
    this.#others = new Map(
      [...this.#others].map(([name, timeline]) => [
        name,
        { ...timeline, files: timeline.files.filter((file) => !gone.has(file)) },
      ]),
    );
    const bytes = done.reduce((sum, { file }) => sum + file.size, 0);
    emit({
      type: "retained",
      files: done.length,
      bytes,
      reasons,
      remaining: planned - done.length,
    });
  }
}
