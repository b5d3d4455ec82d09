import { invariant, ReplicationError } from "../errors.ts";
import type { ResumeAction } from "../events.ts";
import { nextTxid, type Txid, toTxid } from "../ltx/txid.ts";
import { Catalog } from "../replica/catalog.ts";
import { EpochLog, type EpochMode } from "../replica/epoch.ts";
import type { EpochRecord, TimelinePosition } from "../replica/epoch-record.ts";
import { Fenced } from "../replica/lease.ts";
import type { SqliteConnection } from "../sqlite/connection.ts";
import { WalFile } from "../sqlite/database-file.ts";
import { saltsEqual } from "../sqlite/salt.ts";
import { readWalHeader } from "../sqlite/wal-header.ts";
import { verifyFrameAt } from "../sqlite/wal-reader.ts";
import { type LocalPosition, localPosition } from "../start/local-position.ts";
import { type Outlook, readOutlook } from "../start/outlook.ts";
import type { StartPlan } from "../start/plan-start.ts";
import { refusal } from "../start/refusal.ts";
import { Capture, type Captured } from "./capture.ts";
import type { Holding } from "./claim.ts";
import { type Connections, openConnections } from "./connections.ts";
import { judgeComparison, planResume, type ResumeInput, type ResumePlan } from "./plan-resume.ts";
import { Session } from "./session.ts";
import type { SessionDeps } from "./session-deps.ts";
import { StartAgain } from "./session-ends.ts";
import { Spool, spoolDirectory } from "./spool.ts";
import { readNonces } from "./spool-nonces.ts";
import type { SpoolPosition } from "./spool-state.ts";
import { takeNoted } from "./take-noted.ts";

/** How a stream on a database begins. */
export type SessionOrigin =
  /** As the start table says. */
  | { readonly kind: "table" }
  /** A new timeline whatever the positions say: another file lies at the path, or a stranger's file in ours. Not if somebody took over. */
  | { readonly kind: "begin"; readonly because: string }
  /** We were fenced: what is captured goes to a timeline that claims nothing. */
  | { readonly kind: "branch"; readonly because: string };

/**
 * Starts a session, in this order: spool locked; both sides' positions read, and another owner's lease waited for; the decision, before
 * anything is written anywhere; anchor held; epoch taken; timeline entered in the spool; then the stream. A start that fails
 * has changed nothing but perhaps an epoch number, or, where the sides have diverged, has stored ours as a branch.
 *
 * @param signal - ends the waiting.
 */
export async function startSession(
  deps: SessionDeps,
  origin: SessionOrigin,
  signal: AbortSignal,
): Promise<Session> {
  const spool = await Spool.open(spoolDirectory(deps.databasePath), deps.at);
  let start: SessionStart | undefined;
  try {
    const ownNonces = await readNonces(spool);
    // Whoever is fenced, or has another database, is past waiting for somebody's lease.
    const asking = origin.kind === "table" ? deps : { ...deps, ifHeld: "take-over" as const };
    const outlook = await readOutlook(asking, spool, ownNonces, signal, { database: "present" });
    start = new SessionStart(deps, spool, outlook, signal);
    return await start.run(origin);
  } catch (error) {
    start?.close();
    spool.close();
    throw error;
  }
}

type FirstPass = (reader: SqliteConnection) => Promise<Captured | undefined>;

class SessionStart {
  readonly #deps: SessionDeps;
  readonly #spool: Spool;
  readonly #outlook: Outlook;
  readonly #signal: AbortSignal;
  readonly #connections: Connections;
  readonly #capture: Capture;
  readonly #local: LocalPosition | undefined;

