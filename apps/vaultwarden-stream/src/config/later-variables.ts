/**
 * Variables of the contract whose part does not exist yet. Whoever asks for the part is refused by name: they count on what it does,
 * and a vault that only seems to be backed up, followed or encrypted is worse than one that does not start. Details of a part that nobody
 * asks for are only warned about, so that an environment of the predecessor with the part switched off starts.
 */
export interface LaterPart {
  /** What comes later, as the subject of "… with a later release". */
  readonly part: string;
  /** What to do today. */
  readonly remedy: string;
  /** Names that ask for the part. */
  readonly refused: readonly string[];
  /** Values of them that do not, so they pass. @param prefix - S3_PREFIX in force. */
  readonly asksForNothing?: (text: string, prefix: string) => boolean;
  /** Details, and names that had no effect in the predecessor either. */
  readonly idle?: readonly string[];
}

const isOff = (text: string): boolean => /^(false|0|0s|no|off)$/i.test(text);

export const laterParts: readonly LaterPart[] = [
  {
    part: "a standby comes",
    remedy: "remove it",
    // NODE_ROLE=secondary is refused by its own variable.
    refused: [],
    idle: ["SECONDARY_SYNC_INTERVAL"],
  },
  {
    part: "the import of the predecessor's bucket comes",
    remedy: "remove it",
    refused: ["LITESTREAM_REPLICA_PATH"],
    // Where it is looked for anyway, once there is an import.
    asksForNothing: (text, prefix) => text === [prefix, "db.sqlite3"].filter(Boolean).join("/"),
  },
  {
    part: "backup archives come",
    remedy: "remove it, or write BACKUP_ENABLED=false",
    refused: ["BACKUP_ENABLED"],
    asksForNothing: isOff,
    idle: "INTERVAL CRON ON_STARTUP FORMAT PASSWORD REMOTES EXTRA_REMOTES RETENTION_DAYS MIN_KEEP INCLUDE_ATTACHMENTS INCLUDE_SENDS INCLUDE_CONFIG INCLUDE_ICON_CACHE SHUTDOWN_TIMEOUT"
      .split(" ")
      .map((field) => `BACKUP_${field}`),
  },
  {
    part: "notifications come",
    remedy: "remove it",
    refused: ["NOTIFICATION_URL"],
    idle: ["NOTIFICATION_EVENTS", "NOTIFICATION_TIMEOUT"],
  },
  {
    part: "encryption comes",
    remedy: "remove it: what is stored would NOT be encrypted",
    refused: ["ENCRYPTION_RECIPIENTS", "ENCRYPTION_IDENTITY"],
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
  "RESTORE_DRILL_",
  "STATUS_",
  "STREAM_",
  "STORE_",
];
