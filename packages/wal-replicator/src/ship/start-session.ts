import { hostname } from "node:os";
import { ReplicationError } from "../errors.ts";
import type { ResumeAction } from "../events.ts";
import { nextTxid, type Txid, toTxid } from "../ltx/txid.ts";
import type { Catalog } from "../replica/catalog.ts";
import { type EpochRecord, listEpochs, takeEpoch } from "../replica/epoch.ts";
import type { TimelinePosition } from "../replica/epoch-record.ts";
import { listTimeline } from "../replica/replica.ts";
import { formatTimelineName } from "../replica/replica-layout.ts";
import { planTimeline, type TimelinePlan } from "../replica/timeline.ts";
import { planRestore } from "../restore/plan-restore.ts";
import type { SqliteConnection } from "../sqlite/connection.ts";
import { WalFile } from "../sqlite/database-file.ts";
import { saltsEqual } from "../sqlite/salt.ts";
import { readWalHeader } from "../sqlite/wal-header.ts";
import { verifyFrameAt, type WalPosition } from "../sqlite/wal-reader.ts";
import { Capture, type Captured } from "./capture.ts";
import { type Connections, openConnections } from "./connections.ts";
import { thisInstallation } from "./installation.ts";
import { judgeComparison, planResume, type ResumeInput, type ResumePlan } from "./plan-resume.ts";
import { Session } from "./session.ts";
import type { SessionDeps } from "./session-deps.ts";
import { Spool, spoolDirectory } from "./spool.ts";
import type { SpoolPosition } from "./spool-state.ts";

/**
 * The start of a session, in this order: anchor held; both sides' positions read; the decision, before anything is written
 * anywhere; epoch taken; timeline entered in the spool; then the stream. A start that fails has changed nothing but perhaps an epoch number.
 *
 * @param newTimelineBecause - begin a new timeline whatever the positions say: another file lies at the path.
 */
export async function startSession(
  deps: SessionDeps,
  newTimelineBecause: string | undefined,
): Promise<Session> {
  const spool = await Spool.open(spoolDirectory(deps.databasePath), deps.at);
  let connections: Connections | undefined;
  try {
    connections = openConnections(deps.databasePath, deps.Database);
    return await start(deps, spool, connections, newTimelineBecause);
  } catch (error) {
    connections?.close();
    spool.close();
    throw error;
  }
}

async function start(
  deps: SessionDeps,
  spool: Spool,
  connections: Connections,
  newTimelineBecause: string | undefined,
): Promise<Session> {
  const installation = thisInstallation(spool);
  const epochs = await listEpochs(deps.retryingReplica);
  const local = localPosition(spool);
  const pageSizeChanged = local !== undefined && local.pageSize !== connections.pageSize;
  const planned = planTimeline({
    epochs,
    installation,
    local: spool.state && {
      timeline: spool.state.timeline,
      txid: local?.txid,
      storedTxid: storedTxid(spool),
      rollingChecksum: local?.rollingChecksum,
      restored: spool.state.restored,
    },
  });
  const listed =
    planned.action === "continue"
      ? await listTimeline(deps.retryingReplica, planned.timeline)
      : undefined;
  const forced =
    newTimelineBecause ??
    (pageSizeChanged ? "the page size has changed" : undefined) ??
    (listed !== undefined && lacksFiles(listed)
      ? "files are missing in the timeline, and nothing behind them would restore"
      : undefined);
  const plan: TimelinePlan =
    forced === undefined || planned.action === "begin"
      ? planned
      : { action: "begin", parent: branchPoint(spool), why: forced };
  const remote = plan.action === "continue" ? listed : undefined;
  const capture = new Capture(
    {
      database: connections.database,
      walPath: connections.walPath,
      control: connections.control,
      spool,
      now: deps.now,
      timestampMsMin: remote?.newestTimestampMs ?? 0,
    },
    connections.pageSize,
    { txid: undefined, walPosition: undefined, pageCount: 0, checksums: undefined },
  );
  const resume = planResume({
    local:
      plan.action === "continue" && local !== undefined
        ? { ...local, generations: spool.state?.generations ?? [] }
        : undefined,
    remoteTxid: remote?.highestTxid,
    pageSize: connections.pageSize,
    committedFrames: connections.control.checkpoint("NOOP").logFrames,
    ...lookAtWal(connections.walPath, local),
  });
  const first = await decideFirstPass(spool, connections, capture, resume, plan, local);

  const record = await takeEpoch(deps.retryingReplica, (epoch) => {
    const nonce = Buffer.from(deps.randomBytes(16)).toString("hex");
    return {
      version: 1,
      epoch,
      nonce,
      owner: { host: hostname(), pid: process.pid, installation },
      timeline: plan.action === "continue" ? plan.timeline : formatTimelineName(epoch, nonce),
      parent: plan.parent,
      startedAt: new Date(deps.now()).toISOString(),
    };
  });
  deps.at("epoch-taken");
  await enterTimeline(spool, record, plan, local);
  deps.at("timeline-entered");
  deps.emit({
    type: "started",
    epoch: record.epoch,
    timeline: record.timeline,
    parent: record.parent,
    continued: plan.action === "continue",
    reason: `${plan.why}; ${resume.why}`,
    resume: first.action,
  });
  return new Session(deps, spool, connections, capture, record, first.pass);
}

