import { open, unlink } from "node:fs/promises";

/** So long one look at the file system's clock is good for: two clocks drift apart by far less than a millisecond in that time. */
const trustMs = 60_000;
/** The wall clock was set, or the machine slept, when the two clocks disagree by more. */
const jumpMs = 1_000;

interface Reading {
  readonly fileSystemMs: number;
  readonly wallMs: number;
  readonly monotonicMs: number;
}

/**
 * The clock that the times of files come from. On a network file system it is the server's, and the same for all machines: the age of
 * a lease is the difference of two of its times. This machine's clock, which may be minutes off, has no part in it.
 *
 * A file system tells its time only by stamping something: a hidden file, made and removed at once. Where none can be made (a disk
 * mounted for reading), this machine's clock has to do.
 */
export class DirectoryClock {
  #reading: Promise<Reading | undefined> | undefined;
  #readMs = Number.NEGATIVE_INFINITY;

  /** @param hiddenPath - makes a name for a file that nobody has, where the first one may be made. */
  async now(hiddenPath: () => string): Promise<Date> {
    let reading = await this.#reading;
    if (!isGood(reading)) {
      // A failure is remembered as long as a success: each read of a disk mounted for reading would else try to write.
      if (reading !== undefined || performance.now() - this.#readMs > trustMs) {
        this.#readMs = performance.now();
        this.#reading = stamp(hiddenPath());
      }
      reading = await this.#reading;
    }
    if (reading === undefined) return new Date();
    return new Date(reading.fileSystemMs + performance.now() - reading.monotonicMs);
  }
}

function isGood(reading: Reading | undefined): boolean {
  if (reading === undefined) return false;
  const elapsedMs = performance.now() - reading.monotonicMs;
  const wallElapsedMs = Date.now() - reading.wallMs;
  return elapsedMs < trustMs && Math.abs(wallElapsedMs - elapsedMs) < jumpMs;
}

async function stamp(path: string): Promise<Reading | undefined> {
  try {
    await using file = await open(path, "wx");
    try {
      const { ctimeMs } = await file.stat();
      return { fileSystemMs: ctimeMs, wallMs: Date.now(), monotonicMs: performance.now() };
    } finally {
      await unlink(path);
    }
  } catch {
    return undefined; // read-only, or without space: there is no better clock than ours
  }
}
