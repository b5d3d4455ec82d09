import type { ObjectBody, ObjectStore } from "@vaultwarden-stream/object-store";
import { blobKey } from "./blob-key.ts";
import type { EntryMap } from "./compare-tree.ts";

export interface Clocks {
  /** The wall clock. */
  readonly now: () => Date;
  /** A monotonic one, in milliseconds. */
  readonly nowMs: () => number;
}

interface Upload {
  readonly at: Date;
  readonly atMs: number;
}

/**
 * How long a blob that we stored counts as stored while no manifest names it. A prune removes such blobs once they are older than
 * its grace period, which has to be well above this.
 */
const unnamedTrustMs = 60 * 60 * 1000;

/**
 * Stores blobs, each once. What is known to be in the store: what the newest manifest names, since every prune keeps that one, and
 * what was stored a short time ago. Everything else is stored again, which also renews its age for a prune that is after it.
 */
export class BlobWriter {
  readonly #store: ObjectStore;
  readonly #clocks: Clocks;
  #named: ReadonlySet<string> = new Set();
  readonly #uploads = new Map<string, Upload>();
  readonly #inFlight = new Map<string, Promise<void>>();

  constructor(store: ObjectStore, clocks: Clocks) {
    this.#store = store;
    this.#clocks = clocks;
  }

  /** Takes in the entries of the newest manifest. */
  setNamed(entries: EntryMap): void {
    this.#named = new Set(
      [...entries.values()].flatMap((entry) => (entry.kind === "file" ? entry.sha256 : [])),
    );
    for (const sha256 of this.#uploads.keys()) {
      if (!this.#isRecent(sha256)) this.#uploads.delete(sha256);
    }
  }

  has(sha256: string): boolean {
    return this.#named.has(sha256) || this.#isRecent(sha256);
  }

  /**
   * Durability point: when it resolves, the blob is in the store.
   *
   * @returns whether it was sent; not if it is known to be there, or if it was under way already.
   */
  async put(sha256: string, body: ObjectBody, signal: AbortSignal | undefined): Promise<boolean> {
    // The other one may fail for a reason of its own, such as a file that changes.
    while (this.#inFlight.has(sha256)) await this.#inFlight.get(sha256)?.catch(() => undefined);
    if (this.has(sha256)) return false;
    const upload = this.#store.put(blobKey(sha256), body, signal === undefined ? {} : { signal });
    this.#inFlight.set(sha256, upload);
    try {
      const begun = { at: this.#clocks.now(), atMs: this.#clocks.nowMs() };
      await upload;
      this.#uploads.set(sha256, begun);
      return true;
    } finally {
      this.#inFlight.delete(sha256);
    }
  }

  /** By both clocks: one stands still while the machine sleeps, the other can be set back. */
  #isRecent(sha256: string): boolean {
    const upload = this.#uploads.get(sha256);
    if (upload === undefined) return false;
    const age = this.#clocks.now().getTime() - upload.at.getTime();
    const monotonicAge = this.#clocks.nowMs() - upload.atMs;
    return age >= 0 && age < unnamedTrustMs && monotonicAge < unnamedTrustMs;
  }
}
