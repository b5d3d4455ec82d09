import type { Txid } from "../ltx/txid.ts";
import type { EpochRecord, EpochRelease, TimelinePosition } from "../replica/epoch-record.ts";

/**
 * The start table (architecture.md 5): what a start does, decided from both sides' positions before anything is written.
 *
 * Nothing here destroys: what lies in the store stays, what lies here is kept aside or in a timeline of its own. A timeline is continued
 * only if nothing can collide there; everything else begins one, which costs an object and never data.
 */
export interface StartInput {
  readonly database: "missing" | "present";
  /** Nonces of the epochs that this very spool asked for: neither a copy of the volume nor a clone of the disk has them all. */
  readonly ownNonces: readonly string[];
  /** Whether the store is proved to give a number to one writer only. Else every epoch has a timeline of its own. */
  readonly isExclusive: boolean;
  /** What the spool knows; undefined: nothing here says which replica this database belongs to. */
  readonly local: LocalSide | undefined;
  /** `unreachable`: the store did not answer. A store that refuses us is an error of the start and never gets here. */
  readonly remote: RemoteSide | "unreachable";
  /** What to do while another owner's lease is alive. */
  readonly ifHeld: IfHeld;
  /** A lease of this age is stale: three renewals were missed. By the store's clock. */
  readonly leaseStaleMs: number;
  /** Which side goes on when both have what the other lacks; the other one is kept in any case. */
  readonly onDivergence: OnDivergence;
}

/** `wait` until the lease is stale, `refuse` at once, or `take-over` at once. */
export type IfHeld = "wait" | "refuse" | "take-over";
export type OnDivergence = "stop" | "local" | "remote";

export interface LocalSide {
  readonly timeline: string;
  /** The newest TXID captured or restored here; undefined: the timeline was entered, and nothing captured yet. */
  readonly txid: Txid | undefined;
  /** Of the database at `txid`, 16 hex digits. */
  readonly rollingChecksum: string | undefined;
  /** The newest TXID of this timeline's line that the store is known to have confirmed. */
  readonly storedTxid: Txid | undefined;
  /** A restore put the database at `storedTxid`, an earlier moment on purpose, and the store was not told yet. */
  readonly restored: boolean;
}

export interface RemoteSide {
  /** The newest epoch of a writer; undefined: nobody ever wrote here. */
  readonly newest: RemoteEpoch | undefined;
  /** The head's timeline and its ancestors, newest first, each with the TXID up to which it counts. Empty: nothing restores. */
  readonly head: readonly TimelinePosition[];
  /** Rolling checksum of the head's newest state, if one is recorded. */
  readonly headChecksum: string | undefined;
  /** The local timeline in the store; undefined: it has no file there. */
  readonly own: OwnTimeline | undefined;
}

export interface RemoteEpoch {
  readonly record: EpochRecord;
  readonly released: EpochRelease | null;
  /** Age of the lease, by the store's own clock; undefined where nobody needs it: the epoch is ours, or released. */
  readonly leaseAgeMs: number | undefined;
}

export interface OwnTimeline {
  /** Over all levels. */
  readonly highest: Txid;
  /** What the store records for the local TXID, or, if it has not got that far, for its newest; undefined: nothing recorded. */
  readonly checksum: { readonly txid: Txid; readonly rollingChecksum: string } | undefined;
  /** What is known here of the database at that TXID; undefined: nothing. */
  readonly localChecksum: string | undefined;
  /** Whether its newest state restores: nobody deleted what it needs. */
  readonly restores: boolean;
}

export type StartPlan =
  /** A living owner: ask again after this time. */
  | { readonly action: "wait"; readonly forMs: number; readonly why: string }
  | { readonly action: "held"; readonly why: string }
  /** Start on local state alone, and catch up when the store is back. */
  | { readonly action: "offline"; readonly timeline: string; readonly why: string }
  | {
      readonly action: "continue";
      readonly timeline: string;
      /** Where this timeline itself branched from. */
      readonly parent: TimelinePosition | null;
      readonly why: string;
    }
  /** A new timeline. */
  | {
      readonly action: "begin";
      /** Where it branches from; null: its first TXID is 1. */
      readonly parent: TimelinePosition | null;
      readonly why: string;
    }
  /** Nothing here says where we stand: begin from the head if the database has exactly this content, else it has diverged. */
  | {
      readonly action: "compare";
      readonly head: TimelinePosition;
      readonly rollingChecksum: string | undefined;
      readonly why: string;
    }
  /** The store has all that we have, and more; or we have nothing. */
  | { readonly action: "restore"; readonly why: string }
  | { readonly action: "diverged"; readonly go: OnDivergence; readonly why: string }
  /** What the spool holds goes first; then ask again. */
  | { readonly action: "ship-spool"; readonly why: string }
  /** A first run: nobody ever wrote here. */
  | { readonly action: "nothing-anywhere"; readonly why: string }
  | { readonly action: "stop"; readonly why: string; readonly next: string };

