import { invariant } from "../errors.ts";
import type { SqliteConnection } from "../sqlite/connection.ts";

/**
 * The read transaction that holds the WAL, and its rotation (wal-capture.md 3).
 *
 * Invariant: from `hold` to `letGo`, at every moment one connection holds a read transaction whose snapshot has been captured
 * completely. While it holds a read mark of 1 or more, the WAL cannot restart. If it got mark 0, everything up to its snapshot
 * is in the database file and was captured; a writer may restart the WAL right there, but no checkpoint can write the database
 * file, so the new generation cannot itself be restarted before the next rotation. Hence at most one restart lies between two
 * rotations, and it lies exactly at a captured boundary.
 */
export class Anchor {
  #holder: SqliteConnection;
  #successor: SqliteConnection;
  #held = false;

  constructor(first: SqliteConnection, second: SqliteConnection) {
    this.#holder = first;
    this.#successor = second;
  }

  /** Takes the first snapshot. What it covers must be captured before the application's commits count as safe. */
  hold(): void {
    invariant(!this.#held, "the anchor is held already");
    this.#holder.beginRead();
    this.#held = true;
  }

  /**
   * Moves the anchor forward: the successor begins, `capture` captures everything that it sees, and only then the holder ends.
   * If `capture` fails, the holder goes on holding.
   *
   * @param capture - gets the successor, whose transaction is open meanwhile.
   */
  async rotate<T>(capture: (successor: SqliteConnection) => Promise<T>): Promise<T> {
    invariant(this.#held, "only a held anchor rotates");
    this.#successor.beginRead();
    let result: T;
    try {
      result = await capture(this.#successor);
    } catch (error) {
      this.#successor.endTransaction();
      throw error;
    }
    this.#holder.endTransaction();
    [this.#holder, this.#successor] = [this.#successor, this.#holder];
    return result;
  }

  letGo(): void {
    if (!this.#held) return;
    this.#holder.endTransaction();
    this.#held = false;
  }
}
