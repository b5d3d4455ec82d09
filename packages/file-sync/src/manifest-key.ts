/**
 * What a manifest's key says of it, so that a listing is enough to choose one:
 * `files/manifests/<timeline>/<epoch>-<sequence>-<txid>-<time>.json`, all of fixed width.
 *
 * Manifests of one timeline are ordered by epoch and sequence, never by their time: a clock may have been wrong.
 */
export interface ManifestRef {
  /** The database's timeline that the manifest belongs to: one segment of a key. */
  readonly timeline: string;
  /** Who wrote it: 1 to 99,999,999. */
  readonly epoch: number;
  /** Counts an epoch's manifests: 1 to 99,999,999. */
  readonly sequence: number;
  /** 16 lower case hex digits. What the database had committed by then is not newer than the files in the manifest. */
  readonly txid: string;
  /** When the look at the files began. Millisecond precision. */
  readonly time: Date;
}

export const manifestPrefix = "files/manifests/";
/** Names the newest manifest for who looks often; what counts is the listing. */
export const pointerKey = "files/current.json";

const pattern =
  /^files\/manifests\/([A-Za-z0-9_-][A-Za-z0-9._-]{0,199})\/(\d{8})-(\d{8})-([0-9a-f]{16})-(\d{8}T\d{9}Z)\.json$/;

export function manifestKey({ timeline, epoch, sequence, txid, time }: ManifestRef): string {
  const digits = (value: number): string => String(value).padStart(8, "0");
  const compact = time.toISOString().replaceAll(/[-:.]/g, "");
  return `${manifestPrefix}${timeline}/${digits(epoch)}-${digits(sequence)}-${txid}-${compact}.json`;
}

/** @returns what the key says; undefined: not the key of a manifest. */
export function parseManifestKey(key: string): ManifestRef | undefined {
  const match = pattern.exec(key);
  if (match === null) return undefined;
  const [, timeline = "", epoch = "", sequence = "", txid = "", compact = ""] = match;
  const time = new Date(
    compact.replace(/^(....)(..)(..)T(..)(..)(..)(...)Z$/, "$1-$2-$3T$4:$5:$6.$7Z"),
  );
  const ref = { timeline, epoch: Number(epoch), sequence: Number(sequence), txid, time };
  // Also refuses numbers of 0 and the 31st of February, which a Date would move to another day.
  const isWhole = ref.epoch > 0 && ref.sequence > 0 && !Number.isNaN(time.getTime());
  return isWhole && manifestKey(ref) === key ? ref : undefined;
}

/** Negative if `a` was written before `b`. Only for manifests of one timeline. */
export function compareManifests(a: ManifestRef, b: ManifestRef): number {
  return a.epoch - b.epoch || a.sequence - b.sequence;
}
