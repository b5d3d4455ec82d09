/** What may be under way at once. */
export interface Bounds<T> {
  /** From 1. */
  readonly countMax: number;
  /** Of all that is under way; something larger goes alone. */
  readonly bytesMax?: number;
  readonly bytesOf?: (item: T) => number;
}

/**
 * Runs a task for each item, begun in their order.
 *
 * @throws the first failure: no task is begun after it, and all that were are waited for.
 */
export async function runBounded<T>(
  items: Iterable<T>,
  { countMax, bytesMax = Number.POSITIVE_INFINITY, bytesOf = () => 0 }: Bounds<T>,
  task: (item: T) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  let runningBytes = 0;
  let failure: { readonly error: unknown } | undefined;
  for (const item of items) {
    const bytes = bytesOf(item);
    while (running.size > 0 && (running.size >= countMax || runningBytes + bytes > bytesMax)) {
      await Promise.race(running);
    }
    if (failure !== undefined) break;
    runningBytes += bytes;
    const run = task(item)
      .catch((error: unknown) => {
        failure ??= { error };
      })
      .finally(() => {
        runningBytes -= bytes;
        running.delete(run);
      });
    running.add(run);
  }
  await Promise.all(running);
  if (failure !== undefined) throw failure.error;
}
