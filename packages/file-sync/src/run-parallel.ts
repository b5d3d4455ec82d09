import { runBounded } from "./bounded.ts";

/** As `runBounded`, and the first failure aborts what the other tasks wait for. */
export async function runParallel<T>(
  items: Iterable<T>,
  parallel: number,
  signal: AbortSignal | undefined,
  task: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failed = new AbortController();
  const either = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]);
  await runBounded(items, { countMax: parallel }, async (item) => {
    either.throwIfAborted();
    try {
      await task(item, either);
    } catch (error) {
      failed.abort(error);
      throw error;
    }
  });
}
