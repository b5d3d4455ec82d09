import Database from "better-sqlite3";
import { rootNames } from "./vault-roots.ts";

/** Files that the database's rows name: path as manifests have it → size in bytes. What a vault must have, and the evidence for everything else. */
export type VaultRows = ReadonlyMap<string, number>;

/** How long a read waits for somebody's exclusive lock. */
const busyTimeoutMs = 5_000;
const sendOfFile = 1;
/** A cipher's or a send's UUID and a random hex name; nothing that leads elsewhere. */
const namePattern = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}$/;

/**
 * Reads which files a vault's database names (vaultwarden.md 5.4: `attachments.file_size`, and `size` in a file send's `data`). One short read.
 *
 * @throws errors of SQLite as they are: without an answer there is no evidence.
 */
export function readVaultRows(path: string): VaultRows {
  const database = new Database(path, {
    readonly: true,
    fileMustExist: true,
    timeout: busyTimeoutMs,
  });
  try {
    // One transaction: both tables as of one moment.
    return database.transaction(() => readRows(database))();
  } finally {
    database.close();
  }
}

function readRows(database: Database.Database): VaultRows {
  const rows = new Map<string, number>();
  const note = (root: string, directory: unknown, name: unknown, size: unknown): void => {
    if (!isName(directory) || !isName(name) || !isSize(size)) return;
    rows.set(`${root}/${directory}/${name}`, size);
  };
  // A vault that has not started yet has no tables.
  if (hasTable(database, "attachments")) {
    const select = database.prepare("SELECT cipher_uuid, id, file_size FROM attachments");
    for (const row of select.iterate() as Iterable<Record<string, unknown>>) {
      note(rootNames.attachments, row["cipher_uuid"], row["id"], row["file_size"]);
    }
  }
  if (hasTable(database, "sends")) {
    const select = database.prepare("SELECT uuid, data FROM sends WHERE atype = ?");
    for (const row of select.iterate(sendOfFile) as Iterable<Record<string, unknown>>) {
      const { id, size } = parseSend(row["data"]);
      // Old clients wrote the size as text.
      note(rootNames.sends, row["uuid"], id, typeof size === "string" ? Number(size) : size);
    }
  }
  return rows;
}

function hasTable(database: Database.Database, name: string): boolean {
  const select = database.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?");
  return select.get(name) !== undefined;
}

/** A row that the server itself could not read names no file. */
function parseSend(data: unknown): { id?: unknown; size?: unknown } {
  try {
    const parsed: unknown = JSON.parse(String(data));
    return typeof parsed === "object" && parsed !== null ? parsed : {};
  } catch {
    return {};
  }
}

function isName(value: unknown): value is string {
  return typeof value === "string" && namePattern.test(value);
}

function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
