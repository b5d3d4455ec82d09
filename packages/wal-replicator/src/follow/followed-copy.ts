import { randomInt } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { ReplicationError } from "../errors.ts";
import { ReplicaError } from "../replica/replica-error.ts";
import { coded } from "../restore/restore-file.ts";
import type { PageChecksums } from "../ship/page-checksums.ts";
import { databaseFileIdentity } from "../sqlite/database-file.ts";
import { databaseHeaderBytes } from "../sqlite/database-header.ts";
import { copyHeader, nextChangeCounter, toFollowedHeader, withHeader } from "./copy-header.ts";
import { CopyLock, type CopyLockDeps } from "./copy-lock.ts";
import type { CopyPlace } from "./copy-place.ts";
import {
  type CopyPosition,
  type CopyState,
  type IdentifiedCopy,
  identifyCopy,
  readCopyState,
  writeCopyState,
} from "./copy-state.ts";
import {
  type CopyChange,
  type CopyPage,
  commitChange,
  prepareJournal,
} from "./copy-transaction.ts";
import type { FollowCrashPointListener } from "./follow-crash-point.ts";
import { type CopyContent, readPageChecksums } from "./read-page-checksums.ts";
import { readWhole } from "./rollback-journal.ts";

export interface FollowedCopyDeps extends CopyLockDeps {
  readonly at: FollowCrashPointListener;
}

/** What the copy is to become: another state, and the pages in which it differs. */
export interface CopyUpdate
  extends Pick<CopyPosition, "timeline" | "txid" | "timestampMs" | "pageSize" | "rollingChecksum"> {
  /** Checksums of all pages afterwards. Called after the commit. */
  readonly checksums: () => PageChecksums;
  readonly pageCount: number;
  /** Ascending. */
  readonly pgnos: Uint32Array;
  /** Page 1 as the replica has it, if it is among them. */
  readonly page1: Uint8Array | undefined;
  /** Those pages in this order. Called once. */
  pages(): AsyncIterable<CopyPage>;
}

/**
 * A copy that is changed under its readers, one transaction after the other. What they see at any moment is the state before or after one,
 * by SQLite's own rules: an exclusive lock, and a journal that a killed transaction leaves hot. They need ordinary locks, the permission
 * to roll back, and a busy timeout.
 *
 * While it is followed the copy is in rollback-journal mode, whatever the source is; `rest` gives it the replica's own page 1 back, so
 * that the file is the same, byte for byte, as a restore of its TXID.
 *
 * After an error within a transaction it is not known which state the file has (`isUncertain`): close it and open it again.
 */
export class FollowedCopy {
  readonly #place: CopyPlace;
  readonly #handle: FileHandle;
  readonly #lock: CopyLock;
  readonly #deps: FollowedCopyDeps;
  #position: CopyPosition;
  #isAtRest: boolean;
  #checksums: PageChecksums;
  /** Page 1 as the replica has it. */
  #page1: Uint8Array;
  #isUncertain = false;

  private constructor(
    opened: OpenCopy,
    place: CopyPlace,
    found: IdentifiedCopy,
    content: CopyContent,
    deps: FollowedCopyDeps,
  ) {
    this.#place = place;
    this.#handle = opened.handle;
    this.#lock = opened.lock;
    this.#deps = deps;
    this.#position = found.position;
    this.#isAtRest = found.isAtRest;
    this.#checksums = content.checksums;
    this.#page1 = content.page1;
  }

  /**
   * Opens a copy that was left by whatever end, and reads all of it: what a killed transaction left is rolled back.
   *
   * @returns undefined if there is no file.
   * @throws {ReplicationError} `COPY_CHANGED`. @throws {ReplicaError} `TARGET_EXISTS`, `TARGET_UNWRITABLE`. @throws the abort reason.
   */
  static async open(
    place: CopyPlace,
    deps: FollowedCopyDeps,
    signal: AbortSignal,
  ): Promise<FollowedCopy | undefined> {
    if (!existsSync(place.path)) return undefined;
    const state = await readCopyState(place.state);
    if (state === undefined) {
      throw new ReplicaError("TARGET_EXISTS", `there is a file at ${place.path}`, {
        path: place.path,
        hint: "It is no copy that was followed before. Move it away, choose another target, or ask for it to be overwritten.",
      });
    }
    const opened = await openCopy(place, deps);
    try {
      refuseWal(place);
      await opened.lock.recover(signal);
      const found = await identify(place, opened.handle, state);
      const content = await coded(place.path, () =>
        readPageChecksums(opened.handle, found.position, signal),
      );
      const copy = new FollowedCopy(opened, place, found, content, deps);
      // In WAL mode, whoever writes need not change page 1. (In the mode of a followed copy they must.)
      if (found.isAtRest && !copy.isSound) throw changed(place, "its pages were changed");
      return copy;
    } catch (error) {
      await opened.close();
      throw error;
    }
  }

  get position(): CopyPosition {
    return this.#position;
  }

  /** Of every page as it is in the file, page 1 as the replica has it. Valid until the next transaction. */
  get checksums(): PageChecksums {
    return this.#checksums;
  }

  /** Whether a transaction failed on the way. */
  get isUncertain(): boolean {
    return this.#isUncertain;
  }

  /** Whether the file is what its state says. If not, a disk changed it, or somebody who does not keep to SQLite's rules. */
  get isSound(): boolean {
    const { pageCount, rollingChecksum } = this.#position;
    return this.#checksums.pageCount === pageCount && this.#checksums.rolling === rollingChecksum;
  }

