import { chooseManifest, type ManifestRef } from "@vaultwarden-stream/file-sync";
import type { Prng } from "@vaultwarden-stream/testkit";
import {
  type EpochRecord,
  lineOf,
  type OfferedInstant,
  offeredInstants,
  planLineage,
  type ReplicaFile,
  type TimelineFiles,
} from "wal-replicator/internals";
import { lineageOf, positionOf } from "./daemon.ts";
import type { FilesView } from "./file-ledger.ts";
import { LawBroken } from "./law-broken.ts";
import { applyFiles, type Ledger, type LedgerFile } from "./ledger.ts";
import type { CapturedState, Line } from "./line.ts";
import { hashPages, sameHash } from "./model-database.ts";
import type { Promises } from "./promises.ts";
import { RestoreIndex } from "./restore-index.ts";
import { hour, minute, second } from "./virtual-clock.ts";

/** What a drill has restored. */
export interface ProvenPoint {
  readonly line: Line;
  readonly txid: number;
}

/** What the referee looks at. */
export interface Position {
  readonly nowMs: number;
  readonly head: Line;
  /** The newest TXID of the head that the store has confirmed. */
  readonly storedTxid: number;
  /** Every timeline that has files, by name. */
  readonly lines: ReadonlyMap<string, Line>;
  readonly promises: Promises;
  readonly proven: ProvenPoint | undefined;
  /** Times around which uploads lagged or clocks were wrong: where a listing says no more than that, nobody can be precise there. */
  readonly isBlurred: (fromMs: number, toMs: number) => boolean;
  readonly listsTimestamps: boolean;
}

const instantsSampled = 20;
const timesSampled = 8;

/**
 * Whether what is offered is there: restores from what really lies in the store, compared with what was really committed. By two ways: the instants
 * that the engine says it offers, and moments of which D10 alone says what must come back.
 */
export class Referee {
  readonly #ledger: Ledger;
  readonly #prng: Prng;
  /** How many were made so far. */
  restores = 0;
  /** Of manifests, at the last look at all that is offered. */
  #seenDeletes = 0;

  constructor(ledger: Ledger, prng: Prng) {
    this.#ledger = ledger;
    this.#prng = prng;
  }

  /** What the engine says it offers, oldest first. */
  offered(position: Pick<Position, "head" | "nowMs" | "promises">): OfferedInstant[] {
    return offeredOf(position, this.#timelines(position.head));
  }

  check(position: Position): void {
    const { head } = position;
    const index = new RestoreIndex(this.#ledger, head);
    const timelines = this.#timelines(head);
    const offered = offeredOf(position, timelines);
    const view = this.#ledger.files.view(head);
    this.#checkInstants(position, index, view, offered);
    this.#checkAllFiles(position, view, offered);
    for (let count = 0; count < timesSampled; count += 1) this.#checkMoment(position, index);
    // Of a timeline without a file nobody restores.
    if (this.#ledger.levels(head.name).size > 0)
      this.#checkPlanner(position, index, timelines, offered);
    this.#checkProven(position);
    this.#checkDeadLines(position);
    this.#checkChoice(position, view, this.#prng.pick(offered));
  }

  #checkInstants(
    position: Position,
    index: RestoreIndex,
    view: FilesView,
    offered: readonly OfferedInstant[],
  ): void {
    const { head, nowMs, promises } = position;
    if (offered.length === 0) throw new LawBroken("nothing is offered");
    const byLevel = [...Map.groupBy(offered, ({ level }) => level).values()];
    for (let count = 0; count < instantsSampled; count += 1) {
      const instant =
        count === 0
          ? (offered[0] as OfferedInstant)
          : count === 1
            ? (offered.at(-1) as OfferedInstant)
            : this.#prng.pick(this.#prng.pick(byLevel));
      const txid = Number(instant.txid);
      const plan = index.plan({ txid });
      const what = () => `TXID ${txid} of ${head.name}, offered as of ${instant.at.toISOString()}`;
      if (plan === undefined) throw new LawBroken(`${what()}: there is no way to it`);
      this.#checkRestore(plan, head.state(txid), what);
      this.#checkFiles(position, view, instant);
      // Whoever begins now may take so long; less what our clock may be wrong without its being noticed.
      this.#ledger.reads(
        plan,
        nowMs + promises.current.graceMs - 5 * minute,
        () => `${what()}, planned at ${new Date(nowMs).toISOString()}`,
      );
    }
  }

  /** A moment, and what D10 says of it: the state in force at the beginning of its window, or a newer one, and none from after it. */
  #checkMoment(position: Position, index: RestoreIndex): void {
    const { head, nowMs, promises, storedTxid, listsTimestamps } = position;
    const { keepMs } = promises.current;
    const level = this.#prng.integer(0, keepMs.length - 1);
    const youngestMs = keepMs[level - 1] ?? 0;
    const ageMs = youngestMs + this.#prng.float() * ((keepMs[level] as number) - youngestMs);
    const atMs = Math.floor(nowMs - ageMs);
    const precisionMs = promises.precisionMs(atMs, nowMs);
    if (precisionMs === undefined) return;
    if (
      !listsTimestamps &&
      position.isBlurred(atMs - precisionMs - hour, atMs + precisionMs + hour)
    )
      return;
    const windowMs = precisionMs === 0 ? atMs : Math.floor(atMs / precisionMs) * precisionMs;
    const inForce = head.newestBefore(windowMs - (listsTimestamps ? 0 : uploadMs));
    const newest = head.newestBefore(atMs);
    if (inForce === undefined || newest === undefined) return;
    const plan = index.plan({ beforeMs: atMs });
    const what = () => `${new Date(atMs).toISOString()}, ${Math.round(ageMs / minute)} min ago`;
    if (plan === undefined) throw new LawBroken(`${what()}: nothing can be restored`);
    const reached = (plan.at(-1) as LedgerFile).max;
    if (reached < Math.min(inForce.txid, storedTxid)) {
      throw new LawBroken(
        `${what()}: a restore gives TXID ${reached}; TXID ${inForce.txid} was there ${precisionMs / second} s before it or earlier`,
      );
    }
    if (reached > newest.txid) {
      throw new LawBroken(
        `${what()}: a restore gives TXID ${reached}, and ${newest.txid} was the last`,
      );
    }
    this.#checkRestore(plan, head.state(reached), what);
  }

