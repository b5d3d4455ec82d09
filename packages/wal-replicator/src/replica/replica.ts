import { closeSync, openSync } from "node:fs";
import { open } from "node:fs/promises";
import type {
  ObjectBody,
  ObjectInfo,
  ObjectStore,
  RequestOptions,
} from "@vaultwarden-stream/object-store";
import { ReplicationError } from "../errors.ts";
import type { Txid } from "../ltx/txid.ts";
import { readDescriptor } from "../sqlite/byte-source.ts";
import { Catalog, compareRanges, type ReplicaFile } from "./catalog.ts";
import type { EpochMode } from "./epoch.ts";
import { readBack } from "./read-back.ts";
import { ReplicaError } from "./replica-error.ts";
import {
  formatLtxKey,
  type LevelSyntax,
  parseLtxKey,
  snapshotLevel,
  timelinePrefix,
} from "./replica-layout.ts";

/** Where a replica set lies: epochs and timelines below one prefix of a store. */
export interface ReplicaRoot {
  readonly store: ObjectStore;
  /** "" or a prefix that ends with a slash. */
  readonly prefix: string;
  /** Prefix of the timelines below `prefix`: "" for the engine alone, "db/" in the app. */
  readonly timelinesUnder: string;
}

/**
 * Lists one timeline: one LIST, a page per thousand files (two LISTs for the unnamed one, whose prefix is shared with others).
 * A timeline that does not exist is an empty catalog.
 */
export async function listTimeline(
  root: ReplicaRoot,
  timeline: string,
  options: RequestOptions = {},
): Promise<Catalog> {
  const prefix = root.prefix + timelinePrefix(root.timelinesUnder, timeline);
  const own = levelSyntax(root);
  const files: (ReplicaFile & { readonly syntax: LevelSyntax })[] = [];
  for (const listed of timeline === "" ? [`${prefix}ltx/`, `${prefix}000`] : [prefix]) {
    for await (const page of root.store.list(listed, options)) {
      for (const info of page) {
        const parts = parseLtxKey(info.key.slice(prefix.length));
        if (parts === undefined) continue;
        const createdAt = info.timestamp ?? info.lastModified;
        files.push({ ...parts, timeline, key: info.key, size: info.size, createdAt });
      }
    }
  }
  // Sorted first, since a store may list in any order and the catalog is quick only for ascending files. Where both layouts
  // hold a range, the store's own is the one that its writer keeps.
  files.sort((a, b) => compareRanges(a, b) || Number(a.syntax !== own) - Number(b.syntax !== own));
  return new Catalog(files.map(({ syntax: _, ...file }) => file));
}

/**
 * As `listTimeline`, for whoever was given the place of a store and not told who wrote there: below a root without `timelinesUnder`,
 * a timeline that is not there is looked for where the daemon has it. Names of timelines are never used twice.
 */
export async function findTimeline(
  root: ReplicaRoot,
  timeline: string,
  options: RequestOptions = {},
): Promise<Catalog> {
  const catalog = await listTimeline(root, timeline, options);
  if (catalog.highestTxid !== undefined || timeline === "" || root.timelinesUnder !== "") {
    return catalog;
  }
  return await listTimeline({ ...root, timelinesUnder: daemonTimelinesUnder }, timeline, options);
}

/** What `writeTimelineFile` needs of a complete LTX file on the local disk. */
export interface LocalLtxFile {
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  readonly name: {
    readonly minTxid: Txid;
    readonly maxTxid: Txid;
    /** Of the whole database after this file, 16 hex digits. Undefined: whoever wrote what it was made of recorded none. */
    readonly rollingChecksum: string | undefined;
  };
}

/**
 * Writes a file to a level of the epoch's timeline.
 *
 * In exclusive mode only where nothing lies under its key yet. In detected mode the timeline is this epoch's alone, so that a file under the
 * key is an earlier attempt's; it is written again, which a store that refuses conditions understands.
 *
 * Durability point: when it resolves, the store has confirmed the file; a confirmation of an earlier attempt counts.
 *
 * @param level - 0 … 9.
 * @returns the file as a catalog knows it, with the time in its header.
 * @throws {ReplicationError} `FOREIGN_WRITE` if another file lies there: somebody else writes into this timeline. It is left as it is.
 *   A snapshot of the same database is no other one.
 */
