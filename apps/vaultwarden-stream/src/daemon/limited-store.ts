import { openObjectStore } from "@vaultwarden-stream/object-store";
import { type LimitedStore, limitUploads } from "wal-replicator";
import { formatDuration } from "wal-replicator/command-line";
import type { Config } from "../config/config.ts";
import type { ServerSettings } from "../config/server-settings.ts";
import { vaultRoots } from "../files/vault-roots.ts";
import type { Logger } from "../logger.ts";
import { measureTrees, type TreeSizes } from "./tree-sizes.ts";
import { timelinesUnder } from "./vault-store.ts";

/**
 * The store as the daemon sends to it, database and files alike: counted, and held within the limits of the configuration. An hour's budget by default grows
 * with the files that lie here at the start, since a first upload of all of them is no runaway.
 */
export function openLimitedStore(options: {
  readonly config: Config;
  readonly settings: ServerSettings;
  readonly log: Logger;
  /** What is known of the files in the store. */
  readonly kept: () => TreeSizes | undefined;
  /** Uploads are stopped, or go on. */
  readonly onBudget: () => void;
}): LimitedStore {
  const { config, settings, log, kept, onBudget } = options;
  let here: TreeSizes = { files: 0, bytes: 0 };
  const paths = vaultRoots(settings.paths, config.files.include).map(({ path }) => path);
  void measureTrees(paths).then((sizes) => {
    here = sizes;
  });
  return limitUploads(openObjectStore(config.store), {
    limits: config.limits,
    database: settings.database,
    timelinesUnder,
    others: () => ({
      objects: Math.max(here.files, kept()?.files ?? 0),
      bytes: Math.max(here.bytes, kept()?.bytes ?? 0),
    }),
    onExceeded: ({ message, hint, retryAfterMs = 0 }) => {
      log.error(
        `${message}. The vault goes on; what it writes waits here, and is not safe from the loss of this machine for up to ${formatDuration(retryAfterMs)}. ${hint ?? ""} (STORE_HOURLY_BYTES_MAX, STORE_HOURLY_OBJECTS_MAX)`,
        { event: "budget-exceeded", retryAfterMs: Math.round(retryAfterMs) },
      );
      onBudget();
    },
    onRefilled: () => {
      log.info("uploads go on: an hour with a budget of its own has begun", {
        event: "budget-refilled",
      });
      onBudget();
    },
  });
}
