import type { Environment } from "../config/environment.ts";

/** Everything that begins like this is ours, with our secrets among it: none of the server's business. */
const ownPrefixes = [
  "S3_",
  "REPLICATION_",
  "LITESTREAM_",
  "RCLONE_",
  "SYNC_",
  "BACKUP_",
  "NOTIFICATION_",
  "ENCRYPTION_",
  "STATUS_",
  "STORE_",
  "STREAM_",
  "HEALTHCHECK_",
  "RESTORE_DRILL_",
  "TAILSCALE_",
];
const ownNames = new Set(
  [
    "PRIMARY_SYNC_INTERVAL",
    "SECONDARY_SYNC_INTERVAL",
    "FINAL_UPLOAD_TIMEOUT",
    "NODE_ROLE",
    "DEPLOYMENT_MODE",
    "ON_DIVERGENCE",
    "ALLOW_EMPTY_START",
  ].flatMap((name) => [name, `${name}_FILE`]),
);

/**
 * What the server gets: our environment without what is ours, and with automatic checkpoints switched off, so that we are the
 * only checkpointer. All else passes unchanged, known or not.
 *
 * @param databaseConnInit - the statements that the server would run by itself on each connection.
 */
export function childEnvironment(
  environment: Environment,
  databaseConnInit: string,
): Record<string, string> {
  const child: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment)) {
    if (value === undefined || ownNames.has(name)) continue;
    if (ownPrefixes.some((prefix) => name.startsWith(prefix))) continue;
    child[name] = value;
  }
  // Its content is in `databaseConnInit`, and the server refuses to start with both.
  delete child["DATABASE_CONN_INIT_FILE"];
  child["DATABASE_CONN_INIT"] = childConnInit(databaseConnInit);
  return child;
}

/** The server's own statements, and ours on a line of their own: the newline ends a comment that the text may end in. */
export function childConnInit(databaseConnInit: string): string {
  return `${databaseConnInit}\n;PRAGMA wal_autocheckpoint = 0;`;
}