  /** The engine's planner finds the same as ours. */
  #checkPlanner(
    { head, lines, listsTimestamps }: Position,
    index: RestoreIndex,
    timelines: ReadonlyMap<string, TimelineFiles>,
    offered: readonly OfferedInstant[],
  ): void {
    const instant = this.#prng.pick(offered);
    // By time the engine asks the store for more than a listing, where that says too little.
    const isByTime = listsTimestamps && this.#prng.chance(0.5);
    const before = new Date(instant.at.getTime() + 1);
    const planning = planLineage(
      isByTime ? { timeline: head.name, before } : { timeline: head.name, txid: instant.txid },
    );
    let step = planning.next();
    while (step.done !== true) {
      const request = step.value;
      if (request.need === "files") {
        step = planning.next({ files: timelines.get(request.timeline)?.files ?? [] });
      } else if (request.need === "founder") {
        const founded = lines.get(request.timeline) as Line;
        step = planning.next({ record: { parent: positionOf(founded) } as EpochRecord });
      } else step = planning.next({});
    }
    const outcome = step.value;
    const own = index.plan(
      isByTime ? { beforeMs: before.getTime() } : { txid: Number(instant.txid) },
    );
    const found = outcome.outcome === "plan" ? Number(outcome.txid) : outcome.outcome;
    if (found !== own?.at(-1)?.max) {
      throw new LawBroken(
        `planLineage for ${isByTime ? before.toISOString() : `TXID ${instant.txid}`} gives ${found}, and ${own?.at(-1)?.max} can be reached`,
      );
    }
    if (outcome.outcome === "plan") {
      this.#checkRestore(
        outcome.files as readonly LedgerFile[],
        head.state(Number(outcome.txid)),
        () => "planLineage",
      );
    }
  }

  #checkProven({ proven }: Position): void {
    if (proven === undefined) return;
    const { line, txid } = proven;
    const plan = new RestoreIndex(this.#ledger, line).plan({ txid });
    const what = () => `TXID ${txid} of ${line.name}, which a drill has proved last`;
    if (plan === undefined) throw new LawBroken(`${what()}, cannot be restored any more`);
    this.#checkRestore(plan, line.state(txid), what);
  }

  /** What lost, or was left, keeps whole for as long as it is kept. */
  #checkDeadLines({ head, lines, promises, nowMs }: Position): void {
    const living = new Set([...head.lineage()].map(({ line }) => line));
    for (const line of lines.values()) {
      const own = [...this.#ledger.levels(line.name).values()].flat();
      if (living.has(line) || own.length === 0) continue;
      const lastMs = Math.max(...own.map(({ storedAtMs }) => storedAtMs));
      // Its end is a moment of its own: some of it may be gone while the rest is going.
      if (nowMs > lastMs + (promises.keepMs(lastMs).at(-1) as number)) continue;
      const { max } = this.#prng.pick(own);
      const plan = new RestoreIndex(this.#ledger, line).plan({ txid: max });
      const what = () => `TXID ${max} of ${line.name}, a dead line`;
      if (plan === undefined) throw new LawBroken(`${what()}, cannot be restored any more`);
      this.#checkRestore(plan, line.state(max), what);
    }
  }

  /** After a prune: what one instant alone needed is missed by one of hundreds. */
  #checkAllFiles(position: Position, view: FilesView, offered: readonly OfferedInstant[]): void {
    const { deletes } = this.#ledger.files;
    if (deletes === this.#seenDeletes) return;
    this.#seenDeletes = deletes;
    for (const instant of offered) this.#checkFiles(position, view, instant);
  }

  /** The instant has the files that it would have if nothing had ever been deleted. */
  #checkFiles(position: Position, view: FilesView, instant: OfferedInstant): void {
    const { head, listsTimestamps, promises } = position;
    const atMs = instant.at.getTime();
    // Of files nothing is promised beyond what an earlier policy kept.
    if (instant.ageMs > (promises.keepMs(atMs).at(-1) as number)) return;
    const what = () =>
      `the files of TXID ${instant.txid}, offered as of ${instant.at.toISOString()}`;
    const { timestampMs, rows } = head.state(Number(instant.txid));
    // Else it has come to be dated later: by its merged file in a listing that tells when files were stored, or by a snapshot, once that is all there is.
    if (listsTimestamps && atMs === timestampMs) {
      const found = view.chosen(atMs);
      const once = view.chosenOnce(atMs);
      if (found !== once) {
        throw new LawBroken(`${what()}: ${nameOf(found)} is chosen, and once was ${nameOf(once)}`);
      }
    }
    const lost = view.lostFile(atMs, rows);
    if (lost === undefined) return;
    throw new LawBroken(`${what()}: ${lost}, which its rows name, is in no manifest any more`);
  }

  /** The engine chooses manifests as we do. */
  #checkChoice({ head }: Position, view: FilesView, { at }: OfferedInstant): void {
    const found = nameOf(chooseManifest(view.live, lineageOf(head), at));
    const own = nameOf(view.chosen(at.getTime()));
    if (found !== own)
      throw new LawBroken(`chooseManifest for ${at.toISOString()}: ${found}, not ${own}`);
  }

  #checkRestore(
    plan: readonly Pick<LedgerFile, "change" | "key">[],
    { txid, hash }: CapturedState,
    what: () => string,
  ): void {
    this.restores += 1;
    const pages = applyFiles(plan);
    if (!sameHash(hashPages(pages), hash)) {
      throw new LawBroken(
        `${what()}: the restore is not TXID ${txid} as it was (${plan.map(({ key }) => key).join(" ")})`,
      );
    }
  }

  #timelines(head: Line): Map<string, TimelineFiles> {
    const timelines = new Map<string, TimelineFiles>();
    for (const { line } of head.lineage()) {
      const timeline = line.name;
      const files: ReplicaFile[] = [...this.#ledger.levels(timeline)]
        .sort(([a], [b]) => a - b)
        .flatMap(([, level]) => level);
      timelines.set(timeline, {
        timeline,
        parent: positionOf(line),
        files,
      });
    }
    return timelines;
  }
}

function offeredOf(
  { head, nowMs, promises }: Pick<Position, "head" | "nowMs" | "promises">,
  timelines: ReadonlyMap<string, TimelineFiles>,
): OfferedInstant[] {
  return offeredInstants(lineOf(head.name, timelines), promises.current, nowMs);
}

/** Uploads take less, as long as nothing is wrong. */
const uploadMs = 5 * second;

function nameOf(ref: ManifestRef | undefined): string {
  return ref === undefined ? "none" : `${ref.timeline} ${ref.epoch}-${ref.sequence}`;
}
