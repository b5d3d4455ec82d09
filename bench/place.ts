import type { RestoreReplicaOptions } from "wal-replicator";
import { nowMs } from "./clock.ts";
import type { Environment } from "./contenders.ts";
import type { RequestLog } from "./request-log.ts";
import { sleepMs } from "./statistics.ts";

/** A store that places are made in. */
export interface BenchStore extends AsyncDisposable {
  readonly kind: StoreKind;
  /** A fresh and empty place. Its name is unique in the store. */
  makePlace(name: string): Promise<Place>;
}

export type StoreKind = "directory" | "s3";

/** Where one contender keeps one replica set. */
export interface Place extends Disposable {
  /** As it stands on a command line. */
  readonly url: string;
  /** What the command needs in its environment. */
  readonly env: Environment;
  /** For this process's own look at it, which is not counted. */
  readonly location: RestoreReplicaOptions["replica"];
  /** Undefined where nobody counts. */
  readonly log: RequestLog | undefined;
  /** Waits for the first level-0 file. What lies there already counts as seen at this moment. */
  watch(signal: AbortSignal): Promise<LevelZeroWatch>;
  /** The replica that stock can read by itself, as it stands on a command line: the newest timeline of ours, or `url`. */
  replicaUrl(): string;
  /** Bytes of each level-0 file of that replica. */
  levelZeroSizes(): number[];
  /** Of all that lies there; of S3, all that was sent, which may be more. */
  storedBytes(): number;
}

/** Notes when each level-0 file is complete under its final name: of a request, when its answer is back. */
export interface LevelZeroWatch extends Disposable {
  /** Times of `nowMs` by the TXID at which a file ends (16 hex digits), in the order of appearance. */
  readonly appearedAtMs: ReadonlyMap<string, number>;
  /**
   * Resolves when a file has appeared after `afterMs`, a time of `nowMs`, and then for `quietMs` none did and none was on its way. What
   * a contender does before it sends a byte is not seen: the quiet has to be longer than that.
   *
   * @param afterMs - default: any file counts.
   * @returns when the newest file appeared.
   */
  waitUntilQuiet(quietMs: number, signal: AbortSignal, afterMs?: number): Promise<number>;
}

const pollMs = 20;

/** `waitUntilQuiet` for a watch that is told by `look` what has appeared by now, and whether more is on its way. */
export async function waitUntilQuiet(
  look: () => { readonly newestAtMs: number | undefined; readonly isBusy: boolean },
  quietMs: number,
  signal: AbortSignal,
  afterMs: number,
): Promise<number> {
  let busyAtMs = nowMs();
  for (;;) {
    const { newestAtMs, isBusy } = look();
    if (isBusy) busyAtMs = nowMs();
    const isStored = newestAtMs !== undefined && newestAtMs > afterMs;
    if (isStored && nowMs() - Math.max(newestAtMs, busyAtMs) >= quietMs) return newestAtMs;
    await sleepMs(pollMs, signal);
  }
}
