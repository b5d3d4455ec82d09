import {
  openSealedJson,
  type SealedJson,
  sealJson,
  sealProblem,
} from "@vaultwarden-stream/object-store";
import { formatTxid, parseTxid, type Txid } from "../ltx/txid.ts";
import { ReplicaError } from "./replica-error.ts";
import { type EpochKeyParts, epochNumberMax, isTimelineName } from "./replica-layout.ts";

/** `epochs/<number>.json`: one process's right to write. Written once, never changed, never deleted: a holder looks for the next number. */
export interface EpochRecord {
  readonly version: 1;
  /** 1 … 99,999,999. The highest wins; of one number, the highest nonce. */
  readonly epoch: number;
  /** 32 hex digits, random: tells two takers of the same number apart. */
  readonly nonce: string;
  /**
   * `writer`: claims the replica; fences every lower one. `branch`: takes a number and claims nothing; it gives what a fenced or
   * diverged side still has a timeline of its own.
   */
  readonly kind: "writer" | "branch";
  /** Its objects are keyed by number and nonce, since nothing proved that only one writer gets a number. Absent: by the number alone. */
  readonly keyedByNonce?: true;
  readonly owner: EpochOwner;
  /** The timeline that this epoch writes into: its own, or the one that it goes on in. */
  readonly timeline: string;
  /** Where the timeline branches from: TXIDs up to this one are the parent's. Null: it begins at TXID 1. The same in every epoch of a timeline. */
  readonly parent: TimelinePosition | null;
  /** RFC 3339, by the owner's clock: for people, never for an order. */
  readonly startedAt: string;
}

export interface EpochOwner {
  readonly host: string;
  readonly pid: number;
  readonly installation: InstallationIdentity;
}

/** A machine and one spool directory on it: a copy of the volume has another inode or time of birth. */
interface InstallationIdentity {
  /** Empty where the machine has no id. */
  readonly hostId: string;
  readonly spoolInode: string;
  /** Nanoseconds since the Unix epoch, as text. */
  readonly spoolBornAt: string;
}

export interface TimelinePosition {
  readonly timeline: string;
  readonly txid: Txid;
}

/** `epochs/<number>.released.json`: everything up to `txid` is stored, and the owner writes no more. */
export interface EpochRelease {
  /** The epoch's own; null in releases of earlier versions. A release with another nonce is not of this epoch. */
  readonly nonce: string | null;
  readonly txid: Txid;
  /** Of the whole database at `txid`, 16 hex digits. */
  readonly rollingChecksum: string;
  /** RFC 3339, by the owner's clock. */
  readonly releasedAt: string;
}

/** `epochs/<number>.lease.json`: shows that the epoch's owner is alive. Written again at each renewal; its age is the store's to say. */
export interface EpochLease {
  readonly nonce: string;
  readonly owner: EpochOwner;
  /** RFC 3339, by the owner's clock: for people. */
  readonly renewedAt: string;
  /** The newest TXID that the store had confirmed; null: none yet. */
  readonly txid: Txid | null;
  /** Written after a release: who finds it and no release knows that one was lost. */
  readonly released?: true;
}

export function encodeEpochRecord(record: EpochRecord): Uint8Array {
  const { parent } = record;
  return encodeJson({
    ...record,
    parent: parent && { timeline: parent.timeline, txid: formatTxid(parent.txid) },
  });
}

/**
 * Reads what lies under the key of an epoch. Unknown fields of sealed objects are passed over, so that later versions can add some.
 *
 * @param id - what the key says: the record must have that number, and that nonce if the key has one.
 * @throws {ReplicaError} `REPLICA_MALFORMED`, for everything but exactly such a record.
 */
export function decodeEpochRecord(bytes: Uint8Array, id: EpochKeyParts, key: string): EpochRecord {
  const object = decodeJson(bytes, key);
  const malformed = (field: string): ReplicaError =>
    malformedEpoch(key, `its ${field} is not valid`);
  if (object["version"] !== 1) throw malformed("version");
  const { epoch } = id;
  if (object["epoch"] !== epoch || epoch > epochNumberMax) throw malformed("epoch");
  const { nonce, timeline, startedAt, kind = "writer" } = object;
  if (!isNonce(nonce) || !nonce.startsWith(id.nonce ?? "")) throw malformed("nonce");
  if (kind !== "writer" && kind !== "branch") throw malformed("kind");
  if (typeof timeline !== "string" || !isTimelineName(timeline)) throw malformed("timeline");
  if (!isTime(startedAt)) throw malformed("startedAt");
  const owner = decodeOwner(object["owner"]);
  if (owner === undefined) throw malformed("owner");
  const parent = decodeParent(object["parent"]);
  if (parent === undefined) throw malformed("parent");
  const isKeyedByNonce = id.nonce !== undefined || object["keyedByNonce"] === true;
  return {
    version: 1,
    epoch,
    nonce,
    kind,
    ...(isKeyedByNonce ? { keyedByNonce: true } : {}),
    owner,
    timeline,
    parent,
    startedAt,
  };
}

