import type { Txid } from "../ltx/txid.ts";
import type { Epoch } from "./epoch.ts";
import type { InstallationIdentity, TimelinePosition } from "./epoch-record.ts";

/** What is known here of a timeline: from the spool, or because the database was restored from it. */
export interface LocalTimeline {
  readonly timeline: string;
  /** The position of the local database; undefined: nothing was captured on this timeline yet. */
  readonly txid: Txid | undefined;
  /** The newest TXID of ours that the store confirmed, or that was restored from it. */
  readonly storedTxid: Txid | undefined;
  /** Of the local database at `txid`, 16 hex digits, if known. */
  readonly rollingChecksum?: string | undefined;
  /** The local database was put at `txid` by a restore, and nothing was captured since. */
  readonly restored?: boolean;
}

export interface TimelineInput {
  /** All epochs of the replica, ascending. */
  readonly epochs: readonly Epoch[];
  /** Who we are. */
  readonly installation: InstallationIdentity;
  readonly local: LocalTimeline | undefined;
}

export type TimelinePlan =
  | {
      readonly action: "continue";
      readonly timeline: string;
      /** Where this timeline itself branched from. */
      readonly parent: TimelinePosition | null;
      readonly why: string;
    }
  | {
      readonly action: "begin";
      /** Where the new timeline branches from; null: its first TXID is 1. */
      readonly parent: TimelinePosition | null;
      readonly why: string;
    };

/**
 * Decides which timeline the next epoch writes into (architecture.md D3). A timeline is continued only if nothing can collide
 * there: its last epoch was released at exactly the position that we have, or it was ours. Everything else begins a new one,
 * which costs a full copy and never data.
 */
export function planTimeline({ epochs, installation, local }: TimelineInput): TimelinePlan {
  const begin = (why: string): TimelinePlan => ({
    action: "begin",
    parent: parentFor(epochs, local),
    why,
  });
  const newest = epochs.at(-1);
  if (newest === undefined) return begin("the replica has no epoch yet");
  if (local === undefined)
    return begin("nothing here says which timeline this database belongs to");
  const { record, released } = newest;
  if (record.timeline !== local.timeline) {
    return begin(
      `the newest epoch writes into timeline ${record.timeline}, and we have ${local.timeline}`,
    );
  }
  const goOn = (why: string): TimelinePlan => ({
    action: "continue",
    timeline: record.timeline,
    parent: record.parent,
    why,
  });
  if (released !== null && released.txid === local.txid) {
    // The same number with another content: another database came into this place, or somebody else's history.
    return local.rollingChecksum === undefined || local.rollingChecksum === released.rollingChecksum
      ? goOn("its last epoch was released at the position that we have")
      : begin("its last epoch was released at our TXID, with another content than ours");
  }
  // A restored database may stand at an earlier moment on purpose; its own installation is no reason to go on behind that.
  if (local.restored !== true && isSameInstallation(record.owner.installation, installation)) {
    return goOn("its last epoch was of this very installation");
  }
  return begin(
    released === null
      ? "its last epoch was another's and was not released"
      : "its last epoch was released at another position than ours",
  );
}

/** A branch point must be in the store, since what was only captured here restores from nowhere, and not behind what we have. */
function parentFor(
  epochs: readonly Epoch[],
  local: LocalTimeline | undefined,
): TimelinePosition | null {
  if (local?.txid === undefined || local.storedTxid === undefined) return null;
  if (!epochs.some(({ record }) => record.timeline === local.timeline)) return null;
  const isAhead = local.txid > local.storedTxid;
  return { timeline: local.timeline, txid: isAhead ? local.storedTxid : local.txid };
}

function isSameInstallation(a: InstallationIdentity, b: InstallationIdentity): boolean {
  return a.hostId === b.hostId && a.spoolInode === b.spoolInode && a.spoolBornAt === b.spoolBornAt;
}
