import type { RequestOptions } from "@vaultwarden-stream/object-store";
import type { ReplicaRoot } from "./replica.ts";
import { ReplicaError } from "./replica-error.ts";

/**
 * Runs `read`, and says so if what it takes for nothing is a replica that Litestream before v0.5 wrote. "Nothing there" lets an
 * application start empty; a replica that we cannot read must not.
 *
 * @throws {ReplicaError} `REPLICA_UNSUPPORTED` instead of `NOTHING_TO_RESTORE`; everything else as `read` does.
 */
export async function orSayOlder<T>(
  root: ReplicaRoot,
  options: RequestOptions,
  read: () => Promise<T>,
): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const isNothing = error instanceof ReplicaError && error.code === "NOTHING_TO_RESTORE";
    throw (isNothing ? await olderReplica(root, options, error) : undefined) ?? error;
  }
}

async function olderReplica(
  { store, prefix }: ReplicaRoot,
  options: RequestOptions,
  cause: ReplicaError,
): Promise<ReplicaError | undefined> {
  for await (const [first] of store.list(`${prefix}generations/`, options)) {
    const reason = `${store.properties.location} is a replica that Litestream before v0.5 wrote, in generations`;
    const hint = "Restore it with Litestream v0.3: this version reads v0.5 replicas.";
    return new ReplicaError("REPLICA_UNSUPPORTED", reason, { key: first?.key, hint, cause });
  }
  return undefined;
}