export function planStart(input: StartInput): StartPlan {
  const { remote } = input;
  if (remote === "unreachable") return planWithoutStore(input);
  const held = planHeld(input, remote);
  if (held !== undefined) return held;
  return input.database === "missing" ? planMissing(input, remote) : planPresent(input, remote);
}

function planWithoutStore({ database, local }: StartInput): StartPlan {
  if (database === "present" && local?.txid !== undefined) {
    return {
      action: "offline",
      timeline: local.timeline,
      why: "the store does not answer, and the state here is enough to go on",
    };
  }
  return {
    action: "stop",
    why:
      database === "missing"
        ? "there is no database here, and the store does not answer"
        : "nothing here says which replica this database belongs to, and the store does not answer",
    next: "Make the store reachable and start again; nothing was written anywhere.",
  };
}

function planHeld(input: StartInput, { newest }: RemoteSide): StartPlan | undefined {
  const { ifHeld, leaseStaleMs } = input;
  if (newest === undefined || newest.released !== null || ifHeld === "take-over") return undefined;
  if (input.ownNonces.includes(newest.record.nonce)) return undefined;
  const ageMs = newest.leaseAgeMs ?? 0;
  if (ageMs >= leaseStaleMs) return undefined;
  const { epoch, owner } = newest.record;
  const why = `epoch ${epoch} is held by process ${owner.pid} on ${owner.host}, whose lease was renewed ${Math.max(0, Math.round(ageMs / 1_000))} s ago`;
  if (ifHeld === "refuse") return { action: "held", why };
  // A lease from the future of its own store's clock is as good as fresh.
  return { action: "wait", forMs: leaseStaleMs - Math.max(0, ageMs), why };
}

function planMissing({ local }: StartInput, { newest, head, own }: RemoteSide): StartPlan {
  // Increments behind what the store does not have are of no use there: then it is another place, and they stay here.
  const isElsewhere = newest === undefined && local?.storedTxid !== undefined;
  if (local !== undefined && !isElsewhere && hasUnconfirmed(local, own)) {
    return {
      action: "ship-spool",
      why: "there is no database here, and the spool holds what the store lacks",
    };
  }
  if (head.length > 0) {
    return {
      action: "restore",
      why: "there is no database here, and the store has recovery points",
    };
  }
  if (newest === undefined && local?.storedTxid === undefined) {
    return {
      action: "nothing-anywhere",
      why: "there is no database here, and nobody ever wrote to this place of the store",
    };
  }
  return {
    action: "stop",
    why:
      newest === undefined
        ? `there is no database here, and the store has nothing of timeline ${local?.timeline}, which was streamed from here`
        : `there is no database here, and nothing restores where epoch ${newest.record.epoch} wrote: its files are gone`,
    next: "Check the location and its prefix for a typing error. If the files were deleted, bring them back from a backup or from older versions of the bucket.",
  };
}

function planPresent(input: StartInput, remote: RemoteSide): StartPlan {
  const { local } = input;
  const { newest, head } = remote;
  if (newest === undefined) {
    return {
      action: "begin",
      parent: null,
      why:
        local === undefined
          ? "the store holds nothing yet"
          : `the store has nothing of timeline ${local.timeline}: it is another place, or was emptied`,
    };
  }
  const { record, released } = newest;
  const isOwnLine = input.ownNonces.includes(record.nonce) && record.timeline === local?.timeline;
  if (local?.txid === undefined) {
    if (isOwnLine && remote.own === undefined) {
      return goOn(
        input,
        record,
        "its epoch was of this very installation, and nothing was captured yet",
      );
    }
    const [tip] = head;
    if (tip === undefined) return begin(null, "nothing in the store restores");
    return {
      action: "compare",
      head: tip,
      rollingChecksum: remote.headChecksum,
      why: "nothing here says which state of the store this database is",
    };
  }
  // A release that the files do not bear out proves nothing.
  const isContradicted = remote.own !== undefined && contradicts(remote.own);
  if (
    released !== null &&
    !isContradicted &&
    record.timeline === local.timeline &&
    released.txid === local.txid &&
    released.rollingChecksum === local.rollingChecksum
  ) {
    return (
      planWithoutFiles(local, remote, record) ??
      goOn(input, record, "its last epoch was released at the position that we have")
    );
  }
  if (local.restored && isKnown(remote, local.timeline)) {
    const from = storedPosition(local);
    return begin(from, `the database was restored to TXID ${from?.txid} of its timeline`);
  }
  if (isContradicted) return diverged(input, "the store has another content at the same TXID");
  if (isOwnLine) return planOwn(input, local, remote, record);
  return planAgainstHead(input, local, remote);
}

