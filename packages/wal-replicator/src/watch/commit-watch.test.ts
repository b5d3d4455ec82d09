import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openConnection, type SqliteConnection } from "../sqlite/connection.ts";
import { type CommitPosition, CommitWatch } from "./commit-watch.ts";

/** Frame and page. */
const frameBytes = 4_096 + 24;

describe("CommitWatch", () => {
  let directory: string;
  let application: BetterSqlite3.Database;
  let connection: SqliteConnection;
  let captured: CommitPosition | undefined;
  let clockMs: number;
  let watch: CommitWatch;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "commit-watch-"));
    const path = join(directory, "db");
    application = new BetterSqlite3(path);
    application.pragma("journal_mode = WAL");
    application.pragma("wal_autocheckpoint = 0");
    application.exec("CREATE TABLE t (x)");
    connection = openConnection(path, { busyTimeoutMs: 0 });
    captured = undefined;
    clockMs = 1_000;
    watch = new CommitWatch({
      connection,
      walPath: `${path}-wal`,
      pageSize: 4_096,
      captured: () => captured,
      now: () => clockMs,
    });
    catchUp();
  });
  afterEach(() => {
    connection.close();
    application.close();
    rmSync(directory, { recursive: true, force: true });
  });

  function commit(): void {
    application.exec("INSERT INTO t VALUES (1)");
  }

  /** As a capture would that has taken everything. */
  function catchUp(): void {
    captured = watch.look().committed ?? captured;
  }

  /** Checkpoints everything, so that the next commit begins a new generation. */
  function restart(): void {
    application.pragma("wal_checkpoint(RESTART)");
    commit();
  }

  it("says nothing where everything is captured", () => {
    expect(watch.look()).toMatchObject({ bytes: 0, sinceMs: undefined });
  });

  it("sees a commit that the capture does not, since when, and how much", () => {
    clockMs = 2_000;
    commit();
    expect(watch.look()).toMatchObject({ bytes: frameBytes, sinceMs: 2_000 });
    clockMs = 3_000;
    commit();
    expect(watch.look()).toMatchObject({ bytes: 2 * frameBytes, sinceMs: 2_000 });
    catchUp();
    expect(watch.look()).toMatchObject({ bytes: 0, sinceMs: undefined });
  });

  it("counts from the oldest commit that is still not captured", () => {
    commit();
    watch.look();
    const { committed } = watch.look();
    clockMs = 2_000;
    commit();
    watch.look();
    // The first of the two, and not the second.
    captured = committed;
    clockMs = 3_000;
    expect(watch.look()).toMatchObject({ bytes: frameBytes, sinceMs: 2_000 });
  });

  it("sees what is committed in a new generation of the WAL, however short it is", () => {
    for (let index = 0; index < 20; index++) commit();
    catchUp();
    clockMs = 2_000;
    restart();
    expect(watch.look()).toMatchObject({ bytes: frameBytes, sinceMs: 2_000 });
    clockMs = 3_000;
    expect(watch.look()).toMatchObject({ bytes: frameBytes, sinceMs: 2_000 });
    catchUp();
    expect(watch.look().bytes).toBe(0);
  });

  it("forgets what was seen in a generation that was captured and left since", () => {
    commit();
    clockMs = 2_000;
    watch.look();
    restart();
    captured = watch.look().committed;
    restart();
    clockMs = 9_000;
    expect(watch.look()).toMatchObject({ bytes: frameBytes, sinceMs: 9_000 });
  });

  it("takes the frames of a WAL that is completely checkpointed for captured ones, and an empty one for nothing", () => {
    application.pragma("wal_checkpoint(RESTART)");
    expect(watch.look().bytes).toBe(0);
    application.pragma("wal_checkpoint(TRUNCATE)");
    expect(watch.look().bytes).toBe(0);
    captured = undefined;
    expect(watch.look().bytes).toBe(0);
  });

  it("never mixes the frames of one generation with the salt of another", () => {
    for (let index = 0; index < 20; index++) commit();
    catchUp();
    let isRestarted = false;
    const racing = new CommitWatch({
      connection: {
        checkpoint: (mode) => {
          const result = connection.checkpoint(mode);
          // Between the look at the wal-index and that at the header.
          if (!isRestarted) restart();
          isRestarted = true;
          return result;
        },
      },
      walPath: join(directory, "db-wal"),
      pageSize: 4_096,
      captured: () => captured,
      now: () => clockMs,
    });
    expect(racing.look()).toMatchObject({ bytes: frameBytes });
  });

  it("throws where it cannot look, instead of taking it for nothing", () => {
    connection.close();
    expect(() => watch.look()).toThrow();
  });

  it("holds no lock between two looks, nor keeps anybody from a checkpoint", () => {
    commit();
    watch.look();
    expect(application.pragma("wal_checkpoint(TRUNCATE)")).toEqual([
      { busy: 0, log: 0, checkpointed: 0 },
    ]);
  });
});