  constructor(deps: SessionDeps, spool: Spool, outlook: Outlook, signal: AbortSignal) {
    this.#deps = deps;
    this.#spool = spool;
    this.#outlook = outlook;
    this.#signal = signal;
    this.#local = localPosition(spool);
    this.#connections = openConnections(deps.databasePath, deps.Database);
    this.#capture = new Capture(
      {
        database: this.#connections.database,
        walPath: this.#connections.walPath,
        control: this.#connections.control,
        spool,
        now: deps.now,
        timestampMsMin: outlook.newestTimestampMs,
      },
      this.#connections.pageSize,
      { txid: undefined, walPosition: undefined, pageCount: 0, checksums: undefined },
    );
  }

  close(): void {
    this.#connections.close();
  }

  async run(origin: SessionOrigin): Promise<Session> {
    if (origin.kind === "branch")
      return this.#begin("branch", this.#spool.storedPosition, origin.because);
    if (origin.kind === "begin") {
      const { stranger } = this.#outlook;
      // Somebody took over, and this is how we come to know of it. A writer that went on would fence them in turn.
      if (stranger !== undefined) throw new Fenced(stranger);
      return this.#begin("writer", this.#spool.storedPosition, origin.because);
    }
    const { plan } = this.#outlook;
    switch (plan.action) {
      case "offline":
        return this.#goOn(plan, undefined);
      case "continue":
        if (this.#local !== undefined && this.#local.pageSize !== this.#connections.pageSize) {
          return this.#begin("writer", this.#spool.storedPosition, "the page size has changed");
        }
        return this.#goOn(plan, plan.parent);
      case "begin":
        return this.#begin("writer", plan.parent, plan.why);
      case "compare":
        return this.#compare(plan);
      case "diverged":
        return this.#diverged(plan);
      case "restore":
        if (!(await this.#capturesMore())) {
          if (this.#deps.ifHeld === "take-over" && this.#outlook.isHeld) await this.#claim();
          throw localBehind(plan.why);
        }
        return this.#diverged({
          action: "diverged",
          go: this.#deps.onDivergence,
          why: `${plan.why}, with commits here that were never captured`,
        });
      case "held":
      case "stop":
        throw refusal(plan);
      case "wait":
      case "ship-spool":
      case "nothing-anywhere":
        invariant(false, `a start with a database never gets to "${plan.action}"`);
    }
  }

  /** An epoch without files, so that the owner is fenced before we restore: a busy one would be ahead again after every restore. */
  async #claim(): Promise<void> {
    await this.#take("writer", { parent: this.#spool.storedPosition });
  }

  /** @param parent - of the timeline; undefined: offline, and the epoch follows later. */
  async #goOn(
    plan: Extract<StartPlan, { action: "continue" | "offline" }>,
    parent: TimelinePosition | null | undefined,
  ): Promise<Session> {
    const first = await this.#firstPass(
      this.#local,
      this.#outlook.catalog(plan.timeline)?.highestTxid,
      parent ?? null,
    );
    const record =
      parent === undefined
        ? undefined
        : await this.#take("writer", { timeline: plan.timeline, parent });
    await this.#saveEntered(plan.timeline, record === undefined);
    return this.#session(record, first, plan.timeline, {
      continued: true,
      parent: parent ?? null,
      why: plan.why,
    });
  }

  /** A new timeline. Increments go on from the local position if the store has it as a branch point; else it begins with a full copy. */
  async #begin(
    kind: EpochRecord["kind"],
    parent: TimelinePosition | null,
    why: string,
  ): Promise<Session> {
    const local =
      parent !== null && this.#branchesHere(parent) && (await this.#outlook.restores(parent))
        ? this.#local
        : undefined;
    const first = await this.#firstPass(local, undefined, parent);
    const record = await this.#take(kind, { parent });
    const moves = local !== undefined && first.action !== "snapshot";
    if (moves) {
      await this.#spool.moveTo({
        version: 1,
        timeline: record.timeline,
        position: positionOf(local),
        storedTxid: parent?.txid,
        restored: false,
        generations: this.#spool.state?.generations ?? [],
      });
      const { checksums } = this.#capture.state;
      // Saved under the old timeline's name until now.
      if (checksums !== undefined) await this.#spool.savePageChecksums(local.txid, checksums);
    } else {
      await this.#spool.saveState({
        version: 1,
        timeline: record.timeline,
        position: undefined,
        storedTxid: undefined,
        restored: false,
        generations: [],
      });
    }
    this.#deps.at("timeline-entered");
    return this.#session(record, first, record.timeline, { continued: false, parent, why });
  }

  /** Whether the local position is the branch point, or the waiting files lead there from it. */
  #branchesHere(parent: TimelinePosition): boolean {
    return (
      this.#local !== undefined &&
      this.#local.pageSize === this.#connections.pageSize &&
      this.#spool.state?.timeline === parent.timeline &&
      this.#spool.storedTxid === parent.txid
    );
  }

  /** Nothing says where this database stands: its content decides. */
  async #compare(plan: Extract<StartPlan, { action: "compare" }>): Promise<Session> {
    const { head } = plan;
    const { state } = this.#capture;
    const isSame = await this.#connections.anchor.rotate((reader) =>
      this.#capture.inspect(reader, async (view) => {
        const now = await this.#capture.checksumView(view);
        if (now.rolling !== plan.rollingChecksum) return false;
        state.txid = head.txid;
        this.#capture.adopt(view, now);
        return true;
      }),
    );
    if (!isSame) {
      return this.#diverged({
        action: "diverged",
        go: this.#deps.onDivergence,
        why: `${plan.why}, and its content is not the store's newest`,
      });
    }
    const record = await this.#take("writer", { parent: head });
    invariant(state.checksums !== undefined, "an adopted state has checksums");
    await this.#spool.saveState({
      version: 1,
      timeline: record.timeline,
      position: {
        txid: head.txid,
        pageSize: this.#connections.pageSize,
        pageCount: state.pageCount,
        rollingChecksum: state.checksums.rolling,
      },
      storedTxid: head.txid,
      restored: false,
      generations: [],
    });
    await this.#spool.savePageChecksums(head.txid, state.checksums);
    this.#deps.at("timeline-entered");
    const first = {
      action: "compare" as const,
      pass: (reader: SqliteConnection) => this.#capture.incremental(reader),
      why: "the database has the content of the store's newest state",
    };
    return this.#session(record, first, record.timeline, {
      continued: false,
      parent: head,
      why: plan.why,
    });
  }

  /** Both sides are kept: what only this one has is stored on a timeline of its own, before anybody goes on. */
  async #diverged(plan: Extract<StartPlan, { action: "diverged" }>): Promise<Session> {
    if (plan.go === "local") {
      return this.#begin("writer", this.#spool.storedPosition, `${plan.why}; this side was chosen`);
    }
    if (await this.#hasUnstored()) {
      const session = await this.#begin("branch", this.#spool.storedPosition, plan.why);
      await session.stop({});
    }
    if (plan.go === "remote") throw localBehind(plan.why);
    throw new ReplicationError(
      "LOCAL_DIVERGED",
      `the database here and the store both have what the other lacks: ${plan.why}`,
      `What is here is stored as timeline ${this.#spool.state?.timeline}. Decide which one goes on: restore the store's, or start with this side chosen; the other one is kept.`,
    );
  }

  /** Whether anything here is nowhere else. */
  async #hasUnstored(): Promise<boolean> {
    return (await this.#capturesMore()) || this.#spool.waiting.length > 0;
  }

  /**
   * Captures what was committed behind the local position, on the timeline that the spool is on: an engine that was killed left its
   * application writing.
   *
   * @throws `LOCAL_BEHIND` if the database is even older than the position.
   */
  async #capturesMore(): Promise<boolean> {
    const local = this.#local;
    if (local === undefined || local.pageSize !== this.#connections.pageSize) return true;
    const first = await this.#firstPass(local, undefined, null);
    await this.#connections.anchor.rotate(first.pass);
    const { txid } = this.#capture.state;
    return txid !== undefined && txid > local.txid;
  }

  async #firstPass(
    local: LocalPosition | undefined,
    remoteTxid: Txid | undefined,
    parent: TimelinePosition | null,
  ): Promise<FirstPassPlan> {
    const { state } = this.#capture;
    if (state.txid !== undefined) {
      // Captured up to the anchor a moment ago, while it was found out that the sides have diverged.
      return {
        action: "continue",
        pass: (reader) => this.#capture.incremental(reader),
        why: "it is captured",
      };
    }
    const connections = this.#connections;
    const resume = planResume({
      local: local && { ...local, generations: this.#spool.state?.generations ?? [] },
      remoteTxid,
      pageSize: connections.pageSize,
      committedFrames: connections.control.checkpoint("NOOP").logFrames,
      ...lookAtWal(connections.walPath, local),
    });
    return decideFirstPass(this.#spool, connections, this.#capture, resume, parent, local);
  }

  /**
   * What goes on in its timeline: the state only changes in what a restore or an earlier life left.
   *
   * @param isOffline - that an earlier moment was restored is not acted on yet: it counts when the store is back.
   */
  async #saveEntered(timeline: string, isOffline: boolean): Promise<void> {
    const kept = this.#spool.state;
    const { storedTxid } = this.#spool;
    await this.#spool.saveState({
      version: 1,
      timeline,
      position: this.#local && positionOf(this.#local),
      storedTxid,
      restored: isOffline && kept?.restored === true,
      generations: kept?.generations ?? [],
    });
    this.#deps.at("timeline-entered");
    // Once the timeline's own base is stored, nothing that was captured for an older one is needed.
    if (storedTxid !== undefined) await this.#spool.dropOtherTimelines();
  }

  get #mode(): EpochMode {
    const { mode } = this.#outlook;
    if (mode !== undefined) return mode;
    throw new ReplicationError(
      "START_REFUSED",
      "a new timeline is needed, and the store does not answer",
      "Make the store reachable and start again; nothing was written.",
    );
  }

  async #take(
    kind: EpochRecord["kind"],
    line: Parameters<typeof takeNoted>[4],
  ): Promise<EpochRecord> {
    return takeNoted(this.#deps, this.#spool, this.#mode, kind, line, { signal: this.#signal });
  }

  #session(
    record: EpochRecord | undefined,
    first: FirstPassPlan,
    timeline: string,
    about: {
      readonly continued: boolean;
      readonly parent: TimelinePosition | null;
      readonly why: string;
    },
  ): Session {
    const { parent, continued } = about;
    this.#deps.emit({
      type: "started",
      epoch: record?.epoch ?? null,
      timeline,
      parent,
      continued,
      reason: `${about.why}; ${first.why}`,
      resume: first.action,
    });
    const hasBase =
      parent === null || first.action === "snapshot" || this.#outlook.hasBase(timeline);
    // Of a timeline that goes on, an unknown content must not look like none: its levels would begin again.
    const known = this.#outlook.catalog(timeline);
    invariant(known !== undefined || !continued || record === undefined, "what goes on is listed");
    const catalog = known ?? new Catalog();
    return new Session({
      deps: this.#deps,
      spool: this.#spool,
      connections: this.#connections,
      capture: this.#capture,
      holding: record && { record, mode: this.#mode, catalog },
      take: (signal) => claimLater(this.#deps, this.#spool, timeline, signal),
      firstPass: first.pass,
      lacksBase: !hasBase,
    });
  }
}

