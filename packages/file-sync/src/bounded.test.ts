import { describe, expect, test } from "vitest";
import { runBounded } from "./bounded.ts";

/** Tasks that end when the test says so. */
function makeTasks() {
  const begun: number[] = [];
  const ends = new Map<number, PromiseWithResolvers<void>>();
  return {
    begun,
    task: (item: number): Promise<void> => {
      begun.push(item);
      const end = Promise.withResolvers<void>();
      ends.set(item, end);
      return end.promise;
    },
    end: async (item: number, error?: Error): Promise<void> => {
      if (error === undefined) ends.get(item)?.resolve();
      else ends.get(item)?.reject(error);
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

describe("bounded tasks", () => {
  test("begin in order, so many at once", async () => {
    const { begun, task, end } = makeTasks();
    const run = runBounded([1, 2, 3, 4], { countMax: 2 }, task);
    expect(begun).toEqual([1, 2]);
    await end(2);
    expect(begun).toEqual([1, 2, 3]);
    for (const item of [1, 3, 4]) await end(item);
    await run;
  });

  test("keep within the bytes, and something larger goes alone", async () => {
    const { begun, task, end } = makeTasks();
    const run = runBounded([5, 6, 100, 1], { countMax: 4, bytesMax: 10, bytesOf: Number }, task);
    expect(begun).toEqual([5]);
    await end(5);
    expect(begun).toEqual([5, 6]);
    await end(6);
    expect(begun).toEqual([5, 6, 100]);
    await end(100);
    expect(begun).toEqual([5, 6, 100, 1]);
    await end(1);
    await run;
  });

  test("after a failure none begins, those under way are waited for, and the first is thrown", async () => {
    const { begun, task, end } = makeTasks();
    let isOver = false;
    const run = runBounded([1, 2, 3], { countMax: 2 }, task).finally(() => {
      isOver = true;
    });
    run.catch(() => undefined);
    await end(1, new Error("first"));
    expect(begun).toEqual([1, 2]);
    expect(isOver).toBe(false);
    await end(2, new Error("second"));
    await expect(run).rejects.toThrow("first");
  });
});
