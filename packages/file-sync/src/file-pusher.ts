/**
 * The push side: what is in the roots gets into the store, and a manifest says so.
 *
 * A push looks at everything, plans, stores new blobs, and commits by one manifest; then the pointer, which nobody relies on. An
 * unchanged tree makes no request. Whatever fails or is killed before the manifest leaves blobs that nothing names.
 */
import { LimitedStore } from "@vaultwarden-stream/object-store";
import { BlobWriter } from "./blob-writer.ts";
import { runBounded } from "./bounded.ts";
import { FileUnreadError } from "./digest.ts";
import type { Note } from "./events.ts";
import { Looker } from "./look.ts";
import type { FileEntry } from "./manifest.ts";
import type { ManifestRef } from "./manifest-key.ts";
import { ManifestLog } from "./manifest-log.ts";
import { NoteBoard } from "./note-board.ts";
import { assembleEntries, firstBatch } from "./plan-push.ts";
import type {
  FilePusher,
  FilePusherOptions,
  FilePusherStatus,
  PushOutcome,
  PushRequest,
} from "./push-types.ts";
import { rootNameOf } from "./safe-path.ts";
import type { FileSighting } from "./scan.ts";
import { storeFile } from "./store-file.ts";
import { checkRoots } from "./sync-root.ts";

/** Reads the digest cache; asks the store for nothing. @throws {RangeError} for roots that are not as `SyncRoot` says. */
export async function openFilePusher(options: FilePusherOptions): Promise<FilePusher> {
  checkRoots(options.roots);
  return new Pusher(options, await Looker.open(options));
}

const uploadsMaxUsual = 4;
/** So many files are read and checked for each upload that may be under way: else uploads wait for the disk. */
const filesPerUpload = 4;
const batchBytesMaxUsual = 256 * 1024 * 1024;

/** One look and at most one manifest. */
interface Round {
  readonly manifest: ManifestRef | undefined;
  /** Whether a second look may store what this one could not. */
  readonly isSettling: boolean;
  /** Whether files were left for the next manifest, or the host has moved. */
  readonly isUnfinished: boolean;
}

interface Stored {
  readonly entries: readonly FileEntry[];
  /** Why the others were not. */
  readonly notes: readonly Note[];
  readonly sent: { readonly blobs: number; readonly bytes: number };
  /** The store's, if it ended the round early. */
  readonly failure: { readonly error: unknown } | undefined;
}

