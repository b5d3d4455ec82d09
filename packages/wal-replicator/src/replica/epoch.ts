import {
  isNotFound,
  type ObjectInfo,
  ObjectStoreError,
  type RequestOptions,
} from "@vaultwarden-stream/object-store";
import { invariant } from "../errors.ts";
import { EpochLog } from "./epoch-log.ts";
import {
  epochIdOf,
  epochObjectKey,
  readLeaseObject,
  readRecord,
  readRelease,
} from "./epoch-objects.ts";
import {
  type EpochOwner,
  type EpochRecord,
  type EpochRelease,
  encodeEpochLease,
  encodeEpochRecord,
  encodeEpochRelease,
  malformedEpoch,
} from "./epoch-record.ts";
import { readBack } from "./read-back.ts";
import type { ReplicaRoot } from "./replica.ts";
import { ReplicaError } from "./replica-error.ts";
import { type EpochKeyParts, epochNumberMax } from "./replica-layout.ts";

export { EpochLog } from "./epoch-log.ts";

/**
 * How an epoch is taken (architecture.md D3).
 *
 * `exclusive`: by creating its number if it is absent, where the store is proved to let only one writer do that. `detected`: under number and
 * nonce, and whoever is above is seen in a listing: two writers are found out and not prevented, and each has a timeline of its own.
 */
export type EpochMode =
  | { readonly kind: "exclusive" }
  | {
      readonly kind: "detected";
      /**
       * Create the plain number too, if it is absent: a holder who believes that the store is exclusive looks for nothing else. Where
       * the store refuses or ignores conditions nobody can believe that.
       */
      readonly alsoPlain: boolean;
    };

/**
 * Takes the next epoch. Durability point: when it resolves, the record is stored. In exclusive mode nobody else has that number; in
 * detected mode no higher writer was there after it was written.
 *
 * @param makeRecord - called for every attempt, with the number to take. Another's epoch may have appeared since the last one.
 * @returns the record that was stored.
 * @throws {ReplicaError} `EPOCH_HELD` if others are faster time and again, or another writer took a higher epoch at the same moment.
 */
export async function takeEpoch(
  root: ReplicaRoot,
  mode: EpochMode,
  makeRecord: (epoch: number) => Omit<EpochRecord, "keyedByNonce">,
  options: RequestOptions = {},
): Promise<EpochRecord> {
  let log = await EpochLog.read(root, options);
  for (let attempt = 1; attempt <= takeAttemptsMax; attempt += 1) {
    if (attempt > 1) log = await log.readAgain(options);
    const epoch = log.highestNumber + 1;
    const made = makeRecord(epoch);
    invariant(
      made.epoch === epoch && epoch <= epochNumberMax,
      "an epoch is taken under its number",
    );
    const record: EpochRecord = mode.kind === "exclusive" ? made : { ...made, keyedByNonce: true };
    if (mode.kind === "exclusive" || mode.alsoPlain) {
      if (!(await createPlain(root, record, options))) continue;
    }
    if (mode.kind === "detected") {
      const key = epochObjectKey(root, epochIdOf(record), "record");
      await root.store.put(key, encodeEpochRecord(record), options);
      await yieldToHigher(log, record, options);
    }
    return record;
  }
  throw new ReplicaError(
    "EPOCH_HELD",
    `others took the next epoch ${takeAttemptsMax} times in a row`,
    {
      hint: "Find out who else writes into this replica, and stop them: one database has one writer.",
    },
  );
}

/**
 * Says that everything up to `release.txid` is stored and that this epoch writes no more. Idempotent.
 *
 * Durability point: when it resolves, whoever has that position may continue the timeline. Then the lease says so too, unless the store
 * refuses: so whoever verifies the replica misses a release that something removed.
 *
 * @throws {ReplicaError} `REPLICA_MALFORMED` if it was already released at another position.
 */
