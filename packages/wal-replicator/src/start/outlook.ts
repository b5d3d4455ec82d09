import { ObjectStoreError, type RequestOptions } from "@vaultwarden-stream/object-store";
import type { Catalog } from "../replica/catalog.ts";
import { EpochLog, type EpochMode } from "../replica/epoch.ts";
import type { EpochRecord, TimelinePosition } from "../replica/epoch-record.ts";
import type { ReplicaRoot } from "../replica/replica.ts";
import type { SessionDeps } from "../ship/session-deps.ts";
import type { Spool } from "../ship/spool.ts";
import { decideEpochMode } from "./epoch-mode.ts";
import { localSide } from "./local-position.ts";
import { planStart, type StartInput, type StartPlan } from "./plan-start.ts";
import { RemoteView } from "./read-remote.ts";

/** What a start decided, and what it saw of the store on the way. */
export interface Outlook {
  readonly plan: StartPlan;
  /** The newest writer's epoch, if it was not taken from here: who streams already is fenced by it. */
  readonly stranger: EpochRecord | undefined;
  /** The stranger has not released it. */
  readonly isHeld: boolean;
  /** How an epoch is taken; undefined: the store did not answer, or the plan takes none. */
  readonly mode: EpochMode | undefined;
  /** The files of a timeline, listed for this start: ours and the head's were. Undefined: it was not, or the store did not answer. */
  catalog(timeline: string): Catalog | undefined;
  /** Whether the timeline restores by itself. */
  hasBase(timeline: string): boolean;
  /** Whether exactly this position restores. */
  restores(position: TimelinePosition): Promise<boolean>;
  /** What the plan would be if there were a database: where the spool of a missing one can go. */
  readonly planIfPresent: StartPlan;
  /** No file of ours may be of an earlier time. Milliseconds since the Unix epoch. */
  readonly newestTimestampMs: number;
}

/** Three renewals missed. */
const leaseStaleIntervals = 3;
/** How often a waiting start looks whether the owner has released meanwhile. */
const looksPerInterval = 6;

type OutlookDeps = Pick<
  SessionDeps,
  | "replica"
  | "retryingReplica"
  | "impatientReplica"
  | "ifHeld"
  | "onDivergence"
  | "leaseIntervalMs"
  | "emit"
  | "sleep"
>;

/**
 * Reads both sides and decides, after waiting for another owner's lease if that is what is wanted. Writes nothing but the scratch keys of
 * a probe.
 *
 * @param known.database - whether there is a database at the path.
 * @param known.log - the epochs, if they were read a moment ago.
 * @param known.needsStore - a store that does not answer is an error, whatever is here.
 * @throws the store's error, unless what is here is enough to start without it; the signal's reason.
 */
export async function readOutlook(
  deps: OutlookDeps,
  spool: Spool,
  ownNonces: readonly string[],
  signal: AbortSignal,
  known: {
    readonly database: StartInput["database"];
    readonly log?: EpochLog;
    readonly needsStore?: boolean;
  },
): Promise<Outlook> {
  const { database, needsStore = false } = known;
  const local = localSide(spool);
  const canDoWithout = !needsStore && database === "present" && local?.txid !== undefined;
  const root = canDoWithout ? deps.impatientReplica : deps.retryingReplica;
  const input = {
    database,
    ownNonces,
    local,
    ifHeld: deps.ifHeld,
    leaseStaleMs: deps.leaseIntervalMs * leaseStaleIntervals,
    onDivergence: deps.onDivergence,
  };
  const request = { signal };
  let { log } = known;
  let waitedFor: string | undefined;
  for (;;) {
    try {
      log ??= await EpochLog.read(root, request);
      const view = await RemoteView.read(root, log, spool, ownNonces, request);
      const both = { ...input, remote: view.side };
      const mode = mayWrite(database, planStart({ ...both, isExclusive: true }))
        ? await decideEpochMode(deps.replica.store, spool.directory, deps.emit, request)
        : undefined;
      const full = { ...both, isExclusive: mode?.kind !== "detected" };
      const plan = planStart(full);
      if (plan.action !== "wait") {
        const newest = view.side.newest?.record;
        const isOurs = newest === undefined || ownNonces.includes(newest.nonce);
        return {
          plan,
          stranger: isOurs ? undefined : newest,
          isHeld: !isOurs && view.side.newest?.released === null,
          planIfPresent: planStart({ ...full, database: "present" }),
          mode,
          ...seen(view, root, request),
        };
      }
      const { newest } = view.side;
      if (newest !== undefined && newest.record.nonce !== waitedFor) {
        waitedFor = newest.record.nonce;
        const { epoch, owner } = newest.record;
        const { host, pid } = owner;
        deps.emit({
          type: "waiting",
          epoch,
          owner: { host, pid },
          forMs: plan.forMs,
          message: plan.why,
        });
      }
      await deps.sleep(Math.min(plan.forMs, deps.leaseIntervalMs / looksPerInterval), signal);
      signal.throwIfAborted();
      log = undefined;
    } catch (error) {
      if (signal.aborted || !canDoWithout || !isUnavailable(error)) throw error;
      const plan = planStart({ ...input, isExclusive: true, remote: "unreachable" });
      return {
        plan,
        planIfPresent: plan,
        stranger: undefined,
        isHeld: false,
        mode: undefined,
        catalog: () => undefined,
        hasBase: () => true,
        restores: async () => false,
        newestTimestampMs: 0,
      };
    }
  }
}

/** A probe writes: who waits, is refused or only restores must not, and may have no right to. */
function mayWrite(database: StartInput["database"], { action }: StartPlan): boolean {
  if (action === "wait" || action === "held") return false;
  return database === "present" || action === "ship-spool";
}

function seen(
  view: RemoteView,
  root: ReplicaRoot,
  request: RequestOptions,
): Omit<Outlook, "plan" | "planIfPresent" | "stranger" | "isHeld" | "mode"> {
  return {
    catalog: (timeline) => view.catalog(timeline),
    hasBase: (timeline) =>
      view.catalog(timeline)?.files.some(({ minTxid }) => minTxid === 1n) === true,
    restores: (position) => view.restores(root, position, request),
    newestTimestampMs: view.newestTimestampMs,
  };
}

/** No answer, as opposed to a refusal: a store that forbids needs somebody, and must not look like one that is away. */
export function isUnavailable(error: unknown): error is ObjectStoreError {
  return error instanceof ObjectStoreError && error.retryable;
}
