import type { ObjectStore } from "@vaultwarden-stream/object-store";
import type { EntryMap } from "./compare-tree.ts";
import type { FileSyncEvent } from "./events.ts";
import type { Manifest } from "./manifest.ts";
import { type ManifestRef, manifestKey } from "./manifest-key.ts";
import { writeManifest, writePointer } from "./manifests.ts";
import { countChanges, haveSameEntries } from "./plan-push.ts";
import type { PushCrashPoint } from "./push-types.ts";

export interface ManifestLogDeps {
  readonly store: ObjectStore;
  readonly onEvent: (event: FileSyncEvent) => void;
  readonly onCrashPoint?: (point: PushCrashPoint) => void;
}

/** Blobs that were sent for a manifest. */
export interface Sent {
  readonly blobs: number;
  readonly bytes: number;
}

/**
 * The manifests of one writer: which is the newest, what number the next one has, and whether there has to be one.
 *
 * A number is tried once. After an attempt whose outcome is not known the next manifest takes the next number, and is written even if
 * nothing changed: should the first have landed after all, now or later, it is an older state. To send the same bytes again
 * instead, hours later, could name blobs that were pruned meanwhile.
 */
export class ManifestLog {
  readonly #deps: ManifestLogDeps;
  #newest: ManifestRef | undefined;
  #entries: EntryMap = new Map();
  #tried: ManifestRef | undefined;
  /** Whether there may be a newer manifest in the store than the newest that we know. */
  #isUndecided = false;
  #isPointerDue = false;

  constructor(deps: ManifestLogDeps, newest: Manifest | undefined) {
    this.#deps = deps;
    if (newest !== undefined) this.#setNewest(newest);
  }

  get newest(): ManifestRef | undefined {
    return this.#newest;
  }

  get entries(): EntryMap {
    return this.#entries;
  }

  /** Whether the state is another than the store's newest one, or belongs into another timeline. */
  isDue({ timeline, entries }: Pick<Manifest, "timeline" | "entries">): boolean {
    const isOtherTimeline = this.#newest !== undefined && this.#newest.timeline !== timeline;
    return isOtherTimeline || this.#isUndecided || !haveSameEntries(this.#entries, entries);
  }

  /**
   * Writes a manifest of the state if one is due, and then the pointer.
   *
   * Durability point: the manifest counts when it resolves, and may if it rejects.
   *
   * @returns undefined if none was due.
   */
  async commit(
    state: Omit<Manifest, "sequence">,
    sent: Sent,
    signal: AbortSignal | undefined,
  ): Promise<ManifestRef | undefined> {
    const { store, onEvent, onCrashPoint } = this.#deps;
    if (!this.isDue(state)) {
      await this.#writePointer(signal);
      return undefined;
    }
    const manifest: Manifest = {
      ...state,
      sequence: this.#nextSequence(state),
      ...(this.#newest === undefined ? {} : { previous: manifestKey(this.#newest) }),
    };
    const counts = countChanges(this.#entries, state.entries);
    this.#tried = toRef(manifest);
    this.#isUndecided = true;
    onCrashPoint?.("blobs-stored");
    await writeManifest(store, manifest, signal === undefined ? {} : { signal });
    this.#isUndecided = false;
    this.#isPointerDue = true;
    this.#setNewest(manifest);
    onCrashPoint?.("manifest-stored");
    onEvent({ type: "pushed", manifest: this.#tried, ...counts, ...sent });
    await this.#writePointer(signal);
    onCrashPoint?.("pointer-stored");
    return this.#tried;
  }

  /** Nobody relies on it, so its failure is only said; the next look tries again. */
  async #writePointer(signal: AbortSignal | undefined): Promise<void> {
    const { store, onEvent } = this.#deps;
    if (!this.#isPointerDue || this.#newest === undefined) return;
    try {
      await writePointer(store, this.#newest, signal === undefined ? {} : { signal });
      this.#isPointerDue = false;
    } catch (error) {
      signal?.throwIfAborted();
      onEvent({ type: "pointer-failing", error });
    }
  }

  #nextSequence({ timeline, epoch }: Pick<ManifestRef, "timeline" | "epoch">): number {
    const used = [this.#newest, this.#tried].map((ref) =>
      ref?.timeline === timeline && ref.epoch === epoch ? ref.sequence : 0,
    );
    return Math.max(...used) + 1;
  }

  #setNewest(manifest: Manifest): void {
    this.#newest = toRef(manifest);
    this.#entries = new Map(manifest.entries.map((entry) => [entry.path, entry]));
  }
}

function toRef({ timeline, epoch, sequence, txid, time }: ManifestRef): ManifestRef {
  return { timeline, epoch, sequence, txid, time };
}