interface FirstPass {
  readonly action: ResumeAction;
  readonly pass: (reader: SqliteConnection) => Promise<Captured | undefined>;
}

/** Loads what the plan needs, and compares the whole database where it says so: the last chance to refuse. */
async function decideFirstPass(
  spool: Spool,
  connections: Connections,
  capture: Capture,
  resume: ResumePlan,
  plan: TimelinePlan,
  local: LocalPosition | undefined,
): Promise<FirstPass> {
  if (resume.action === "behind") throw localBehind(resume.why);
  if (resume.action === "snapshot" || local === undefined) {
    const txid = plan.parent === null ? toTxid(1n) : nextTxid(plan.parent.txid);
    return { action: "snapshot", pass: (reader) => capture.snapshot(reader, txid) };
  }
  const saved = await spool.loadPageChecksums(local.txid);
  capture.state.txid = local.txid;
  capture.state.pageCount = local.pageCount;
  capture.state.checksums = saved;
  if (resume.action === "continue") {
    capture.state.walPosition = resume.from;
    return { action: "continue", pass: (reader) => capture.resume(reader) };
  }
  const generations = spool.state?.generations ?? [];
  return connections.anchor.rotate((reader) =>
    capture.inspect(reader, async (view): Promise<FirstPass> => {
      const now = await capture.checksumView(view);
      switch (
        judgeComparison(now.rolling, { rollingChecksum: local.rollingChecksum, generations })
      ) {
        case "same":
          capture.adopt(view, now);
          return { action: "compare", pass: (next) => capture.incremental(next) };
        case "behind":
          throw localBehind(
            "the database is as it was when an earlier WAL began, as after a power cut or in an old copy",
          );
        case "changed":
          return {
            action: saved === undefined ? "snapshot" : "compare",
            pass: (next) => capture.compare(next),
          };
      }
    }),
  );
}

interface LocalPosition {
  readonly txid: Txid;
  readonly pageSize: number;
  readonly pageCount: number;
  readonly rollingChecksum: string;
  readonly walPosition: WalPosition | undefined;
}

/** The newest capture on the spool's timeline: its newest file, or what the state says (after a restore). */
function localPosition(spool: Spool): LocalPosition | undefined {
  const name = spool.files.at(-1)?.name;
  if (name !== undefined) return { ...name, txid: name.maxTxid };
  const position = spool.state?.position;
  return position && { ...position, walPosition: undefined };
}

/** Whether the newest state of a timeline that has files does not restore: somebody deleted what it needs. */
function lacksFiles(timeline: Catalog): boolean {
  if (timeline.highestTxid === undefined) return false;
  const newest = planRestore(timeline.files);
  return newest.outcome !== "plan" || newest.txid !== timeline.highestTxid;
}

/** Where a timeline that is begun against the plan branches from: only what is in the store can be branched from. */
function branchPoint(spool: Spool): TimelinePosition | null {
  const txid = storedTxid(spool);
  return spool.state === undefined || txid === undefined
    ? null
    : { timeline: spool.state.timeline, txid };
}

/** The newest TXID that the store is known to hold. */
function storedTxid(spool: Spool): Txid | undefined {
  const stored = spool.files.findLast((file) => file.name.state === "stored");
  return stored?.name.maxTxid ?? spool.state?.storedTxid;
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

async function enterTimeline(
  spool: Spool,
  record: EpochRecord,
  plan: TimelinePlan,
  local: LocalPosition | undefined,
): Promise<void> {
  const kept = plan.action === "continue" ? spool.state : undefined;
  // Once the timeline's own base is stored, nothing that was captured for an older one is needed.
  const settled = kept !== undefined && storedTxid(spool) !== undefined;
  await spool.saveState({
    version: 1,
    timeline: record.timeline,
    position: kept === undefined ? undefined : local && positionOf(local),
    storedTxid: kept === undefined ? undefined : storedTxid(spool),
    restored: false,
    generations: kept?.generations ?? [],
  });
  if (settled) await spool.dropOtherTimelines();
}

function positionOf(local: LocalPosition): SpoolPosition {
  const { txid, pageSize, pageCount, rollingChecksum } = local;
  return { txid, pageSize, pageCount, rollingChecksum };
}

function localBehind(why: string): ReplicationError {
  return new ReplicationError(
    "LOCAL_BEHIND",
    `the local database lacks what the store has: ${why}`,
    "Keep a copy of the local database, restore from the store, and start again; nothing was written.",
  );
}
