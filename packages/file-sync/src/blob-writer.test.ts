import { CountingStore, FaultyStore, MemoryStore } from "@vaultwarden-stream/object-store";
import { expect, test } from "vitest";
import { BlobWriter } from "./blob-writer.ts";
import { digest } from "./test-tree.ts";

const bytes = Buffer.from("content");
const sha256 = digest(bytes);

/** A store whose first PUT waits for the gate. */
function makeGatedStore() {
  const gate = Promise.withResolvers<void>();
  const faulty = new FaultyStore(new MemoryStore(), ({ nth }) =>
    nth === 1 ? { kind: "delay", wait: () => gate.promise } : undefined,
  );
  const store = new CountingStore(faulty);
  const blobs = new BlobWriter(store, { now: () => new Date(0), nowMs: () => 0 });
  return { gate, store, blobs };
}

test("of two of one content at once, one is sent, and both wait for it", async () => {
  const { gate, store, blobs } = makeGatedStore();
  const puts = [blobs.put(sha256, bytes, undefined), blobs.put(sha256, bytes, undefined)];
  await new Promise((resolve) => setImmediate(resolve));
  expect(blobs.has(sha256)).toBe(false);
  gate.resolve();
  expect(await Promise.all(puts)).toEqual([true, false]);
  expect(store.counts.put).toBe(1);
  expect(blobs.has(sha256)).toBe(true);
});

test("if the one fails, the other is sent", async () => {
  const { gate, store, blobs } = makeGatedStore();
  const first = blobs.put(sha256, bytes, undefined);
  const second = blobs.put(sha256, bytes, undefined);
  gate.reject(new Error("the file changed"));
  await expect(first).rejects.toThrow("the file changed");
  expect(await second).toBe(true);
  expect(store.counts.put).toBe(2);
});