/** The newest epoch was taken from this spool: nobody else wrote since, unless this is a copy that shares its identity. */
function planOwn(
  input: StartInput,
  local: LocalSide,
  remote: RemoteSide,
  record: EpochRecord,
): StartPlan {
  const { own } = remote;
  if (own !== undefined && own.highest > (local.txid as Txid)) {
    return behindOrDiverged(input, local, own, own.highest);
  }
  return (
    planWithoutFiles(local, remote, record) ??
    goOn(input, record, "its last epoch was of this very installation")
  );
}

/** Somebody deleted what the timeline needs: nothing behind it would restore, so that another one begins, whole. */
function planWithoutFiles(
  { storedTxid }: LocalSide,
  { own }: RemoteSide,
  { parent }: EpochRecord,
): StartPlan | undefined {
  if (own?.restores === true) return undefined;
  // Nothing has arrived yet.
  if (own === undefined && (storedTxid === undefined || storedTxid <= (parent?.txid ?? 0n))) {
    return undefined;
  }
  return begin(null, "files are missing in the timeline, and nothing behind them would restore");
}

/** Somebody else wrote since, or took over without a word: where do we stand on the head's line? */
function planAgainstHead(input: StartInput, local: LocalSide, remote: RemoteSide): StartPlan {
  const { head, own } = remote;
  const txid = local.txid as Txid;
  if (head.length === 0) return begin(null, "nothing in the store restores");
  const index = head.findIndex(({ timeline }) => timeline === local.timeline);
  const part = head[index];
  if (part === undefined) {
    return diverged(
      input,
      `the store goes on with timeline ${head[0]?.timeline}, of which ours, ${local.timeline}, is no part`,
    );
  }
  if (txid < part.txid) return behindOrDiverged(input, local, own, part.txid);
  if (index > 0) {
    const why = `the store branched off at TXID ${part.txid} of our timeline, and we are at ${txid}`;
    return txid > part.txid || hasUnconfirmed(local, own)
      ? diverged(input, why)
      : { action: "restore", why };
  }
  if (own?.restores === false) {
    return begin(null, "files are missing in the timeline, and nothing behind them would restore");
  }
  return txid === part.txid
    ? begin(part, "its last epoch was another's and was not released")
    : begin(storedPosition(local) ?? part, "its last epoch was another's, and we have more");
}

/** We are at a lower TXID. The same history, or did we write another one that never got there? */
function behindOrDiverged(
  input: StartInput,
  local: LocalSide,
  own: OwnTimeline | undefined,
  highest: Txid,
): StartPlan {
  const why = `the store has this timeline up to TXID ${highest}, and we are at ${local.txid}`;
  return hasUnconfirmed(local, own)
    ? diverged(input, `${why}, with captures that nobody confirmed`)
    : { action: "restore", why };
}

/** Whether anything was captured here of which neither our mark nor the store's own checksum says that the store has it. */
function hasUnconfirmed(local: LocalSide, own: OwnTimeline | undefined): boolean {
  const { txid, storedTxid, rollingChecksum } = local;
  if (txid === undefined || (storedTxid !== undefined && storedTxid >= txid)) return false;
  // A mark may be lost in a crash.
  return own?.checksum?.txid !== txid || own.checksum.rollingChecksum !== rollingChecksum;
}

function contradicts({ checksum, localChecksum }: OwnTimeline): boolean {
  return (
    checksum !== undefined &&
    localChecksum !== undefined &&
    checksum.rollingChecksum !== localChecksum
  );
}

/** A branch point must be in the store: what was only captured here restores from nowhere. */
function storedPosition(local: LocalSide): TimelinePosition | null {
  if (local.storedTxid === undefined) return null;
  const isAhead = local.txid !== undefined && local.txid > local.storedTxid;
  return {
    timeline: local.timeline,
    txid: isAhead ? local.storedTxid : (local.txid ?? local.storedTxid),
  };
}

function isKnown({ own, head }: RemoteSide, timeline: string): boolean {
  return own !== undefined || head.some((part) => part.timeline === timeline);
}

function begin(parent: TimelinePosition | null, why: string): StartPlan {
  return { action: "begin", parent, why };
}

function goOn(
  { isExclusive, local }: StartInput,
  { timeline, parent }: EpochRecord,
  why: string,
): StartPlan {
  if (!isExclusive) {
    return begin(
      local === undefined ? null : storedPosition(local),
      "the store cannot keep two writers apart, so that every start has a timeline of its own",
    );
  }
  return { action: "continue", timeline, parent, why };
}

function diverged({ onDivergence }: StartInput, why: string): StartPlan {
  return { action: "diverged", go: onDivergence, why };
}