export async function writeTimelineFile(
  root: ReplicaRoot,
  epoch: { readonly timeline: string; readonly nonce: string },
  mode: EpochMode,
  file: LocalLtxFile,
  level = 0,
  options: RequestOptions = {},
): Promise<ReplicaFile> {
  const { minTxid, maxTxid, rollingChecksum } = file.name;
  const key =
    root.prefix +
    timelinePrefix(root.timelinesUnder, epoch.timeline) +
    formatLtxKey({ level, minTxid, maxTxid }, levelSyntax(root));
  const small = file.size <= smallBytesMax ? readRange(file.path, 0, file.size) : undefined;
  const header = small ?? readRange(file.path, 0, headerBytes);
  const body = small ?? streamed(file);
  const createdAt = headerTimestamp(header);
  const { timeline } = epoch;
  const written = { timeline, level, minTxid, maxTxid, key, size: file.size, createdAt };
  const putOptions = {
    ...options,
    // The header's own time: stock Litestream restores to a time by what the store keeps, not by the header.
    timestamp: createdAt,
    metadata: {
      ...(rollingChecksum === undefined ? {} : { [rollingChecksumEntry]: rollingChecksum }),
      "epoch-nonce": epoch.nonce,
    },
  };
  if (mode.kind === "detected") {
    await root.store.put(key, body, putOptions);
    return written;
  }
  const outcome = await root.store.putIfAbsent(key, body, putOptions);
  if (outcome === "created") return written;
  // Our own earlier attempt, or an earlier life of ours, may have stored it without our hearing of it. The trailer holds the
  // checksum of all bytes; the epoch's nonce proves nothing here, since an earlier life had another.
  const info = await readBack(key, root.store.head(key, options));
  const trailer = readRange(file.path, file.size - trailerBytes, trailerBytes);
  if (info.size === file.size && (await endsWith(root.store, info, trailer, options))) {
    return written;
  }
  // A snapshot needs no other file: one of the same database, which an earlier attempt has dated otherwise, is as good.
  const isKnown = level === snapshotLevel && rollingChecksum !== undefined;
  if (isKnown && recordedRollingChecksum(info) === rollingChecksum) {
    return { ...written, size: info.size, createdAt: info.timestamp ?? info.lastModified };
  }
  throw new ReplicationError(
    "FOREIGN_WRITE",
    `another file lies under ${JSON.stringify(key)}: somebody else writes into timeline ${epoch.timeline}`,
    "Find and stop the other writer; what was captured here is kept in the spool.",
  );
}

/**
 * The newest position of a timeline over all its levels, and the rolling checksum of the whole database there. One HEAD.
 *
 * @returns undefined if the timeline has no files. The checksum is undefined where the writer recorded none, as stock Litestream.
 */
export async function readTip(
  root: ReplicaRoot,
  timeline: Catalog,
  options: RequestOptions = {},
): Promise<{ readonly txid: Txid; readonly rollingChecksum: string | undefined } | undefined> {
  const txid = timeline.highestTxid;
  if (txid === undefined) return undefined;
  return { txid, rollingChecksum: await readRollingChecksumAt(root, timeline, txid, options) };
}

/**
 * The rolling checksum that is recorded for a TXID. One HEAD of a file that ends exactly there, none if there is none.
 *
 * @returns undefined if nothing is recorded, or nothing ends there.
 * @throws {ReplicaError} `REPLICA_MALFORMED` if what is recorded is no checksum.
 */
export async function readRollingChecksumAt(
  root: ReplicaRoot,
  timeline: Catalog,
  txid: Txid,
  options: RequestOptions = {},
): Promise<string | undefined> {
  const file = timeline.files.find(({ maxTxid }) => maxTxid === txid);
  if (file === undefined) return undefined;
  return recordedRollingChecksum(await root.store.head(file.key, options));
}

/**
 * The rolling checksum that is recorded with an LTX object, of the whole database after it. Undefined: none is.
 *
 * @param info - as `head` or `get` gives it; listings lack it.
 * @throws {ReplicaError} `REPLICA_MALFORMED` if what is recorded is no checksum.
 */
export function recordedRollingChecksum({ key, metadata }: ObjectInfo): string | undefined {
  const recorded = metadata?.[rollingChecksumEntry];
  if (recorded === undefined || /^[0-9a-f]{16}$/.test(recorded)) return recorded;
  throw new ReplicaError(
    "REPLICA_MALFORMED",
    `the rolling checksum recorded with ${JSON.stringify(key)} is not 16 hex digits`,
    { key, hint: "Restore elsewhere and compare; then begin a new replica." },
  );
}

/** The layout that this store's replicas are written in. */
function levelSyntax(root: ReplicaRoot): LevelSyntax {
  return root.store.properties.kind === "directory" ? "directory" : "s3";
}

/** Where vaultwarden-stream has its timelines, beside the vault's files (architecture.md 4). */
export const daemonTimelinesUnder = "db/";
/** Bodies up to this size are sent from memory, which saves a stream's round trips; larger ones are read as they are sent. */
const smallBytesMax = 1 << 20;
/** Metadata of every LTX object of ours; LTX files themselves cannot carry it, since stock Litestream refuses it. */
const rollingChecksumEntry = "rolling-checksum";
const headerBytes = 100;
const trailerBytes = 16;
const timestampOffset = 32;

function headerTimestamp(header: Uint8Array): Date {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  return new Date(Number(view.getBigInt64(timestampOffset)));
}

function streamed(file: LocalLtxFile): ObjectBody {
  return {
    size: file.size,
    async *open() {
      await using handle = await open(file.path);
      // One buffer for all chunks, which a store does not keep: left to the garbage collector, they would lie in memory by the dozen.
      const chunk = new Uint8Array(smallBytesMax);
      for (;;) {
        const { bytesRead } = await handle.read(chunk);
        if (bytesRead === 0) return;
        yield chunk.subarray(0, bytesRead);
      }
    },
  };
}

async function endsWith(
  store: ObjectStore,
  { key, size }: ObjectInfo,
  end: Uint8Array,
  options: RequestOptions,
): Promise<boolean> {
  const range = { start: size - end.length, length: end.length };
  const reading = await store.get(key, { ...options, range });
  const chunks: Uint8Array[] = [];
  for await (const chunk of reading.body) chunks.push(chunk);
  return Buffer.concat(chunks).equals(end);
}

/** At once: a small part of a file that was just written. */
function readRange(path: string, position: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const descriptor = openSync(path, "r");
  try {
    if (readDescriptor(descriptor, bytes, position) < length)
      throw new RangeError(`an LTX file is shorter than its ${length} bytes`);
  } finally {
    closeSync(descriptor);
  }
  return bytes;
}
