import type { RequestOptions } from "@vaultwarden-stream/object-store";
import type { Catalog } from "../replica/catalog.ts";
import { type EpochLog, readLease } from "../replica/epoch.ts";
import type { TimelinePosition } from "../replica/epoch-record.ts";
import {
  listTimeline,
  type ReplicaRoot,
  readRollingChecksumAt,
  readTip,
} from "../replica/replica.ts";
import { ReplicaError } from "../replica/replica-error.ts";
import { planRestore } from "../restore/plan-restore.ts";
import { readRestorePlan } from "../restore/read-plan.ts";
import type { Spool } from "../ship/spool.ts";
import { localChecksumAt, localSide } from "./local-position.ts";
import type { OwnTimeline, RemoteEpoch, RemoteSide } from "./plan-start.ts";

/**
 * The store's side of a start, and the timelines that were listed for it. In the usual case, our own timeline is the head, this is one
 * LIST of the epochs, one or two GETs, one LIST of the timeline and one HEAD.
 */
export class RemoteView {
  readonly side: RemoteSide;
  readonly #catalogs: ReadonlyMap<string, Catalog>;

  private constructor(side: RemoteSide, catalogs: ReadonlyMap<string, Catalog>) {
    this.side = side;
    this.#catalogs = catalogs;
  }

  /** The files of a timeline, if it was listed; it was if it is ours, or the head's. */
  catalog(timeline: string): Catalog | undefined {
    return this.#catalogs.get(timeline);
  }

  /** Milliseconds since the Unix epoch; 0 if nothing was listed. */
  get newestTimestampMs(): number {
    return Math.max(
      0,
      ...[...this.#catalogs.values()].map((listed) => listed.newestTimestampMs ?? 0),
    );
  }

  /** Whether exactly this position restores, over its ancestors if it must. No request if its own files are enough. */
  restores(
    root: ReplicaRoot,
    { timeline, txid }: TimelinePosition,
    options: RequestOptions = {},
  ): Promise<boolean> {
    return restoresAt(root, this.catalog(timeline), { timeline, txid }, options);
  }

  /** @throws errors of the store as they are, and `REPLICA_MALFORMED`: nothing is decided on half a view. */
  static async read(
    root: ReplicaRoot,
    log: EpochLog,
    spool: Spool,
    ownNonces: readonly string[],
    options: RequestOptions = {},
  ): Promise<RemoteView> {
    const catalogs = new Map<string, Catalog>();
    const list = async (timeline: string): Promise<Catalog> => {
      const known = catalogs.get(timeline);
      if (known !== undefined) return known;
      const catalog = await listTimeline(root, timeline, options);
      catalogs.set(timeline, catalog);
      return catalog;
    };
    const newest = await log.newest();
    const local = localSide(spool);
    const head = newest === undefined ? [] : await readHead(log, list, local?.timeline);
    const [tip] = head;
    // Where a timeline is named in the spool, its own files decide; whether the head's content is ours only matters without one.
    const needsHeadChecksum = tip !== undefined && local?.txid === undefined;
    const side: RemoteSide = {
      newest: newest && (await withLease(root, newest, ownNonces, options)),
      head,
      headChecksum: needsHeadChecksum
        ? (await readTip(root, await list(tip.timeline), options))?.rollingChecksum
        : undefined,
      own:
        local === undefined || newest === undefined
          ? undefined
          : await readOwn(root, await list(local.timeline), spool, options),
    };
    return new RemoteView(side, catalogs);
  }
}

async function withLease(
  root: ReplicaRoot,
  epoch: NonNullable<Awaited<ReturnType<EpochLog["newest"]>>>,
  ownNonces: readonly string[],
  options: RequestOptions,
): Promise<RemoteEpoch> {
  const isSettled = epoch.released !== null || ownNonces.includes(epoch.record.nonce);
  return {
    ...epoch,
    leaseAgeMs: isSettled ? undefined : (await readLease(root, epoch.record, options)).ageMs,
  };
}

/** The line of the newest epoch that has files, up to our own timeline at most. An empty newest epoch is no head. */
async function readHead(
  log: EpochLog,
  list: (timeline: string) => Promise<Catalog>,
  own: string | undefined,
): Promise<TimelinePosition[]> {
  for await (const { record } of log.writers()) {
    const { highestTxid } = await list(record.timeline);
    if (highestTxid === undefined) continue;
    const line: TimelinePosition[] = [{ timeline: record.timeline, txid: highestTxid }];
    for (let parent = record.parent; parent !== null; ) {
      const { timeline, txid } = parent;
      if (line.some((part) => part.timeline === timeline)) break; // foreign records may name each other in a circle
      line.push(parent);
      if (timeline === own) break;
      const grandparent = (await log.foundingRecord(timeline))?.parent ?? null;
      // A branch may lie before the parent's own branch point: then only that much of the grandparent counts.
      parent = grandparent && (grandparent.txid <= txid ? grandparent : { ...grandparent, txid });
    }
    return line;
  }
  return [];
}

async function readOwn(
  root: ReplicaRoot,
  catalog: Catalog,
  spool: Spool,
  options: RequestOptions,
): Promise<OwnTimeline | undefined> {
  const local = localSide(spool);
  const { highestTxid } = catalog;
  if (highestTxid === undefined || local === undefined) return undefined;
  const at = local.txid !== undefined && local.txid < highestTxid ? local.txid : highestTxid;
  const rollingChecksum = await readRollingChecksumAt(root, catalog, at, options);
  return {
    highest: highestTxid,
    checksum: rollingChecksum === undefined ? undefined : { txid: at, rollingChecksum },
    localChecksum: localChecksumAt(spool, at),
    restores: await restoresAt(
      root,
      catalog,
      { timeline: local.timeline, txid: highestTxid },
      options,
    ),
  };
}

async function restoresAt(
  root: ReplicaRoot,
  catalog: Catalog | undefined,
  { timeline, txid }: TimelinePosition,
  options: RequestOptions,
): Promise<boolean> {
  const alone = catalog && planRestore(catalog.files, { txid });
  if (alone?.outcome === "plan") return true;
  try {
    await readRestorePlan(root, { timeline, txid }, options);
    return true;
  } catch (error) {
    // What is there says that it does not restore. An answer that did not come says nothing.
    if (error instanceof ReplicaError && error.code !== "REPLICA_MALFORMED") return false;
    throw error;
  }
}
