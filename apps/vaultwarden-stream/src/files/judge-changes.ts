import type { Change, Verdict } from "@vaultwarden-stream/file-sync";
import { rootNames } from "./vault-roots.ts";
import type { VaultRows } from "./vault-rows.ts";

export interface Evidence {
  readonly rows: VaultRows;
  /** The directory of `config.json` holds the vault's key or database: that it lacks `config.json` says something. */
  readonly isConfigDirectoryAlive: boolean;
  /** A file has had this size for so long that nobody writes to it any more: its upload was cut short, and the server leaves it so. */
  readonly isAbandoned: (path: string, size: number) => boolean;
  /** Somebody has said that the signing key may be another one from now on. */
  readonly acceptsNewKey: boolean;
}

/**
 * What the vault's rows say of each change to its files (vaultwarden.md 5). They decide, never a file count: the last attachment may be deleted,
 * and a directory that was wiped may not take a single stored file with it.
 *
 * @returns one verdict a change, in the same order.
 */
export function judgeChanges(changes: readonly Change[], evidence: Evidence): Verdict[] {
  return changes.map((change) => judge(change, evidence));
}

function judge(change: Change, evidence: Evidence): Verdict {
  const [root = ""] = change.path.split("/", 1);
  if (root === rootNames.attachments || root === rootNames.sends) {
    return judgeByRow(change, evidence);
  }
  if (root.startsWith("rsa_key.")) return judgeKey(change, evidence);
  if (root === rootNames.configFile && change.kind === "removed") {
    // The admin page deletes it: that is real, and must reach the store.
    return evidence.isConfigDirectoryAlive
      ? "complete"
      : { keep: "its directory does not look like the vault's" };
  }
  // The server makes it again.
  if (root === rootNames.iconCache && change.kind === "removed") return "complete";
  return "unknown";
}

function judgeByRow(change: Change, { rows, isAbandoned }: Evidence): Verdict {
  const size = rows.get(change.path);
  if (change.kind === "removed") {
    if (size !== undefined) return { keep: "a row of the database still names it" };
    return hasRowBelow(change.path, rows)
      ? { keep: "rows of the database still name files in it" }
      : "complete";
  }
  // A row may come after its file (legacy Sends), and directories have none.
  if (size === undefined || change.size === undefined) return "unknown";
  if (change.size === size) return "complete";
  const reason = `it has ${change.size} bytes, and its row says ${size}`;
  // Not to be waited for: a vault would look ill for ever because somebody broke off an upload.
  return isAbandoned(change.path, change.size) ? { keep: reason } : { wait: reason };
}

function hasRowBelow(directory: string, rows: VaultRows): boolean {
  const prefix = `${directory}/`;
  for (const path of rows.keys()) if (path.startsWith(prefix)) return true;
  return false;
}

function judgeKey({ kind }: Change, { acceptsNewKey }: Evidence): Verdict {
  if (kind === "added") return "complete";
  if (kind === "changed" && acceptsNewKey) return "complete";
  return {
    keep:
      kind === "removed"
        ? "without it every login ends: the stored one is kept, and the vault gets it back at its next start"
        : "it is another key than the stored one, which is kept: with the new one every login ends. If it is meant, set SYNC_ACCEPT_NEW_KEY=true for one start",
  };
}