class Pusher implements FilePusher {
  readonly #options: FilePusherOptions;
  readonly #looker: Looker;
  readonly #blobs: BlobWriter;
  readonly #manifests: ManifestLog;
  readonly #board: NoteBoard;
  #lookedAt: Date | undefined;
  #backlogSince: Date | undefined;
  /** What the last look found to be stored, and is not yet. */
  #unstored: ReadonlySet<string> = new Set();
  #failure: unknown;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: FilePusherOptions, looker: Looker) {
    this.#options = options;
    this.#looker = looker;
    const { store, uploadsMax = uploadsMaxUsual } = options;
    this.#blobs = new BlobWriter(new LimitedStore(store, uploadsMax), options);
    this.#manifests = new ManifestLog(options, options.base);
    this.#board = new NoteBoard(options.onEvent);
    this.#blobs.setNamed(this.#manifests.entries);
  }

  push(request: PushRequest): Promise<PushOutcome> {
    const turn = this.#last.then(() => this.#push(request));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  status(): FilePusherStatus {
    const entries = [...this.#manifests.entries.values()];
    const files = entries.filter((entry) => entry.kind === "file");
    return {
      files: files.length,
      bytes: files.reduce((sum, { size }) => sum + size, 0),
      notes: this.#board.notes,
      unstored: [...this.#unstored],
      lookedAt: this.#lookedAt,
      pushedAt: this.#manifests.newest?.time,
      backlogSince: this.#backlogSince,
      failure: this.#failure,
    };
  }

  async close(): Promise<void> {
    await this.#last;
  }

  async #push(request: PushRequest): Promise<PushOutcome> {
    const { signal, final = false } = request;
    let manifest: ManifestRef | undefined;
    let isLastLook = !final;
    // A file that keeps changing must not keep the others from their manifest.
    let failed = new Map<string, Note>();
    try {
      for (;;) {
        signal?.throwIfAborted();
        const round = await this.#round(request, failed);
        manifest = round.manifest ?? manifest;
        if (round.isUnfinished) continue;
        if (isLastLook || !round.isSettling) break;
        isLastLook = true;
        failed = new Map();
        await this.#options.sleep(this.#looker.settleMs, signal);
      }
      this.#failure = undefined;
    } catch (error) {
      this.#failure = error;
      throw error;
    } finally {
      await this.#saveCache();
    }
    return { manifest, needsLook: this.#isWaiting || this.#looker.known.hasUncertain };
  }

  /** @param failed - by path, why a file was not stored in this push; added to. Not tried again. */
  async #round(
    { place: askPlace, signal }: PushRequest,
    failed: Map<string, Note>,
  ): Promise<Round> {
    const { now, batchBytesMax = batchBytesMaxUsual } = this.#options;
    const { entries: base } = this.#manifests;
    const place = askPlace();
    const time = now();
    const plan = await this.#looker.look(base, signal);
    const open = plan.files.filter(({ path }) => !failed.has(path));
    this.#unstored = new Set(plan.files.map(({ path }) => path));
    const batch = firstBatch(open, batchBytesMax);
    const stored = await this.#store(batch, signal);

    const isStored = new Set(stored.entries.map(({ path }) => path));
    // What could not be stored stays as it was.
    const unstored = plan.files.flatMap(({ path }) =>
      isStored.has(path) ? [] : (base.get(path) ?? []),
    );
    const { entries, displaced } = assembleEntries(
      base,
      [...plan.kept, ...unstored],
      [...plan.present, ...stored.entries],
    );
    for (const note of [...stored.notes, ...displaced.map(toDisplacedNote)]) {
      failed.set(note.path, note);
    }
    this.#board.show([...plan.notes, ...failed.values()]);

    const state = { ...place, time, entries };
    const isLeft = batch.length < open.length || stored.failure !== undefined;
    if (isLeft || this.#isWaiting || this.#manifests.isDue(state)) this.#backlogSince ??= time;
    const isMoved = !isSamePlace(place, askPlace());
    if (isMoved) return { manifest: undefined, isSettling: false, isUnfinished: true };
    const manifest = await this.#manifests.commit(state, stored.sent, signal);
    this.#blobs.setNamed(this.#manifests.entries);
    this.#unstored = new Set([...this.#unstored].filter((path) => !isStored.has(path)));
    if (stored.failure !== undefined) throw stored.failure.error;
    this.#lookedAt = time;
    if (!isLeft && !this.#isWaiting) this.#backlogSince = undefined;
    const isSettling = plan.isSettling || stored.notes.some(({ kind }) => kind === "waiting");
    return { manifest, isSettling, isUnfinished: isLeft };
  }

  async #store(files: readonly FileSighting[], signal: AbortSignal | undefined): Promise<Stored> {
    const { uploadsMax = uploadsMaxUsual, batchBytesMax = batchBytesMaxUsual } = this.#options;
    const entries: FileEntry[] = [];
    const notes: Note[] = [];
    const sent = { blobs: 0, bytes: 0 };
    let failure: Stored["failure"];
    const bounds = {
      countMax: uploadsMax * filesPerUpload,
      bytesMax: batchBytesMax,
      bytesOf: ({ identity }: FileSighting) => identity.size,
    };
    const { known } = this.#looker;
    const deps = { blobs: this.#blobs, known, clocks: this.#options, signal };
    try {
      await runBounded(files, bounds, async (file) => {
        try {
          const check = this.#checkOf(file);
          const { entry, isSent } = await storeFile(file, { ...deps, check });
          entries.push(entry);
          if (!isSent) return;
          sent.blobs += 1;
          sent.bytes += entry.size;
          this.#options.onCrashPoint?.("blob-stored");
        } catch (error) {
          if (!(error instanceof FileUnreadError)) throw error;
          notes.push({ kind: error.kind, path: file.path, reason: error.message });
        }
      });
    } catch (error) {
      signal?.throwIfAborted();
      // What was stored before it can be named all the same.
      failure = { error };
    }
    return { entries, notes, sent, failure };
  }

  async #saveCache(): Promise<void> {
    try {
      if (await this.#looker.save()) this.#options.onCrashPoint?.("cache-saved");
    } catch (error) {
      this.#options.onEvent({ type: "cache-failing", error });
    }
  }

  #checkOf({ path }: FileSighting) {
    const { contentChecks } = this.#options;
    return contentChecks?.get(path) ?? contentChecks?.get(rootNameOf(path));
  }

  get #isWaiting(): boolean {
    return this.#board.notes.some(({ kind }) => kind === "waiting");
  }
}

function isSamePlace(
  a: { readonly timeline: string; readonly epoch: number },
  b: { readonly timeline: string; readonly epoch: number },
): boolean {
  return a.timeline === b.timeline && a.epoch === b.epoch;
}

function toDisplacedNote(path: string): Note {
  const reason = "something that stays in the store has its place, or the place of its directory";
  return { kind: "waiting", path, reason };
}