export function encodeEpochRelease(release: EpochRelease): Uint8Array {
  const { txid, ...rest } = release;
  return encodeJson({ version: 1, ...rest, txid: formatTxid(txid) });
}

/** @throws {ReplicaError} `REPLICA_MALFORMED` */
export function decodeEpochRelease(bytes: Uint8Array, key: string): EpochRelease {
  const object = decodeJson(bytes, key);
  const { nonce = null, rollingChecksum, releasedAt } = object;
  const txid = decodeTxid(object["txid"]);
  if (
    object["version"] !== 1 ||
    (nonce !== null && !isNonce(nonce)) ||
    txid === undefined ||
    typeof rollingChecksum !== "string" ||
    !/^[0-9a-f]{16}$/.test(rollingChecksum) ||
    !isTime(releasedAt)
  ) {
    throw malformedEpoch(key, "a field of the release is not valid");
  }
  return { nonce, txid, rollingChecksum, releasedAt };
}

export function encodeEpochLease(lease: EpochLease): Uint8Array {
  const { txid, ...rest } = lease;
  return encodeJson({ version: 1, ...rest, txid: txid && formatTxid(txid) });
}

/** @throws {ReplicaError} `REPLICA_MALFORMED` */
export function decodeEpochLease(bytes: Uint8Array, key: string): EpochLease {
  const object = decodeJson(bytes, key);
  const { nonce, renewedAt, released } = object;
  const owner = decodeOwner(object["owner"]);
  const txid = object["txid"] === null ? null : decodeTxid(object["txid"]);
  if (
    object["version"] !== 1 ||
    !isNonce(nonce) ||
    owner === undefined ||
    txid === undefined ||
    !isTime(renewedAt)
  ) {
    throw malformedEpoch(key, "a field of the lease is not valid");
  }
  return { nonce, owner, renewedAt, txid, ...(released === true ? { released } : {}) };
}

/** Far above any real record; bounds what is read from the store and parsed. */
export const epochObjectBytesMax = 16_384;

export function malformedEpoch(key: string, reason: string, cause?: unknown): ReplicaError {
  return new ReplicaError(
    "REPLICA_MALFORMED",
    `${JSON.stringify(key)} is no epoch of ours: ${reason}`,
    {
      key,
      hint: "A later version may have written it: use that one. Else keep a copy of the object, then restore with an explicit timeline.",
      cause,
    },
  );
}

function encodeJson(value: unknown): Uint8Array {
  return sealJson(JSON.stringify(value, undefined, 1));
}

/** What records, leases and releases had before they were sealed. */
const unsealedFields =
  "version epoch nonce kind keyedByNonce owner timeline parent startedAt txid rollingChecksum releasedAt renewedAt".split(
    " ",
  );

function decodeJson(bytes: Uint8Array, key: string): Record<string, unknown> {
  let opened: SealedJson;
  try {
    opened = openSealedJson(bytes);
  } catch (error) {
    throw malformedEpoch(key, "it is not JSON", error);
  }
  const { value } = opened;
  if (!isRecord(value)) throw malformedEpoch(key, "it is not an object");
  // A later version may have other rules for what else is in it.
  const problem = value["version"] === 1 ? sealProblem(opened, unsealedFields) : undefined;
  if (problem !== undefined) throw malformedEpoch(key, problem);
  return value;
}

function decodeOwner(value: unknown): EpochOwner | undefined {
  if (!isRecord(value) || !isRecord(value["installation"])) return undefined;
  const { host, pid } = value;
  const { hostId, spoolInode, spoolBornAt } = value["installation"];
  if (!isShortText(host) || typeof pid !== "number" || !Number.isSafeInteger(pid) || pid < 0) {
    return undefined;
  }
  if (!isShortText(hostId) || !isDecimal(spoolInode) || !isDecimal(spoolBornAt)) return undefined;
  return { host, pid, installation: { hostId, spoolInode, spoolBornAt } };
}

function decodeParent(value: unknown): TimelinePosition | null | undefined {
  if (value === null) return null;
  if (!isRecord(value)) return undefined;
  const { timeline } = value;
  const txid = decodeTxid(value["txid"]);
  if (typeof timeline !== "string" || !isTimelineName(timeline) || txid === undefined)
    return undefined;
  return { timeline, txid };
}

function decodeTxid(value: unknown): Txid | undefined {
  return typeof value === "string" ? parseTxid(value) : undefined;
}

function isNonce(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{32}$/.test(value);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isShortText(value: unknown): value is string {
  return typeof value === "string" && value.length <= 256;
}

function isDecimal(value: unknown): value is string {
  return typeof value === "string" && /^[0-9]{1,20}$/.test(value);
}

function isTime(value: unknown): value is string {
  return (
    typeof value === "string" &&
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/.test(value) &&
    Number.isFinite(Date.parse(value))
  );
}
