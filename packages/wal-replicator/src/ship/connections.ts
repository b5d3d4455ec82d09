import { ReplicationError } from "../errors.ts";
import { type DatabaseClass, openConnection, type SqliteConnection } from "../sqlite/connection.ts";
import { type DatabaseFile, openDatabaseFile } from "../sqlite/database-file.ts";
import { Anchor } from "./anchor.ts";

/** The four connections of one session, and the descriptor beside them. All on one file; closing the last one ends our hold on it. */
export interface Connections {
  readonly database: DatabaseFile;
  readonly walPath: string;
  readonly pageSize: number;
  readonly anchor: Anchor;
  /** Looks and checkpoints; holds no transaction of its own. */
  readonly control: SqliteConnection;
  /** Takes the write lock for a barrier. */
  readonly barrier: SqliteConnection;
  /** One more, for a read that lasts; its owner closes it. */
  openReader(): SqliteConnection;
  close(): void;
}

/** How long a start waits for somebody's exclusive lock, for example a WAL recovery. */
const startBusyTimeoutMs = 5_000;
/** How long a barrier asks for the write lock: beyond it the application is too busy, and we try later. */
const barrierBusyTimeoutMs = 50;

/** Opens the database and holds the anchor. @throws {ReplicationError} `DATABASE_LOCKED`, `DATABASE_NOT_WAL` */
export function openConnections(path: string, Database: DatabaseClass | undefined): Connections {
  const opened: SqliteConnection[] = [];
  const openOne = (busyTimeoutMs: number): SqliteConnection => {
    const connection = openConnection(path, {
      busyTimeoutMs,
      ...(Database === undefined ? {} : { Database }),
    });
    opened.push(connection);
    return connection;
  };
  const close = (): void => {
    for (const connection of opened) connection.close();
  };
  try {
    const database = openDatabaseFile(path);
    const first = openOne(startBusyTimeoutMs);
    const second = openOne(startBusyTimeoutMs);
    const control = openOne(startBusyTimeoutMs);
    const barrier = openOne(barrierBusyTimeoutMs);
    const anchor = new Anchor(first, second);
    anchor.hold();
    if (first.journalMode() !== "wal") throw notWal(path);
    return {
      database,
      walPath: `${path}-wal`,
      pageSize: first.pageSize(),
      anchor,
      control,
      barrier,
      openReader: () => openOne(startBusyTimeoutMs),
      close: () => {
        anchor.letGo();
        close();
      },
    };
  } catch (error) {
    close();
    if ((error as { code?: string }).code?.startsWith("SQLITE_BUSY") === true) {
      // biome-ignore lint/style/useErrorCause: the cause is in the details.
      throw new ReplicationError(
        "DATABASE_LOCKED",
        `${path} is locked by another process`,
        "End the exclusive lock: an application with locking_mode=EXCLUSIVE cannot be streamed.",
        { cause: error },
      );
    }
    throw error;
  }
}

export function notWal(path: string): ReplicationError {
  return new ReplicationError(
    "DATABASE_NOT_WAL",
    `${path} is not in WAL mode`,
    "Run `PRAGMA journal_mode=WAL` once in the application, or ask for the conversion (--convert-to-wal).",
  );
}
