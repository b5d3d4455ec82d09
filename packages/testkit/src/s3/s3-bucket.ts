/** An object as it is stored. The body belongs to the bucket: look, do not change. */
export interface S3Object {
  readonly body: Uint8Array;
  /** From `x-amz-meta-*`, without that prefix. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly contentType: string;
  /** With its quotes. */
  readonly etag: string;
  /** Whole seconds. */
  readonly lastModified: Date;
}

/** A multipart upload that was neither completed nor aborted. */
export interface S3Upload {
  readonly id: string;
  readonly key: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly contentType: string;
  readonly initiated: Date;
  readonly parts: Map<number, { readonly body: Uint8Array; readonly etag: string }>;
}

/** The state before the last write of a key. */
interface Replaced {
  readonly object: S3Object | undefined;
  readonly atMs: number;
}

/** What a store holds: objects, open uploads, and as much of the past as a lagging answer needs. */
export class S3Bucket {
  readonly objects: Map<string, S3Object> = new Map();
  readonly uploads: Map<string, S3Upload> = new Map();
  readonly #replaced = new Map<string, Replaced>();
  readonly #hiddenListCounts = new Map<string, number>();
  #sortedKeys: readonly string[] | undefined;

  write(key: string, object: S3Object, nowMs: number, hiddenListCount: number): void {
    this.#remember(key, nowMs);
    this.objects.set(key, object);
    if (hiddenListCount > 0) this.#hiddenListCounts.set(key, hiddenListCount);
  }

  delete(key: string, nowMs: number): void {
    this.#remember(key, nowMs);
    this.objects.delete(key);
    this.#hiddenListCounts.delete(key);
  }

  /** The object, or what a follower that lags by `staleReadMs` takes for it. */
  read(key: string, nowMs: number, staleReadMs: number): S3Object | undefined {
    const replaced = this.#replaced.get(key);
    if (replaced !== undefined && nowMs - replaced.atMs < staleReadMs) return replaced.object;
    return this.objects.get(key);
  }

  lastWriteMs(key: string): number | undefined {
    return this.#replaced.get(key)?.atMs;
  }

  /** Keys in the order of their bytes, without those that hide from this listing. A call counts as one listing. */
  listKeys(): readonly string[] {
    this.#sortedKeys ??= [...this.objects.keys()].sort(compareKeys);
    const keys = this.#sortedKeys;
    if (this.#hiddenListCounts.size === 0) return keys;
    const hidden = new Set(this.#hiddenListCounts.keys());
    for (const [key, count] of this.#hiddenListCounts) {
      if (count > 1) this.#hiddenListCounts.set(key, count - 1);
      else this.#hiddenListCounts.delete(key);
    }
    return keys.filter((key) => !hidden.has(key));
  }

  #remember(key: string, nowMs: number): void {
    this.#replaced.set(key, { object: this.objects.get(key), atMs: nowMs });
    this.#sortedKeys = undefined;
  }
}

/** The order of UTF-8 bytes, in which S3 lists; JavaScript's own order is that of UTF-16 units. */
export function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
