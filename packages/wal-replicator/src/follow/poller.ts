import { isNotFound } from "@vaultwarden-stream/object-store";
import { formatTxid, nextTxid, type Txid } from "../ltx/txid.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import { epochIdOf, readLeaseObject, readRecord } from "../replica/epoch-objects.ts";
import type { ReplicaRoot } from "../replica/replica.ts";
import { ReplicaError } from "../replica/replica-error.ts";
import { FileDamaged } from "../restore/part-applier.ts";
import { BatchRefused, type CopyKeeper } from "./copy-keeper.ts";
import type { CopyPlace } from "./copy-place.ts";
import type { CopyPosition } from "./copy-state.ts";
import { fetchBatch, receiveBatch } from "./fetch-batch.ts";
import { type FollowPlan, firstBatch, planFollow, type RestoreReason } from "./plan-follow.ts";
import { type FollowedLine, readLine } from "./read-line.ts";
import { RecentProof } from "./recent-proof.ts";

export interface PollerDeps {
  readonly root: ReplicaRoot;
  readonly place: CopyPlace;
  readonly keeper: CopyKeeper;
  /** The timeline that is followed by its name. */
  readonly named: string | undefined;
  readonly pollIntervalMs: number;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
}

/**
 * Asks the store for what is new. An idle poll is one request, nearly always for the next level-0 file: that it is not there says that the
 * copy is as new as the replica, as long as that was known a moment ago already (`RecentProof`), since no retention is that quick. In the place of
 * one poll a minute it looks for the next epoch, or what the writer's lease claims to have stored. Everything is listed at the start, after
 * each failure, for a new line, and whenever one of these gives reason to.
 */
export class Poller {
  readonly #deps: PollerDeps;
  readonly #lookEvery: number;
  readonly #proof: RecentProof;
  /** Undefined: everything has to be listed. */
  #line: FollowedLine | undefined;
  #pollCount = 0;
  #lookCount = 0;
  /** The number to look for. Branches before it were seen. */
  #nextEpoch = 1;
  readonly #damagedKeys = new Set<string>();
  #vanishedCount = 0;

  constructor(deps: PollerDeps) {
    this.#deps = deps;
    this.#lookEvery = Math.max(2, Math.round(lookIntervalMs / deps.pollIntervalMs));
    this.#proof = new RecentProof(deps);
  }

  /** When the copy was last known to be as new as the replica, in milliseconds since the Unix epoch; undefined: never. */
  get currentAtMs(): number | undefined {
    return this.#proof.atMs;
  }