/** After a start without the store: takes the epoch now, if we still are who may go on in our timeline. */
async function claimLater(
  deps: SessionDeps,
  spool: Spool,
  timeline: string,
  signal: AbortSignal,
): Promise<Holding> {
  const root = deps.replica;
  const request = { signal };
  // The store first: who has no answer must not ask for a proof of its conditional writes.
  const log = await EpochLog.read(root, request);
  const newest = await log.newest();
  const outlook = await readOutlook(
    { ...deps, ifHeld: "take-over" },
    spool,
    await readNonces(spool),
    signal,
    { database: "present", log, needsStore: true },
  );
  const { plan, mode } = outlook;
  invariant(mode !== undefined, "a store that answers has a mode");
  if (plan.action === "continue" && plan.timeline === timeline) {
    const { parent } = plan;
    const record = await takeNoted(deps, spool, mode, "writer", { timeline, parent }, request);
    const catalog = outlook.catalog(timeline);
    invariant(catalog !== undefined, "what goes on is listed");
    return { record, mode, catalog };
  }
  if (plan.action === "begin" || newest === undefined)
    throw new StartAgain(`the store is back: ${"why" in plan ? plan.why : ""}`);
  throw new Fenced(newest.record);
}

interface FirstPassPlan {
  readonly action: ResumeAction;
  readonly pass: FirstPass;
  readonly why: string;
}