  /** Lets readers in by the locks of a followed copy. Waits for those that are connected to a resting one. */
  async follow(signal: AbortSignal): Promise<void> {
    if (!this.#isAtRest) return;
    const changeCounter = nextChangeCounter(this.#position.changeCounter);
    const to = { ...this.#position, changeCounter };
    await this.#commit({ from: this.#position, to }, followedPage1(this.#page1, to), signal);
    this.#position = to;
    this.#isAtRest = false;
  }

  /** Changes the copy in one transaction. Durability point: when it resolves. @throws as `open`, and what the pages throw. */
  async update(update: CopyUpdate, signal: AbortSignal): Promise<void> {
    const { checksums, pgnos, page1 = this.#page1, pages, ...rest } = update;
    const to: CopyPosition = {
      ...rest,
      header: copyHeader(page1),
      changeCounter: nextChangeCounter(this.#position.changeCounter),
    };
    const first = followedPage1(page1, to);
    await this.#commit({ from: this.#position, to }, first, signal, { pgnos, pages: pages() });
    this.#checksums = checksums();
    this.#position = to;
    this.#page1 = new Uint8Array(page1);
    this.#isAtRest = false;
  }

  /** Gives the copy the replica's own page 1 back. */
  async rest(signal: AbortSignal): Promise<void> {
    if (this.#isAtRest) return;
    await this.#commit({ from: this.#position, to: undefined }, this.#page1, signal);
    this.#isAtRest = true;
  }

  /** Lets go of the file as it is. */
  async close(): Promise<void> {
    this.#lock.close();
    await this.#handle.close();
  }

  async #commit(
    state: CopyState,
    page1: Uint8Array,
    signal: AbortSignal,
    others?: { readonly pgnos: Uint32Array; readonly pages: AsyncIterable<CopyPage> },
  ): Promise<void> {
    const { path } = this.#place;
    const { at } = this.#deps;
    const to = state.to ?? state.from;
    const change: CopyChange = {
      pageSizeBefore: this.#checksums.pageSize,
      pageCountBefore: this.#checksums.pageCount,
      pageSize: to.pageSize,
      pageCount: to.pageCount,
      pgnos: withPgno1(others?.pgnos),
      pages: withPage1(page1, others?.pages),
    };
    await coded(path, async () => {
      await writeCopyState(this.#place.state, state);
      at("state-written");
      await prepareJournal(this.#place, this.#handle, change, randomInt(2 ** 32));
      at("journal-written");
    });
    const release = await this.#lock.take(this.#isAtRest, signal);
    this.#isUncertain = true;
    try {
      // Under the lock nobody can write any more: what was written before shows now.
      refuseWal(this.#place);
      const found = await identify(this.#place, this.#handle, { from: state.from, to: undefined });
      if (found.isAtRest !== this.#isAtRest) throw changed(this.#place, "its header was changed");
      await coded(path, () => commitChange(this.#place, this.#handle, change, at));
    } finally {
      release();
    }
    this.#isUncertain = false;
  }
}

interface OpenCopy {
  readonly handle: FileHandle;
  readonly lock: CopyLock;
  close(): Promise<void>;
}

async function openCopy(place: CopyPlace, deps: CopyLockDeps): Promise<OpenCopy> {
  const handle = await coded(place.path, () => open(place.path, "r+"));
  try {
    const lock = new CopyLock(place.path, deps);
    const close = async (): Promise<void> => {
      lock.close();
      await handle.close();
    };
    return { handle, lock, close };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function identify(
  place: CopyPlace,
  handle: FileHandle,
  state: CopyState,
): Promise<IdentifiedCopy> {
  const header = new Uint8Array(databaseHeaderBytes);
  const { size, dev, ino } = await handle.stat({ bigint: true });
  if (databaseFileIdentity(place.path) !== `${dev}:${ino}`) {
    throw changed(place, "another file lies there now, or none");
  }
  if (size >= header.length) await readWhole(handle, header, 0);
  const found = identifyCopy(header, state);
  if (found === undefined) throw changed(place, "its header is not what was left there");
  return found;
}

/** A WAL has frames that the file lacks: somebody wrote. An empty one is what a reader of a resting copy may leave. */
function refuseWal(place: CopyPlace): void {
  const wal = statSync(`${place.path}-wal`, { throwIfNoEntry: false });
  if (wal !== undefined && wal.size > 0) throw changed(place, "there is a WAL beside it");
}

function changed(place: CopyPlace, how: string): ReplicationError {
  return new ReplicationError(
    "COPY_CHANGED",
    `${place.path} was not left like this by whoever follows into it: ${how}`,
    "Nothing may write into a followed copy. Move it away, choose another file, or have it overwritten.",
  );
}

function followedPage1(page1: Uint8Array, to: CopyPosition): Uint8Array {
  return withHeader(page1, toFollowedHeader(page1, to.pageCount, to.changeCounter));
}

function withPgno1(others: Uint32Array | undefined): Uint32Array {
  if (others?.[0] === 1) return others;
  const all = new Uint32Array(1 + (others?.length ?? 0));
  all[0] = 1;
  if (others !== undefined) all.set(others, 1);
  return all;
}

async function* withPage1(
  page1: Uint8Array,
  others: AsyncIterable<CopyPage> | undefined,
): AsyncGenerator<CopyPage, void, undefined> {
  yield { pgno: 1, data: page1 };
  for await (const page of others ?? []) if (page.pgno !== 1) yield page;
}