  /**
   * One poll, and what comes of it: the copy is further on, or restored anew, or nothing is new.
   *
   * @returns whether to ask again at once.
   * @throws errors of the store, of files and of the copy. The next poll lists everything then.
   */
  async poll(signal: AbortSignal): Promise<boolean> {
    try {
      if (this.#line === undefined) return await this.#catchUp(signal);
      this.#pollCount += 1;
      const isLook = this.#pollCount % this.#lookEvery === 0;
      return await (isLook ? this.#look(this.#line, signal) : this.#askNext(this.#line, signal));
    } catch (error) {
      this.#line = undefined;
      if (error instanceof BatchRefused) {
        return await this.#restoreAnew(error.reason, error.message, signal);
      }
      if (!(error instanceof FileDamaged)) throw error;
      this.#damagedKeys.add(error.file.key);
      throw damaged(error);
    }
  }

  get #position(): CopyPosition {
    return this.#deps.keeper.openCopy.position;
  }

  async #catchUp(signal: AbortSignal): Promise<boolean> {
    const { root, place, keeper, named } = this.#deps;
    const moment = this.#proof.moment();
    const line = await readLine(root, this.#position.timeline, named, { signal });
    const plan = this.#plan(line);
    if (plan.kind === "stuck") throw stuck(plan.next, this.#position);
    if (plan.kind === "restore") {
      return await this.#restoreAnew(plan.reason, this.#because(plan.reason, line), signal);
    }
    if (plan.kind === "apply") {
      for (let files = plan.files; files.length > 0; ) {
        const first = firstBatch(files);
        try {
          await using batch = await fetchBatch(root.store, first, place, signal);
          await keeper.apply(batch, signal);
        } catch (error) {
          // Merged and pruned since the listing: the next one has it elsewhere.
          if (!isNotFound(error) || this.#vanishedCount >= vanishedMax) throw error;
          this.#vanishedCount += 1;
          return true;
        }
        files = files.slice(first.length);
      }
    }
    this.#vanishedCount = 0;
    this.#damagedKeys.clear();
    this.#line = line;
    this.#nextEpoch = (line.log?.highestNumber ?? 0) + 1;
    // The copy has all that was there when the listing began.
    this.#proof.prove(moment);
    return plan.kind === "apply";
  }

  #plan({ segments }: FollowedLine): FollowPlan {
    const plan = planFollow(this.#position, segments, this.#damagedKeys);
    if (plan.kind !== "stuck" || this.#damagedKeys.size === 0) return plan;
    // Nothing makes up for the damaged file: perhaps it is whole by now, or was damaged on the way.
    this.#damagedKeys.clear();
    return planFollow(this.#position, segments);
  }

  async #askNext(line: FollowedLine, signal: AbortSignal): Promise<boolean> {
    const { root, place, keeper } = this.#deps;
    const { head, successor, segments } = line;
    const moment = this.#proof.moment();
    const upTo = segments.at(-1)?.upTo;
    const isOver = upTo !== undefined && this.#position.txid >= upTo;
    if (successor !== undefined && (isOver || this.#pollCount % 2 === 0)) {
      const key = successor.keyOf(successor.firstTxid);
      const found = await unlessAbsent(root.store.head(key, { signal }));
      if (found !== undefined) this.#line = undefined;
      else if (isOver) this.#proof.prove(moment);
      return found !== undefined;
    }
    const txid = nextTxid(this.#position.txid);
    const reading = await unlessAbsent(root.store.get(head.keyOf(txid), { signal }));
    if (reading !== undefined) {
      const { key, size, lastModified, storeTime, timestamp } = reading.info;
      const range = { level: 0, minTxid: txid, maxTxid: txid, timeline: head.timeline };
      const file: ReplicaFile = { ...range, key, size, createdAt: timestamp ?? lastModified };
      await using batch = await receiveBatch(reading, file, place);
      await keeper.apply(batch, signal);
      const ageMs = storeTime && storeTime.getTime() - lastModified.getTime();
      this.#proof.noteFile(moment, ageMs);
      return true;
    }
    if (!this.#proof.isRecent(this.#position)) {
      this.#line = undefined;
      return true;
    }
    this.#proof.prove(moment);
    return false;
  }

  async #look(line: FollowedLine, signal: AbortSignal): Promise<boolean> {
    this.#lookCount += 1;
    const isListing = this.#lookCount % listEvery === 0;
    const { log, newestWriter } = line;
    if (log !== undefined && this.#lookCount % 2 === 1) {
      return await this.#lookForEpoch(line, signal);
    }
    if (newestWriter !== undefined) return await this.#lookAtLease(line, signal);
    // Nobody says what is stored: a stock replica, or a timeline by its name.
    if (!isListing) return await this.#askNext(line, signal);
    this.#line = undefined;
    return await this.#catchUp(signal);
  }

  async #lookForEpoch(line: FollowedLine, signal: AbortSignal): Promise<boolean> {
    const { log, newestWriter, head } = line;
    // What has no number of its own is seen in a listing only; now and then all are listed, whatever the store could do before.
    if (newestWriter?.keyedByNonce === true || this.#lookCount % listEvery === 1) {
      const again = await log?.readAgain({ signal });
      const newest = (await again?.newest())?.record;
      this.#line = newest?.nonce === newestWriter?.nonce ? { ...line, log: again } : undefined;
      return this.#line === undefined;
    }
    const id = { epoch: this.#nextEpoch, nonce: undefined };
    const record = await unlessAbsent(readRecord(this.#deps.root, id, { signal }));
    if (record === undefined) return false;
    this.#nextEpoch += 1;
    if (record.kind === "branch") return false;
    const goesOnHere = record.timeline === head.timeline && line.successor === undefined;
    this.#line = goesOnHere ? { ...line, newestWriter: record } : undefined;
    return !goesOnHere;
  }

  async #lookAtLease({ newestWriter }: FollowedLine, signal: AbortSignal): Promise<boolean> {
    if (newestWriter === undefined) return false;
    const { root } = this.#deps;
    const found = await unlessAbsent(readLeaseObject(root, epochIdOf(newestWriter), { signal }));
    const { nonce, timeline } = newestWriter;
    if (found?.lease.nonce === nonce && found.lease.txid !== null) {
      this.#proof.claim({ timeline, txid: found.lease.txid });
    }
    return false;
  }

  async #restoreAnew(
    reason: RestoreReason,
    message: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    this.#line = undefined;
    await this.#deps.keeper.restoreAnew(reason, message, signal);
    return true;
  }

  #because(reason: RestoreReason, { segments, head }: FollowedLine): string {
    const { timeline, txid } = this.#position;
    const here = `TXID ${formatTxid(txid)} of timeline ${timeline}`;
    if (reason === "gap")
      return `nothing continues ${here} any more, and a newer snapshot is there`;
    const left = segments.find((segment) => segment.timeline === timeline)?.upTo;
    const where = left === undefined ? "" : `, which left that one at TXID ${formatTxid(left)}`;
    return `${here} is no part of timeline ${head.timeline}${where}`;
  }
}

/** Between two looks at something else than the next file. */
const lookIntervalMs = 60_000;
/** In looks. */
const listEvery = 10;
/** Listings in a row of which a file was gone when it was fetched. */
const vanishedMax = 3;

async function unlessAbsent<T>(request: Promise<T>): Promise<T | undefined> {
  try {
    return await request;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

function damaged({ file, cause }: FileDamaged): ReplicaError {
  const { key, level, timeline, maxTxid: txid } = file;
  return new ReplicaError(
    "VERIFICATION_FAILED",
    `a file of the replica is damaged: ${(cause as Error).message}`,
    {
      ...{ key, level, timeline, txid, cause },
      hint: "The copy stays where it is until the file is whole, or merged ones make up for it. Verify the replica.",
    },
  );
}

function stuck(next: ReplicaFile, { txid }: { readonly txid: Txid }): ReplicaError {
  return new ReplicaError(
    "CHAIN_BROKEN",
    `no file continues TXID ${formatTxid(txid)}, and later ones exist, from TXID ${formatTxid(next.minTxid)} on`,
    {
      ...{ key: next.key, level: next.level, timeline: next.timeline, txid },
      hint: "The copy stays where it is until a snapshot bridges the gap. Find out who deleted the files.",
    },
  );
}
