import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, it } from "vitest";
import { DirectoryStore } from "./directory-store.ts";
import { ObjectStoreError } from "./errors.ts";
import { MemoryStore } from "./memory-store.ts";
import type { ObjectStore, PutOptions } from "./object-store.ts";

const base = await mkdtemp(join(tmpdir(), "directory-store-property-"));
afterAll(() => rm(base, { recursive: true, force: true }));

/** Keys that can exist together in a directory, near to each other in byte order. */
const keys = ["a-b/c", "a.b", "a/-", "a/b/c", "a/b0", "a0", "a_/x/y", "b"];
const key = fc.constantFrom(...keys);
const options: fc.Arbitrary<PutOptions> = fc.constantFrom<PutOptions>(
  {},
  { timestamp: new Date(1_700_000_000_001) },
  { timestamp: new Date(1_700_000_000_001), metadata: { nonce: "1" } },
  { timestamp: new Date(1_700_000_000_001), metadata: { nonce: "2" } },
  { metadata: {} },
);
const body = fc.uint8Array({ maxLength: 3 });
const text = fc.oneof(key, fc.constantFrom("", "a", "a/", "a/b", "a/b/", "a_", "zz"));

type Step =
  | { readonly kind: "put" | "putIfAbsent"; key: string; body: Uint8Array; options: PutOptions }
  | { readonly kind: "delete" | "get"; key: string }
  | { readonly kind: "list"; prefix: string; startAfter: string };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constantFrom("put", "putIfAbsent"), key, body, options }),
  fc.record({ kind: fc.constantFrom("delete", "get"), key }),
  fc.record({ kind: fc.constant("list"), prefix: text, startAfter: text }),
);

async function take(store: ObjectStore, step: Step): Promise<unknown> {
  try {
    switch (step.kind) {
      case "put":
      case "putIfAbsent":
        return await store[step.kind](step.key, step.body, step.options);
      case "delete":
        return await store.delete(step.key);
      case "get": {
        const { info, body } = await store.get(step.key);
        const bytes: number[] = [];
        for await (const chunk of body) bytes.push(...chunk);
        return { bytes, size: info.size, metadata: info.metadata };
      }
      case "list": {
        const listed: string[] = [];
        for await (const page of store.list(step.prefix, { startAfter: step.startAfter })) {
          listed.push(...page.map(({ key, size }) => `${key} ${size}`));
        }
        return listed;
      }
    }
  } catch (error) {
    if (error instanceof ObjectStoreError) return error.code;
    throw error;
  }
}

it("answers every sequence of requests as a store in memory does", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const directory = new DirectoryStore(await mkdtemp(join(base, "case-")));
      const memory = new MemoryStore();
      for (const step of steps)
        expect(await take(directory, step)).toEqual(await take(memory, step));
    }),
    { numRuns: 60 },
  );
});
