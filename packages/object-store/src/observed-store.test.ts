import { expect, it } from "vitest";
import { FaultyStore } from "./faulty-store.ts";
import { MemoryStore } from "./memory-store.ts";
import { ObservedStore } from "./observed-store.ts";

it("tells of every answer, of failures, and of each piece of a body on its way", async () => {
  const signs: string[] = [];
  const faulty = new FaultyStore(new MemoryStore(), ({ operation }) =>
    operation === "head" ? { kind: "error-before", code: "UNREACHABLE" } : undefined,
  );
  const store = new ObservedStore(faulty, ({ operation, key }) =>
    signs.push(`${operation} ${key}`),
  );
  const take = (): string[] => signs.splice(0);
  await store.put("a", {
    size: 6,
    open: async function* () {
      yield new Uint8Array(2);
      yield new Uint8Array(4);
    },
  });
  expect(take()).toEqual(["put a", "put a", "put a"]);
  await store.putIfAbsent("a", new Uint8Array(1));
  expect(take()).toEqual(["putIfAbsent a"]);
  for await (const _ of (await store.get("a")).body);
  expect(take().length).toBeGreaterThanOrEqual(2);
  for await (const _ of store.list("x"));
  for await (const _ of store.list("a"));
  expect(take()).toEqual(["list a"]);
  await expect(store.head("a")).rejects.toThrow();
  await store.delete("a");
  await store.deleteAll(["a", "b"]);
  expect(take()).toEqual(["head a", "delete a", "deleteAll a"]);
});

it("says nothing of a request that hangs", async () => {
  const signs: string[] = [];
  const store = new ObservedStore(
    new FaultyStore(new MemoryStore(), () => ({ kind: "stall" })),
    ({ key }) => signs.push(key),
  );
  const stopped = AbortSignal.timeout(50);
  const put = store.put("a", new Uint8Array(1), { signal: stopped });
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(signs).toEqual([]);
  await expect(put).rejects.toThrow();
});
