import type { ObjectStore } from "@vaultwarden-stream/object-store";
import { listReplica } from "wal-replicator";
import type { Config } from "../config/config.ts";
import type { ServerSettings } from "../config/server-settings.ts";
import { describeFileEvent } from "../files/file-event-line.ts";
import type { StreamPlaceTracker } from "../files/stream-place.ts";
import { VaultFiles, type VaultFilesOptions } from "../files/vault-files.ts";
import { neverSynchronised, vaultRoots } from "../files/vault-roots.ts";
import type { Logger } from "../logger.ts";
import { logPruned } from "./life-lines.ts";
import { stateDirectory } from "./status-file.ts";
import { retrying, timelinesUnder } from "./vault-store.ts";

/** The files of the vault that the configuration and the server's settings describe. */
export function openVaultFiles(options: {
  readonly config: Config;
  readonly settings: ServerSettings;
  /** Each request is tried once. */
  readonly store: ObjectStore;
  readonly place: StreamPlaceTracker;
  readonly onLook: VaultFilesOptions["onLook"];
  readonly log: Logger;
}): VaultFiles {
  const { config, settings, store, place, onLook, log } = options;
  const { database, paths } = settings;
  return new VaultFiles({
    roots: vaultRoots(paths, config.files.include),
    exclude: neverSynchronised(paths, database),
    store: retrying(store),
    listReplica: (signal) => listReplica({ replica: config.store, timelinesUnder, signal }),
    database,
    stateDirectory: stateDirectory(database),
    lookIntervalMs: config.files.lookIntervalMs,
    retentionMs: config.retentionMs,
    acceptsNewKey: config.files.acceptsNewKey,
    place,
    onEvent: (event) => {
      const { level, message, fields } = describeFileEvent(event);
      log[level](message, fields);
    },
    onPruned: (result) => logPruned(result, log),
    onLook,
  });
}