/** Loads what the plan needs, and compares the whole database where it says so: the last chance to refuse. */
async function decideFirstPass(
  spool: Spool,
  connections: Connections,
  capture: Capture,
  resume: ResumePlan,
  parent: TimelinePosition | null,
  local: LocalPosition | undefined,
): Promise<FirstPassPlan> {
  const { why } = resume;
  if (resume.action === "behind") throw localBehind(why);
  if (resume.action === "snapshot" || local === undefined) {
    const txid = parent === null ? toTxid(1n) : nextTxid(parent.txid);
    return { action: "snapshot", pass: (reader) => capture.snapshot(reader, txid), why };
  }
  const saved = await spool.loadPageChecksums(local.txid);
  capture.state.txid = local.txid;
  capture.state.pageCount = local.pageCount;
  capture.state.checksums = saved;
  if (resume.action === "continue") {
    capture.state.walPosition = resume.from;
    return { action: "continue", pass: (reader) => capture.resume(reader), why };
  }
  const generations = spool.state?.generations ?? [];
  return connections.anchor.rotate((reader) =>
    capture.inspect(reader, async (view): Promise<FirstPassPlan> => {
      const now = await capture.checksumView(view);
      switch (
        judgeComparison(now.rolling, { rollingChecksum: local.rollingChecksum, generations })
      ) {
        case "same":
          capture.adopt(view, now);
          return { action: "compare", pass: (next) => capture.incremental(next), why };
        case "behind":
          throw localBehind(
            "the database is as it was when an earlier WAL began, as after a power cut or in an old copy",
          );
        case "changed":
          return {
            // Without the table of its pages all of them go, as the increment behind what waits.
            action: "compare",
            pass: (next) => capture.compare(next),
            why,
          };
      }
    }),
  );
}

function lookAtWal(
  walPath: string,
  local: LocalPosition | undefined,
): Pick<ResumeInput, "walSalt" | "lastFrame"> {
  using wal = WalFile.open(walPath);
  const header = wal === undefined ? "torn" : readWalHeader(wal);
  if (wal === undefined || header === "torn") return { walSalt: undefined, lastFrame: undefined };
  const position = local?.walPosition;
  const lastFrame =
    position !== undefined && saltsEqual(position.salt, header.salt)
      ? verifyFrameAt(wal, header, position)
      : undefined;
  return { walSalt: header.salt, lastFrame };
}

function positionOf(local: LocalPosition): SpoolPosition {
  const { txid, pageSize, pageCount, rollingChecksum } = local;
  return { txid, pageSize, pageCount, rollingChecksum };
}

function localBehind(why: string): ReplicationError {
  return new ReplicationError(
    "LOCAL_BEHIND",
    `the local database lacks what the store has: ${why}`,
    "Keep a copy of the local database, restore from the store, and start again; nothing was overwritten.",
  );
}
