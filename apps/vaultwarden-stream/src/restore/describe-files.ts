import { manifestKey } from "@vaultwarden-stream/file-sync";
import { formatCount } from "wal-replicator/command-line";
import type { LogFields } from "../logger.ts";
import type { RestoredFiles } from "./restore-vault.ts";

/** Who is told: the output of a command, or the daemon's log. */
export interface Warner {
  warn(message: string, fields?: LogFields): void;
}

/** So many are named in words; `--json` names all. */
const namedMax = 20;

/** `12 of 12 files`: of those that the database's rows name, how many are there as they should be. */
export function describeFiles(files: RestoredFiles): string {
  const { size } = files.rows;
  return `${size - lacking(files).length} of ${formatCount(size, "file")}`;
}

export function warnOfFiles(files: RestoredFiles, to: Warner): void {
  const { manifest, missing, fromOthers, pulled } = files;
  if (manifest === undefined) to.warn("no files of the vault were stored by then");
  if (fromOthers.length > 0) {
    to.warn(
      `${formatCount(fromOthers.length, "file")} that the database names are not in that moment's manifest: taken from a neighbouring one`,
    );
  }
  for (const path of missing.slice(0, namedMax)) {
    to.warn(`${path} was never stored, and the database names it`, { path });
  }
  if (missing.length > namedMax) to.warn(`… and ${missing.length - namedMax} more`);
  for (const { path, why } of pulled.bad.slice(0, namedMax)) {
    to.warn(`${path} cannot be restored: ${why}`, { path });
  }
  if (pulled.bad.length > namedMax) to.warn(`… and ${pulled.bad.length - namedMax} more`);
}

export function filesJson(files: RestoredFiles): Readonly<Record<string, unknown>> {
  const { manifest, rows, missing, fromOthers, entries, pulled, aside } = files;
  return {
    manifest: manifest === undefined ? null : manifestKey(manifest),
    manifestTime: manifest?.time ?? null,
    expected: rows.size,
    present: rows.size - lacking(files).length,
    missing,
    fromOthers,
    bad: pulled.bad,
    restored: entries.filter(({ kind }) => kind === "file").length - pulled.bad.length,
    fetchedBytes: pulled.fetchedBytes,
    aside,
  };
}

/** Files of rows that are not there, or not as they should be. */
function lacking({ rows, missing, pulled }: RestoredFiles): string[] {
  return [...missing, ...pulled.bad.map(({ path }) => path).filter((path) => rows.has(path))];
}
