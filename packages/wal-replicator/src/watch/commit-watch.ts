import type { SqliteConnection } from "../sqlite/connection.ts";
import { WalFile } from "../sqlite/database-file.ts";
import { formatSalt, type Salt, saltsEqual } from "../sqlite/salt.ts";
import { walFrameBytes } from "../sqlite/wal-frame.ts";
import { readWalHeader } from "../sqlite/wal-header.ts";

export interface CommitWatchDeps {
  /** One of its own, which never holds a transaction. */
  readonly connection: Pick<SqliteConnection, "checkpoint">;
  readonly walPath: string;
  /** In bytes. */
  readonly pageSize: number;
  /** Behind the last captured frame; undefined: no frame of the present WAL is captured. */
  readonly captured: () => CommitPosition | undefined;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
}

/** A place in the WAL: the generation, and the frames of it. */
export interface CommitPosition {
  readonly salt: Salt;
  readonly frameCount: number;
}

/** What is committed and not captured. */
export interface Uncaptured {
  /** Frames of the WAL, in bytes. */
  readonly bytes: number;
  /** When the oldest of them was first seen, to one look, in milliseconds since the Unix epoch; undefined: everything is captured. */
  readonly sinceMs: number | undefined;
  /** Of the last look. */
  readonly committed: CommitPosition | undefined;
}

/** A commit that was seen before it was captured. */
interface Sighting extends CommitPosition {
  readonly atMs: number;
  /** The generation that was captured then, as text; undefined: none. */
  readonly capturedSalt: string | undefined;
}

/** How often a WAL is looked at again that was restarted in this moment. */
const attemptsMax = 3;

/**
 * Compares what the application has committed with what is captured, by a read of its own: the wal-index says how many frames are committed
 * (`wal_checkpoint(NOOP)`, which takes no lock), the WAL's header of which generation they are. Nothing of the capture is asked but how far
 * it believes to be, so a capture that hangs, or takes a commit for none, is seen.
 */
export class CommitWatch {
  readonly #deps: CommitWatchDeps;
  #sightings: Sighting[] = [];

  constructor(deps: CommitWatchDeps) {
    this.#deps = deps;
  }

  /** @throws what SQLite or the file system say: then nothing is known. */
  look(): Uncaptured {
    const { captured: position, now, pageSize } = this.#deps;
    const committed = this.#committed();
    const captured = position();
    const isSame =
      committed !== undefined &&
      captured !== undefined &&
      saltsEqual(committed.salt, captured.salt);
    const frames = (committed?.frameCount ?? 0) - (isSame ? captured.frameCount : 0);
    if (committed === undefined || frames <= 0) {
      this.#sightings = [];
      return { bytes: 0, sinceMs: undefined, committed };
    }
    this.#sightings = this.#sightings.filter((sighting) => !isCovered(sighting, captured));
    const last = this.#sightings.at(-1);
    if (last === undefined || !isSamePlace(last, committed)) {
      const capturedSalt = captured && formatSalt(captured.salt);
      this.#sightings.push({ ...committed, atMs: now(), capturedSalt });
      // Under a capture that hangs for long: the oldest is what counts, and the newest.
      if (this.#sightings.length > sightingCountMax) this.#sightings.splice(1, 1);
    }
    const bytes = frames * walFrameBytes(pageSize);
    return { bytes, sinceMs: this.#sightings[0]?.atMs, committed };
  }

  /** @returns undefined if nothing is committed in the WAL, or it is being restarted right now. */
  #committed(): CommitPosition | undefined {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const before = this.#salt();
      const { logFrames } = this.#deps.connection.checkpoint("NOOP");
      const after = this.#salt();
      if (logFrames === 0) return undefined;
      // Between the two the WAL was not restarted, so the frames are of this generation.
      if (
        logFrames > 0 &&
        before !== undefined &&
        after !== undefined &&
        saltsEqual(before, after)
      ) {
        return { salt: before, frameCount: logFrames };
      }
    }
    return undefined;
  }

  #salt(): Salt | undefined {
    using wal = WalFile.open(this.#deps.walPath);
    const header = wal === undefined ? "torn" : readWalHeader(wal);
    return header === "torn" ? undefined : header.salt;
  }
}

const sightingCountMax = 64;

function isSamePlace(a: CommitPosition, b: CommitPosition): boolean {
  return a.frameCount === b.frameCount && saltsEqual(a.salt, b.salt);
}

/** Salts order nothing; but captures only go forward, and a WAL restarts only where it is captured. */
function isCovered(sighting: Sighting, captured: CommitPosition | undefined): boolean {
  // A comparison has found everything in the database file.
  if (captured === undefined) return sighting.capturedSalt !== undefined;
  if (saltsEqual(sighting.salt, captured.salt)) return captured.frameCount >= sighting.frameCount;
  // Neither the generation that was seen, nor the one that was captured then: a later one.
  return formatSalt(captured.salt) !== sighting.capturedSalt;
}
