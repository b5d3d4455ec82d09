import { expect, it } from "vitest";
import { defineConformanceTests } from "./conformance.ts";
import { MemoryStore } from "./memory-store.ts";

defineConformanceTests("MemoryStore", () => ({ store: new MemoryStore() }));

it("takes the time of a write from the clock that it is given", async () => {
  const store = new MemoryStore({ now: () => new Date(42_000) });
  await store.put("k", new Uint8Array(1));
  expect((await store.head("k")).lastModified).toEqual(new Date(42_000));
});

it("keeps a copy of the bytes that it was given", async () => {
  const store = new MemoryStore();
  const bytes = Uint8Array.of(1, 2, 3);
  await store.put("k", bytes);
  bytes.fill(0);
  for await (const chunk of (await store.get("k")).body) {
    expect([...chunk]).toEqual([1, 2, 3]);
  }
});
