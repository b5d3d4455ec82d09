import { type RealS3Server, startMinio } from "@vaultwarden-stream/testkit";
import type { RestoreReplicaOptions } from "wal-replicator";
import type { Environment } from "./contenders.ts";
import { type BenchStore, type LevelZeroWatch, type Place, waitUntilQuiet } from "./place.ts";
import { RequestLog } from "./request-log.ts";
import type { ProxiedRequest } from "./s3-proxy.ts";
import { sleepMs } from "./statistics.ts";

/** A MinIO of its own, and before it for each place a proxy that counts and delays. */
export async function openS3Store(latencyMs: number): Promise<BenchStore> {
  const server = await startMinio();
  return {
    kind: "s3",
    makePlace: async (name) =>
      new S3Place(server, name, await RequestLog.open(server.endpoint, latencyMs)),
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

class S3Place implements Place {
  readonly url: string;
  readonly env: Environment;
  readonly location: RestoreReplicaOptions["replica"];
  readonly log: RequestLog;
  readonly #query: string;
  readonly #bucketUrl: string;

  constructor(server: RealS3Server, prefix: string, log: RequestLog) {
    const { bucket, endpoint, region, credentials } = server;
    this.log = log;
    this.#bucketUrl = `s3://${bucket}`;
    this.#query = String(
      new URLSearchParams({ endpoint: log.endpoint, region, forcePathStyle: "true" }),
    );
    this.url = this.#toUrl(prefix);
    this.env = {
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      // Nothing of the machine's own settings may come in between.
      AWS_SESSION_TOKEN: undefined,
      AWS_PROFILE: undefined,
      AWS_ENDPOINT_URL_S3: undefined,
    };
    this.location = { bucket, prefix, endpoint, region, forcePathStyle: true, credentials };
  }

  async watch(signal: AbortSignal): Promise<LevelZeroWatch> {
    const watch = new S3Watch(this.log);
    while (watch.appearedAtMs.size === 0) await sleepMs(5, signal);
    return watch;
  }

  replicaUrl(): string {
    return this.#toUrl(this.#newestReplica());
  }

  levelZeroSizes(): number[] {
    const level = `${this.#newestReplica()}/0000/`;
    const sizes = new Map<string, number>();
    for (const { key, bytesUp } of this.log.requests) {
      // The parts of an upload are requests of their own for the same key.
      if (key.startsWith(level)) sizes.set(key, (sizes.get(key) ?? 0) + bytesUp);
    }
    return [...sizes.values()];
  }

  storedBytes(): number {
    return this.log.requests.reduce((sum, { bytesUp }) => sum + bytesUp, 0);
  }

  [Symbol.dispose](): void {
    this.log[Symbol.dispose]();
  }

  #toUrl(prefix: string): string {
    return `${this.#bucketUrl}/${prefix}?${this.#query}`;
  }

  /** Names of timelines sort by their epochs; stock has none, and its level lies directly below the prefix. */
  #newestReplica(): string {
    const levels = this.log.requests.filter(isLevelZeroStored).map(({ key }) => key);
    const newest = levels.sort().at(-1);
    if (newest === undefined) throw new Error(`${this.url} holds no replica`);
    return newest.slice(0, newest.lastIndexOf("/0000/"));
  }
}

/** A file has appeared when the request that made it was answered. */
class S3Watch implements LevelZeroWatch {
  readonly #log: RequestLog;
  readonly #appearedAtMs = new Map<string, number>();
  #seenCount = 0;

  constructor(log: RequestLog) {
    this.#log = log;
  }

  get appearedAtMs(): ReadonlyMap<string, number> {
    const { requests } = this.#log;
    for (; this.#seenCount < requests.length; this.#seenCount += 1) {
      const request = requests[this.#seenCount] as ProxiedRequest;
      if (!isLevelZeroStored(request)) continue;
      const txid = txidOf(request);
      if (!this.#appearedAtMs.has(txid)) this.#appearedAtMs.set(txid, request.answeredAtMs);
    }
    return this.#appearedAtMs;
  }

  waitUntilQuiet(quietMs: number, signal: AbortSignal, afterMs = 0): Promise<number> {
    return waitUntilQuiet(
      () => ({
        newestAtMs: [...this.appearedAtMs.values()].at(-1),
        isBusy: this.#log.openCount > 0,
      }),
      quietMs,
      signal,
      afterMs,
    );
  }

  [Symbol.dispose](): void {}
}

const levelZeroKey = /\/0000\/[0-9a-f]{16}-([0-9a-f]{16})\.ltx$/;

export function isLevelZeroStored({ key, isStoring, status }: ProxiedRequest): boolean {
  return isStoring && status === 200 && levelZeroKey.test(key);
}

/** The TXID at which a level-0 file ends, 16 hex digits. */
export function txidOf({ key }: ProxiedRequest): string {
  return levelZeroKey.exec(key)?.[1] as string;
}
