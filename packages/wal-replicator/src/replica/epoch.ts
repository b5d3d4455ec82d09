import type { ObjectReading, RequestOptions } from "@vaultwarden-stream/object-store";
import { invariant } from "../errors.ts";
import {
  decodeEpochRecord,
  decodeEpochRelease,
  type EpochRecord,
  type EpochRelease,
  encodeEpochRecord,
  encodeEpochRelease,
  epochObjectBytesMax,
  malformedEpoch,
} from "./epoch-record.ts";
import type { ReplicaRoot } from "./replica.ts";
import { ReplicaError } from "./replica-error.ts";
import { epochNumberMax, formatEpochKey, parseEpochKey } from "./replica-layout.ts";

export type { EpochRecord, EpochRelease } from "./epoch-record.ts";

/** What the store says of an epoch. */
export interface Epoch {
  readonly record: EpochRecord;
  /** Null: its owner still writes, or ended without a release. */
  readonly released: EpochRelease | null;
}

/**
 * Reads all epochs, ascending. One LIST, and one or two small GETs an epoch, some at a time. None: nothing of ours was ever here.
 *
 * @throws {ReplicaError} `REPLICA_MALFORMED`: a start must not decide on epochs that it cannot read.
 */
export async function listEpochs(
  root: ReplicaRoot,
  options: RequestOptions = {},
): Promise<Epoch[]> {
  const { numbers, released } = await listEpochNumbers(root, options);
  const epochs: Epoch[] = [];
  for (let start = 0; start < numbers.length; start += readsAtOnce) {
    const batch = numbers.slice(start, start + readsAtOnce).map(async (epoch): Promise<Epoch> => {
      const [record, release] = await Promise.all([
        readRecord(root, epoch, options),
        released.has(epoch) ? readRelease(root, epoch, options) : null,
      ]);
      return { record, released: release };
    });
    epochs.push(...(await Promise.all(batch)));
  }
  return epochs;
}

/**
 * Takes the next epoch number. Durability point: when it resolves, the record is stored, and where the store's
 * `createIfAbsent` is atomic nobody else has that number.
 *
 * @param makeRecord - called for every attempt, with the number to take. Another's epoch may have appeared since the last one.
 * @returns the record that was stored.
 * @throws {ReplicaError} `EPOCH_HELD` if others are faster time and again.
 */
export async function takeEpoch(
  root: ReplicaRoot,
  makeRecord: (epoch: number) => EpochRecord,
  options: RequestOptions = {},
): Promise<EpochRecord> {
  for (let attempt = 1; attempt <= takeAttemptsMax; attempt += 1) {
    const { numbers } = await listEpochNumbers(root, options);
    const epoch = (numbers.at(-1) ?? 0) + 1;
    const record = makeRecord(epoch);
    invariant(
      record.epoch === epoch && epoch <= epochNumberMax,
      "an epoch is taken under its number",
    );
    const key = root.prefix + formatEpochKey(epoch, "record");
    const outcome = await root.store.putIfAbsent(key, encodeEpochRecord(record), options);
    if (outcome === "created") return record;
    // A repeated request may have met the object that its first attempt stored; the nonce tells.
    if ((await readRecord(root, epoch, options)).nonce === record.nonce) return record;
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
 * Durability point: when it resolves, whoever has that position may continue the timeline.
 *
 * @throws {ReplicaError} `REPLICA_MALFORMED` if it was already released at another position.
 */
export async function releaseEpoch(
  root: ReplicaRoot,
  record: EpochRecord,
  release: EpochRelease,
  options: RequestOptions = {},
): Promise<void> {
  const key = root.prefix + formatEpochKey(record.epoch, "released");
  const outcome = await root.store.putIfAbsent(key, encodeEpochRelease(release), options);
  if (outcome === "created") return;
  const found = await readRelease(root, record.epoch, options);
  if (found.txid !== release.txid || found.rollingChecksum !== release.rollingChecksum) {
    throw malformedEpoch(key, "the epoch was already released at another position");
  }
}

const readsAtOnce = 8;
const takeAttemptsMax = 10;

interface EpochNumbers {
  /** Ascending. */
  readonly numbers: readonly number[];
  readonly released: ReadonlySet<number>;
}

async function listEpochNumbers(root: ReplicaRoot, options: RequestOptions): Promise<EpochNumbers> {
  const numbers: number[] = [];
  const released = new Set<number>();
  for await (const page of root.store.list(`${root.prefix}epochs/`, options)) {
    for (const info of page) {
      const parsed = parseEpochKey(info.key.slice(root.prefix.length));
      if (parsed?.object === "record") numbers.push(parsed.epoch);
      if (parsed?.object === "released") released.add(parsed.epoch);
    }
  }
  return { numbers: numbers.sort((a, b) => a - b), released };
}

async function readRecord(
  root: ReplicaRoot,
  epoch: number,
  options: RequestOptions,
): Promise<EpochRecord> {
  const key = root.prefix + formatEpochKey(epoch, "record");
  return decodeEpochRecord(await readSmall(await root.store.get(key, options), key), epoch, key);
}

async function readRelease(
  root: ReplicaRoot,
  epoch: number,
  options: RequestOptions,
): Promise<EpochRelease> {
  const key = root.prefix + formatEpochKey(epoch, "released");
  return decodeEpochRelease(await readSmall(await root.store.get(key, options), key), key);
}

async function readSmall(reading: ObjectReading, key: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of reading.body) {
    bytes += chunk.length;
    if (bytes > epochObjectBytesMax)
      throw malformedEpoch(key, `it has more than ${epochObjectBytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
