/**
 * Variables of the contract whose part does not exist yet. Setting one is refused by name: somebody who sets it counts on what it
 * does, and a vault that only seems to be backed up, mailed about or encrypted is worse than one that does not start.
 */
export interface LaterVariable {
  readonly names: readonly string[];
  /** What comes later, as the subject of "… with a later release". */
  readonly part: string;
  /** What to do today. */
  readonly remedy: string;
  /** Values that ask for nothing, so they pass: a part that is switched off. */
  readonly harmless?: readonly string[];
  /** Without this variable being set to something that asks for the part, the others only get a warning. */
  readonly switch?: string;
}

const off = ["false", "0", "no", "off"];

export const laterVariables: readonly LaterVariable[] = [
  {
    names: ["PRIMARY_SYNC_INTERVAL", "SYNC_SHUTDOWN_TIMEOUT", "FINAL_UPLOAD_TIMEOUT"],
    part: "storing attachments, sends and keys comes",
    remedy: "remove it, and keep those files safe yourself until then",
  },
  {
    names: [
      "SYNC_INCLUDE_ATTACHMENTS",
      "SYNC_INCLUDE_SENDS",
      "SYNC_INCLUDE_CONFIG",
      "SYNC_INCLUDE_ICON_CACHE",
    ],
    part: "storing attachments, sends and keys comes",
    remedy: "remove it, and keep those files safe yourself until then",
    harmless: off,
  },
  {
    names: ["SECONDARY_SYNC_INTERVAL"],
    part: "a standby comes",
    remedy: "remove it",
    switch: "NODE_ROLE",
  },
  {
    names: [
      "HEALTHCHECK_MAX_SYNC_AGE",
      "HEALTHCHECK_SYNC_MAX_AGE",
      "STATUS_LISTEN",
      "STATUS_TOKEN",
    ],
    part: "the health check comes",
    remedy: "remove it, and use `vaultwarden-stream status` until then",
  },
  {
    names: [
      "REPLICATION_SNAPSHOT_INTERVAL",
      "LITESTREAM_SNAPSHOT_INTERVAL",
      "REPLICATION_RETENTION",
      "LITESTREAM_RETENTION",
    ],
    part: "compaction and retention come",
    remedy: "remove it: until then nothing that was stored is ever deleted",
  },
  {
    names: ["RESTORE_DRILL_INTERVAL", "LITESTREAM_VALIDATION_INTERVAL"],
    part: "restore drills come",
    remedy:
      "remove it, or set it to 0, and try `vaultwarden-stream restore --to <directory>` yourself until then",
    harmless: ["0", "0s"],
  },
  {
    names: ["LITESTREAM_REPLICA_PATH"],
    part: "the import of the predecessor's bucket comes",
    remedy: "remove it",
  },
  {
    names: [
      "BACKUP_ENABLED",
      ..."INTERVAL CRON ON_STARTUP FORMAT PASSWORD REMOTES EXTRA_REMOTES RETENTION_DAYS MIN_KEEP INCLUDE_ATTACHMENTS INCLUDE_SENDS INCLUDE_CONFIG INCLUDE_ICON_CACHE SHUTDOWN_TIMEOUT"
        .split(" ")
        .map((field) => `BACKUP_${field}`),
      "RCLONE_REMOTE_NAME",
      "RCLONE_FLAGS",
    ],
    part: "backup archives come",
    remedy: "remove it, or set BACKUP_ENABLED=false",
    harmless: off,
    switch: "BACKUP_ENABLED",
  },
  {
    names: ["NOTIFICATION_URL", "NOTIFICATION_EVENTS", "NOTIFICATION_TIMEOUT"],
    part: "notifications come",
    remedy: "remove it",
    switch: "NOTIFICATION_URL",
  },
  {
    names: ["ENCRYPTION_RECIPIENTS", "ENCRYPTION_IDENTITY"],
    part: "encryption comes",
    remedy: "remove it: what is stored would NOT be encrypted",
  },
];

/** Names that begin like this are ours: an unknown one is a typo. `ENCRYPTION_` is told apart by the reader. */
export const ourPrefixes: readonly string[] = [
  "S3_",
  "SYNC_",
  "BACKUP_",
  "REPLICATION_",
  "LITESTREAM_",
  "NOTIFICATION_",
  "HEALTHCHECK_",
  "STREAM_",
  "STORE_",
];
