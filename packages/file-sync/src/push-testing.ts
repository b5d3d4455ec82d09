/**
 * For tests of the push side: a pusher over real files. Its monotonic clock moves only when it is told to or slept on; its wall clock
 * is that of the files, ahead by as much.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CountingStore,
  MemoryStore,
  type ObjectStore,
  type StoreCounts,
} from "@vaultwarden-stream/object-store";
import { onTestFinished } from "vitest";
import { blobKey } from "./blob-key.ts";
import type { FileSyncEvent } from "./events.ts";
import { openFilePusher } from "./file-pusher.ts";
import type { Verdict } from "./judge.ts";
import type { Manifest, ManifestEntry } from "./manifest.ts";
import { listManifests, readManifest } from "./manifests.ts";
import type { FilePusher, FilePusherOptions, PushPlace } from "./push-types.ts";
import type { SyncRoot } from "./sync-root.ts";
import { digest } from "./test-tree.ts";

export interface PushRig {
  readonly directory: string;
  /** The root `files`. */
  readonly files: string;
  readonly roots: readonly SyncRoot[];
  readonly memory: ObjectStore;
  readonly events: FileSyncEvent[];
  place: PushPlace;
  /** What `judge` says of every change. */
  verdict: Verdict;
  /** What it was asked. */
  readonly asked: string[];
  advance(ms: number): void;
  counts(): StoreCounts;
  /** How many PUTs there were since it was last asked. */
  takePutCount(): number;
  open(options?: Partial<FilePusherOptions>): Promise<FilePusher>;
  push(pusher: FilePusher): Promise<void>;
  /** What the newest manifest of the place's timeline names. */
  newest(): Promise<Manifest | undefined>;
}

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "file-sync-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export const firstPlace: PushPlace = {
  timeline: "00000001-0badcafe",
  epoch: 1,
  txid: "0000000000000001",
};

export function makePushRig(memory: ObjectStore = new MemoryStore()): PushRig {
  const directory = temporaryDirectory();
  const files = join(directory, "files");
  const roots: SyncRoot[] = [{ name: "files", kind: "directory", path: files }];
  const counting = new CountingStore(memory);
  const events: FileSyncEvent[] = [];
  const asked: string[] = [];
  let skewMs = 0;
  let countedPuts = 0;
  const putCount = () => counting.counts.put + counting.counts.putIfAbsent;
  const rig: PushRig = {
    directory,
    files,
    roots,
    memory,
    events,
    asked,
    place: firstPlace,
    verdict: "complete",
    advance: (ms) => {
      skewMs += ms;
    },
    counts: () => counting.counts,
    takePutCount: () => {
      const puts = putCount() - countedPuts;
      countedPuts += puts;
      return puts;
    },
    open: async (options = {}) =>
      await openFilePusher({
        store: counting,
        roots,
        stateDirectory: join(directory, "state"),
        base: await newestManifest(memory, rig.place.timeline),
        judge: async (changes) => {
          asked.push(...changes.map(({ kind, path }) => `${kind} ${path}`));
          return changes.map(() => rig.verdict);
        },
        now: () => new Date(Date.now() + skewMs),
        nowMs: () => skewMs,
        sleep: async (delayMs, signal) => {
          signal?.throwIfAborted();
          skewMs += delayMs;
        },
        onEvent: (event) => events.push(event),
        ...options,
      }),
    push: async (pusher) => {
      await pusher.push({ place: () => rig.place });
    },
    newest: () => newestManifest(memory, rig.place.timeline),
  };
  return rig;
}

export async function newestManifest(
  store: ObjectStore,
  timeline: string,
): Promise<Manifest | undefined> {
  const ref = (await listManifests(store, { timeline })).at(-1);
  return ref === undefined ? undefined : await readManifest(store, ref);
}

/** @throws unless each manifest in the store only names blobs that are there, byte for byte. @returns how many there are. */
export async function checkStore(store: ObjectStore): Promise<number> {
  const refs = await listManifests(store);
  for (const ref of refs) {
    const { entries } = await readManifest(store, ref);
    for (const entry of entries) if (entry.kind === "file") await checkBlob(store, entry);
  }
  return refs.length;
}

export async function readBlob(store: ObjectStore, sha256: string): Promise<Buffer> {
  const { body } = await store.get(blobKey(sha256));
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export function pathsOf(entries: readonly ManifestEntry[] = []): string[] {
  return entries.map(({ path }) => path);
}

async function checkBlob(
  store: ObjectStore,
  { path, size, sha256 }: { readonly path: string; readonly size: number; readonly sha256: string },
): Promise<void> {
  const bytes = await readBlob(store, sha256);
  if (bytes.length === size && digest(bytes) === sha256) return;
  throw new Error(`the blob of ${path} is another: ${bytes.length} bytes instead of ${size}`);
}
