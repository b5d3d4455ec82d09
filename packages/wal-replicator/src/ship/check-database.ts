import { statfsSync, statSync } from "node:fs";
import { FormatError, ReplicationError } from "../errors.ts";
import { openDatabaseFile } from "../sqlite/database-file.ts";
import { databaseHeaderBytes, decodeDatabaseHeader } from "../sqlite/database-header.ts";

/**
 * What must hold before a database can be streamed, checked before SQLite opens it (architecture.md, D13).
 * Reads the header through the descriptor that stays open: the host may already have connections to the database (POSIX locks).
 */
export function checkDatabase(path: string): "wal" | "rollback" {
  if (process.platform !== "linux") {
    throw new ReplicationError(
      "PLATFORM_UNSUPPORTED",
      `streaming a database needs Linux, and this is ${process.platform}`,
      "Run the replicator on Linux; restoring works here.",
    );
  }
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) {
    throw new ReplicationError(
      "DATABASE_MISSING",
      `there is no database at ${path}`,
      "Check the path, or let the application create it first: the replicator never creates a database.",
    );
  }
  if (!stats.isFile()) {
    throw new FormatError("DATABASE_BAD_HEADER", `${path} is not a file`);
  }
  const network = networkFileSystemOf(path);
  if (network !== undefined) {
    throw new ReplicationError(
      "DATABASE_ON_NETWORK",
      `${path} lies on ${network}, where the locks and the shared memory of a WAL do not work`,
      "Move the database to a local disk; SQLite itself warns of WAL on network file systems.",
    );
  }
  const head = new Uint8Array(databaseHeaderBytes);
  const count = openDatabaseFile(path).read(head, 0);
  // An empty file is an empty database that no connection has given a journal mode yet.
  if (count === 0) return "rollback";
  return decodeDatabaseHeader(head.subarray(0, count)).journalMode;
}

/** @returns what the file or directory lies on, if it is a network file system: a database cannot be streamed there. */
export function networkFileSystemOf(path: string): string | undefined {
  return networkFileSystems.get(statfsSync(path).type);
}

/** `statfs(2)` magic numbers. */
const networkFileSystems: ReadonlyMap<number, string> = new Map([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xff534d42, "CIFS"],
  [0xfe534d42, "SMB2"],
  [0x01021997, "9p"],
]);