export async function releaseEpoch(
  root: ReplicaRoot,
  record: EpochRecord,
  release: EpochRelease,
  options: RequestOptions = {},
): Promise<void> {
  await writeRelease(root, record, release, options);
  const { nonce, owner } = record;
  const { txid, releasedAt: renewedAt } = release;
  const lease = encodeEpochLease({ nonce, owner, renewedAt, txid, released: true });
  try {
    await root.store.put(epochObjectKey(root, epochIdOf(record), "lease"), lease, options);
  } catch (error) {
    // The release counts all the same, and nobody waits for a note.
    if (!(error instanceof ObjectStoreError) && options.signal?.aborted !== true) throw error;
  }
}

async function writeRelease(
  root: ReplicaRoot,
  record: EpochRecord,
  release: EpochRelease,
  options: RequestOptions,
): Promise<void> {
  const id = epochIdOf(record);
  const key = epochObjectKey(root, id, "released");
  const bytes = encodeEpochRelease(release);
  // A key with our nonce is ours alone, and a store that nothing is proved of may refuse conditions.
  if (record.keyedByNonce === true) return await root.store.put(key, bytes, options);
  const outcome = await root.store.putIfAbsent(key, bytes, options);
  if (outcome === "created") return;
  const found = await readBack(key, readRelease(root, id, options));
  if (found.txid !== release.txid || found.rollingChecksum !== release.rollingChecksum) {
    throw malformedEpoch(key, "the epoch was already released at another position");
  }
}

/**
 * When the owner of an epoch last showed that it is alive: its lease, or, until the first renewal, the record itself. Two clocks would
 * make a living lease stale, so the age is the store's own: the time of its answer minus the time of the write.
 *
 * @throws {ReplicaError} `REPLICA_MALFORMED` if the lease cannot be read: that is no stale lease.
 */
export async function readLease(
  root: ReplicaRoot,
  epoch: EpochRecord,
  options: RequestOptions = {},
): Promise<{ readonly ageMs: number; readonly owner: EpochOwner }> {
  const id = epochIdOf(epoch);
  const found = await unlessAbsent(readLeaseObject(root, id, options));
  if (found !== undefined) {
    return { ageMs: ageByStore(found.info), owner: found.lease.owner };
  }
  const head = (of: EpochKeyParts): Promise<ObjectInfo> =>
    root.store.head(epochObjectKey(root, of, "record"), options);
  // Whoever died between its two writes has left the plain number alone.
  const info = (await unlessAbsent(head(id))) ?? (await head({ ...id, nonce: undefined }));
  return { ageMs: ageByStore(info), owner: epoch.owner };
}

async function unlessAbsent<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

const takeAttemptsMax = 10;

/** @returns whether the plain number is ours now. */
async function createPlain(
  root: ReplicaRoot,
  record: EpochRecord,
  options: RequestOptions,
): Promise<boolean> {
  const { epoch, nonce } = record;
  const id = { epoch, nonce: undefined };
  const key = epochObjectKey(root, id, "record");
  const outcome = await root.store.putIfAbsent(key, encodeEpochRecord(record), options);
  if (outcome === "created") return true;
  // A repeated request may have met the object that its first attempt stored; the nonce tells.
  return (await readBack(key, readRecord(root, id, options))).nonce === nonce;
}

/** Of two who took an epoch at the same moment, both may have been told that it is theirs: the lower one has shipped nothing yet, and stops. */
async function yieldToHigher(
  log: EpochLog,
  record: EpochRecord,
  options: RequestOptions,
): Promise<void> {
  if (record.kind === "branch") return;
  const higher = await (await log.readAgain(options)).writerAbove(record);
  if (higher === undefined) return;
  const { host, pid } = higher.owner;
  throw new ReplicaError(
    "EPOCH_HELD",
    `process ${pid} on ${host} took epoch ${higher.epoch} at the same moment, and goes first`,
    {
      hint: "Find out who else writes into this replica, and stop them: one database has one writer.",
    },
  );
}

function ageByStore({ key, storeTime, lastModified }: ObjectInfo): number {
  if (storeTime !== undefined) return storeTime.getTime() - lastModified.getTime();
  throw new ObjectStoreError(
    "STORE_FAILED",
    "the store's answer does not say what time it is there, so that nobody can tell how old a lease is",
    { operation: "get", key },
  );
}
