import { ObjectStoreError } from "./errors.ts";
import { checkKey } from "./object-key.ts";
import type { ObjectStore, RequestOptions } from "./object-store.ts";

const deletesAtOnce = 8;

/**
 * What every `deleteAll` has in common: it checks the keys before it begins, and says of a failure which of them are left.
 *
 * @param work - takes out of `left` what is gone. Its failure ends all.
 */
export async function deletingAll(
  keys: readonly string[],
  options: RequestOptions,
  work: (left: Set<string>) => Promise<void>,
): Promise<void> {
  options.signal?.throwIfAborted();
  const left = new Set(keys);
  const count = left.size;
  try {
    for (const key of left) checkKey("delete", key);
    await work(left);
  } catch (error) {
    if (!(error instanceof ObjectStoreError)) throw error;
    throw leaving(left, count, error);
  }
}

function leaving(
  left: ReadonlySet<string>,
  count: number,
  cause: ObjectStoreError,
): ObjectStoreError {
  const { code, key, hint, retryAfterMs, message } = cause;
  return new ObjectStoreError(code, `${left.size} of ${count} objects are left: ${message}`, {
    operation: "deleteAll",
    key,
    ...(hint === undefined ? {} : { hint }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    leftKeys: [...left],
    cause,
  });
}

/**
 * Deletes by a request for each key, in order and a few at once, and takes out of `left` what is gone. After the first failure no further
 * request begins, and those under way are waited for.
 *
 * @throws the first failure.
 */
export async function deleteOneByOne(
  store: Pick<ObjectStore, "delete">,
  keys: Iterable<string>,
  left: Set<string>,
  options: RequestOptions,
): Promise<void> {
  const queue = [...keys].values();
  const failures: unknown[] = [];
  const work = async (): Promise<void> => {
    for (const key of queue) {
      if (failures.length > 0) return;
      try {
        await store.delete(key, options);
        left.delete(key);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: deletesAtOnce }, work));
  if (failures.length > 0) throw failures[0];
}
