import { startHelper } from "./helper/helper-client.ts";
import type { ReplicateOptions, Replication } from "./replication.ts";
import { startReplicator } from "./replicator.ts";

/**
 * Streams a database to its replica until `stop()`. Resolves when the anchor is held: no commit made after that is missed.
 *
 * By default the engine runs in a helper process, since locks on a database belong to the process and not to the copy of SQLite
 * in it. It is started again when it dies, and outlives a host that dies only as long as the last commits need.
 *
 * @throws {ReplicationError} if the stream cannot start; errors of the store pass unwrapped.
 */
export function replicate(options: ReplicateOptions): Promise<Replication> {
  return options.home === "in-process" ? startReplicator(options) : startHelper(options);
}
