import type { RequestOptions } from "@vaultwarden-stream/object-store";
import { nextTxid, type Txid } from "../ltx/txid.ts";
import { ancestorsOf } from "../maintain/line-files.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import { EpochLog } from "../replica/epoch-log.ts";
import type { EpochRecord, TimelinePosition } from "../replica/epoch-record.ts";
import { findTimeline, type ReplicaRoot } from "../replica/replica.ts";
import { ReplicaError } from "../replica/replica-error.ts";
import { formatLtxKey, type LevelSyntax, timelinePrefix } from "../replica/replica-layout.ts";
import type { LineSegment } from "./plan-follow.ts";

/** Where the next file of a timeline will lie. */
interface LevelZero {
  readonly timeline: string;
  keyOf(txid: Txid): string;
}

/** The line that goes on, as of one look at everything. */
export interface FollowedLine {
  /** From the copy's timeline to the head, oldest first; only the head where the copy's timeline is none of its ancestors. */
  readonly segments: readonly LineSegment[];
  readonly head: LevelZero;
  /**
   * The newest writer's timeline, which has no file yet: it becomes the head with its first one, which has this TXID. Undefined: the
   * newest writer's is the head.
   */
  readonly successor: (LevelZero & { readonly firstTxid: Txid }) | undefined;
  /** Undefined for a named timeline. */
  readonly log: EpochLog | undefined;
  readonly newestWriter: EpochRecord | undefined;
}

/**
 * Lists the epochs and the timelines from the copy's to the head: of epoch records it reads the newest writer's and those of the ancestors
 * in between. Of a timeline that is followed by its name, nothing but itself is looked at.
 *
 * @throws {ReplicaError} `NOTHING_TO_RESTORE` if no timeline has files; `REPLICA_MALFORMED`
 */
export async function readLine(
  root: ReplicaRoot,
  copyTimeline: string,
  named: string | undefined,
  options: RequestOptions = {},
): Promise<FollowedLine> {
  if (named !== undefined) {
    const files = await listFiles(root, named, options);
    if (files.length === 0) throw nothingThere(root);
    const segments = [{ timeline: named, upTo: undefined, files }];
    const head = levelZeroOf(root, named, files);
    return { segments, head, successor: undefined, log: undefined, newestWriter: undefined };
  }
  const log = await EpochLog.readRecords(root, options);
  let newestWriter: EpochRecord | undefined;
  const empty = new Set<string>();
  for await (const { record } of log.writers()) {
    newestWriter ??= record;
    if (empty.has(record.timeline)) continue;
    const files = await listFiles(root, record.timeline, options);
    if (files.length > 0) {
      return await lineOf(
        root,
        record.timeline,
        files,
        { copyTimeline, log, newestWriter },
        options,
      );
    }
    empty.add(record.timeline);
  }
  const stock = await listFiles(root, "", options);
  if (stock.length === 0) throw nothingThere(root);
  return await lineOf(root, "", stock, { copyTimeline, log, newestWriter }, options);
}

async function lineOf(
  root: ReplicaRoot,
  timeline: string,
  files: readonly ReplicaFile[],
  seen: {
    readonly copyTimeline: string;
    readonly log: EpochLog;
    readonly newestWriter: EpochRecord | undefined;
  },
  options: RequestOptions,
): Promise<FollowedLine> {
  const { copyTimeline, log, newestWriter } = seen;
  const head = levelZeroOf(root, timeline, files);
  const ancestors = await readAncestors(log, timeline, copyTimeline);
  const older: LineSegment[] = [];
  for (const { timeline: name, txid } of ancestors.toReversed()) {
    older.push({ timeline: name, upTo: txid, files: await listFiles(root, name, options) });
  }
  let successor: FollowedLine["successor"];
  let upTo: Txid | undefined;
  if (newestWriter !== undefined && newestWriter.timeline !== timeline) {
    const { timeline: name, parent } = newestWriter;
    successor = { ...levelZeroOf(root, name, files), firstTxid: nextTxid(parent?.txid) };
    // What the older writer may still have sent is no part of the line any more, once the new one has a file.
    if (parent?.timeline === timeline) upTo = parent.txid;
  }
  const segments = [...older, { timeline, upTo, files }];
  return { segments, head, successor, log, newestWriter };
}

/** The head's ancestors up to the copy's timeline, youngest first; none if that is not among them. */
async function readAncestors(
  log: EpochLog,
  head: string,
  copyTimeline: string,
): Promise<readonly TimelinePosition[]> {
  if (head === copyTimeline) return [];
  const parents = new Map<string, TimelinePosition | null>();
  for (let name = head; !parents.has(name); ) {
    const parent = (await log.foundingRecord(name))?.parent ?? null;
    parents.set(name, parent);
    if (parent === null || name === copyTimeline) break;
    name = parent.timeline;
  }
  const ancestors = ancestorsOf(head, (name) => parents.get(name) ?? null);
  const own = ancestors.findIndex(({ timeline }) => timeline === copyTimeline);
  return ancestors.slice(0, own + 1);
}

async function listFiles(
  root: ReplicaRoot,
  timeline: string,
  options: RequestOptions,
): Promise<readonly ReplicaFile[]> {
  return (await findTimeline(root, timeline, options)).files;
}

/** Laid out as the files that were found: a replica may have been copied from a store of another kind, or lie where the daemon has it. */
function levelZeroOf(
  root: ReplicaRoot,
  timeline: string,
  files: readonly ReplicaFile[],
): LevelZero {
  const sample = files.at(-1) as ReplicaFile;
  const isDirectory = sample.key.endsWith(formatLtxKey(sample, "directory"));
  const syntax: LevelSyntax = isDirectory ? "directory" : "s3";
  const found = sample.key.slice(0, -formatLtxKey(sample, syntax).length);
  const under =
    sample.timeline === ""
      ? root.prefix + root.timelinesUnder
      : found.slice(0, -timelinePrefix("", sample.timeline).length);
  const prefix = timeline === "" ? found : under + timelinePrefix("", timeline);
  return {
    timeline,
    keyOf: (txid) => prefix + formatLtxKey({ level: 0, minTxid: txid, maxTxid: txid }, syntax),
  };
}

function nothingThere(root: ReplicaRoot): ReplicaError {
  return new ReplicaError(
    "NOTHING_TO_RESTORE",
    `there is no recovery point any more at ${root.store.properties.location}`,
    { hint: "Find out who removed it. The copy stays as it is." },
  );
}
