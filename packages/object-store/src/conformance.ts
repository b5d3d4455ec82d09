import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ObjectBody, ObjectInfo, ObjectStore } from "./object-store.ts";

/** A store to be tested, empty at the start. */
export interface StoreUnderTest {
  readonly store: ObjectStore;
  /** Opens what `store` wrote with a client of its own, which shares no state with it. Without it durability is not tested. */
  readonly reopen?: () => ObjectStore;
  readonly cleanup?: () => Promise<void>;
  /** If the store takes less than the contract's 2,000 bytes of metadata, and is a store all the same. */
  readonly metadataBytesMax?: number;
}

/**
 * Defines the tests that every store passes: one or more for each clause of the contract (`object-store.ts`). Called in a test file of vitest.
 *
 * Not tested, since it takes more than a client: what a crash of the machine or of the store leaves behind.
 *
 * @param factory - makes an empty store for each test.
 */
export function defineConformanceTests(
  name: string,
  factory: () => Promise<StoreUnderTest> | StoreUnderTest,
): void {
  describe(`${name} holds the contract of a store`, () => {
    let underTest: StoreUnderTest;
    let store: ObjectStore;
    beforeEach(async () => {
      underTest = await factory();
      store = underTest.store;
    });
    afterEach(async () => {
      await underTest.cleanup?.();
    });

    describe("writes and reads", () => {
      it("gives back what was put, with size and time", async () => {
        await store.put("a/b.ltx", text("hello"));
        const { info, body } = await store.get("a/b.ltx");
        expect(await collectText(body)).toBe("hello");
        expect(info).toMatchObject({ key: "a/b.ltx", size: 5 });
        expect(info.lastModified).toBeInstanceOf(Date);
        expect(withoutStoreTime(await store.head("a/b.ltx"))).toEqual(withoutStoreTime(info));
      });

      it("replaces an object by a shorter one", async () => {
        await store.put("k", text("a longer text"));
        await store.put("k", text("short"));
        expect(await readText(store, "k")).toBe("short");
      });

      it("stores an empty object", async () => {
        await store.put("empty", new Uint8Array(0));
        await store.put("empty-stream", streamOf(0, []));
        expect(await readText(store, "empty")).toBe("");
        expect(await store.head("empty-stream")).toMatchObject({ size: 0 });
      });

      it("stores a large body of uneven chunks", async () => {
        const chunks = [1, 70_000, 0, 300_001, 4096, 4096, 4096, 1_000_003].map(noise);
        const expected = Buffer.concat(chunks);
        await store.put("large", streamOf(expected.length, chunks));
        expect(Buffer.compare(await collect((await store.get("large")).body), expected)).toBe(0);
      });

      it("shows what was written to another client", async () => {
        const other = underTest.reopen?.();
        if (other === undefined) return;
        await store.put("k", text("v"), { metadata: { nonce: "n1" } });
        expect(await store.putIfAbsent("once", text("w"))).toBe("created");
        expect(await readText(other, "k")).toBe("v");
        expect((await other.head("k")).metadata).toEqual({ nonce: "n1" });
        expect(await readText(other, "once")).toBe("w");
        expect(await other.putIfAbsent("once", text("x"))).toBe("exists");
      });

      it("shows readers the old or the new object while it is replaced, never a mixture", async () => {
        const versions = ["x", "y"].map((letter) => text(letter.repeat(200_000)));
        await store.put("k", versions[0] as Uint8Array);
        let isWriting = true;
        const write = async () => {
          for (let round = 0; round < 20; round++) {
            await store.put("k", versions[round % 2] as Uint8Array);
          }
          isWriting = false;
        };
        const read = async () => {
          do {
            const found = Buffer.from(await collect((await store.get("k")).body));
            expect(versions.some((version) => Buffer.compare(found, version) === 0)).toBe(true);
          } while (isWriting);
        };
        await Promise.all([write(), read(), read()]);
      });

      it("stores nothing of a stream that is shorter or longer than announced", async () => {
        for (const length of [99_999, 100_001]) {
          const body = streamOf(100_000, [noise(length - 10), noise(10)]);
          await expect(store.put("k", body)).rejects.toMatchObject({ code: "BODY_MISMATCH" });
          await expect(store.putIfAbsent("k", body)).rejects.toMatchObject({
            code: "BODY_MISMATCH",
          });
        }
        await expect(store.head("k")).rejects.toMatchObject({ code: "NOT_FOUND" });
        expect(await listKeys(store, "")).toEqual([]);
      });

      it("passes on the error of a body unchanged, and stores nothing", async () => {
        const failure = new Error("the spool is broken");
        const body: ObjectBody = {
          size: 10,
          open: async function* () {
            yield noise(5);
            throw failure;
          },
        };
        await expect(store.put("k", body)).rejects.toBe(failure);
        await expect(store.head("k")).rejects.toMatchObject({ code: "NOT_FOUND" });
      });
    });

    describe("create if absent", () => {
      it("creates once, and leaves what is there", async () => {
        expect(await store.putIfAbsent("k", text("first"))).toBe("created");
        expect(await store.putIfAbsent("k", text("second"))).toBe("exists");
        expect(await readText(store, "k")).toBe("first");
      });

      it("creates again after a delete", async () => {
        await store.putIfAbsent("k", text("first"));
        await store.delete("k");
        expect(await store.putIfAbsent("k", text("second"))).toBe("created");
      });

      it("tells exactly one of 20 concurrent writers that it created the object", async () => {
        if (store.properties.createIfAbsent !== "atomic") return;
        for (let round = 0; round < 3; round++) {
          const key = `epochs/${round}`;
          const outcomes = await Promise.all(
            Array.from({ length: 20 }, (_, writer) =>
              store.putIfAbsent(key, text(`writer ${10 + writer}`), {
                metadata: { nonce: `${10 + writer}` },
              }),
            ),
          );
          expect(outcomes.filter((outcome) => outcome === "created")).toHaveLength(1);
          const winner = 10 + outcomes.indexOf("created");
          expect(await readText(store, key)).toBe(`writer ${winner}`);
          expect((await store.head(key)).metadata).toEqual({ nonce: `${winner}` });
        }
      });
    });

    describe("ranges", () => {
      const content = noise(600_000);
      beforeEach(async () => {
        await store.put("k", content);
      });

      it.each([
        { range: { start: 0, length: 1 }, name: "the first byte" },
        { range: { start: 100_000, length: 400_000 }, name: "the middle" },
        { range: { start: 599_999 }, name: "the last byte" },
        { range: { start: 1 }, name: "from a byte to the end" },
        { range: { start: 599_000, length: 5000 }, name: "more than there is" },
      ])("reads $name", async ({ range }) => {
        const { info, body } = await store.get("k", { range });
        const end = range.length === undefined ? undefined : range.start + range.length;
        expect(info.size).toBe(600_000);
        expect(Buffer.compare(await collect(body), content.subarray(range.start, end))).toBe(0);
      });

      it.each([
        { start: 600_000 },
        { start: 600_001, length: 1 },
        { start: -1 },
        { start: 0.5 },
        { start: 0, length: 0 },
        { start: 0, length: -1 },
      ])("refuses %j", async (range) => {
        await expect(store.get("k", { range })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
      });

      it("refuses every range of an empty object", async () => {
        await store.put("empty", new Uint8Array(0));
        await expect(store.get("empty", { range: { start: 0 } })).rejects.toMatchObject({
          code: "INVALID_ARGUMENT",
        });
      });

      it("lets a reader leave early, before and after the first chunk", async () => {
        for (let round = 0; round < 50; round++) {
          for await (const chunk of (await store.get("k")).body) {
            expect(chunk.length).toBeGreaterThan(0);
            break;
          }
          await (await store.get("k")).body[Symbol.asyncIterator]().return?.();
        }
      });

      it("gives chunks that the reader may change", async () => {
        for await (const chunk of (await store.get("k")).body) chunk.fill(0);
        expect(Buffer.compare(await collect((await store.get("k")).body), content)).toBe(0);
      });
    });

    describe("absence", () => {
      it("answers NOT_FOUND to get and head, and is not retryable", async () => {
        const expected = { name: "ObjectStoreError", code: "NOT_FOUND", retryable: false };
        await expect(store.get("none")).rejects.toMatchObject({ ...expected, operation: "get" });
        await expect(store.head("a/b/none")).rejects.toMatchObject({
          ...expected,
          key: "a/b/none",
        });
        await store.put("a/b/some", text("v"));
        await expect(store.get("a/b")).rejects.toMatchObject(expected);
        await expect(store.head("a")).rejects.toMatchObject(expected);
      });

      it("deletes what is there, and what is not", async () => {
        await store.put("a/k", text("v"), { metadata: { nonce: "n" } });
        await store.delete("a/k");
        await expect(store.head("a/k")).rejects.toMatchObject({ code: "NOT_FOUND" });
        await store.delete("a/k");
        await store.delete("never/was");
        expect(await listKeys(store, "")).toEqual([]);
      });
    });

    describe("deletes of many", () => {
      it("delete what is there and what is not, and nothing else", async () => {
        const [gone, kept] = [
          ["a", "d/b", "d/e/c"],
          ["d/b2", "d/e/c.c", "z"],
        ];
        for (const key of [...gone, ...kept]) {
          await store.put(key, text(key), { metadata: { nonce: key.replaceAll("/", "-") } });
        }
        // More than S3 takes in one request, with the last object in the last one.
        const missing = Array.from({ length: 1100 }, (_, index) => `d/never-${index}/was`);
        await store.deleteAll(["a", "a", "d/b", ...missing, "d/e/c", "a"]);
        expect(await listKeys(store, "")).toEqual(kept);
        expect(await readText(store, "d/b2")).toBe("d/b2");
        expect((await store.head("z")).metadata).toEqual({ nonce: "z" });
        expect(await store.putIfAbsent("a", text("new"))).toBe("created");
        expect((await store.head("a")).metadata).toBeUndefined();
      }, 60_000);

      it("of none are a success", async () => {
        await store.put("k", text("v"));
        await store.deleteAll([]);
        expect(await listKeys(store, "")).toEqual(["k"]);
      });

      it("refuse what is no key before anything is deleted", async () => {
        await store.put("a", text("v"));
        const outcome = store.deleteAll(["a", "../b"]);
        await expect(outcome).rejects.toMatchObject({
          code: "INVALID_ARGUMENT",
          operation: "deleteAll",
          key: "../b",
          leftKeys: ["a", "../b"],
        });
        expect(await listKeys(store, "")).toEqual(["a"]);
      });
    });

    describe("metadata and times", () => {
      it("keeps both for get and head", async () => {
        const timestamp = new Date("2026-08-04T15:55:39.123Z");
        const metadata = { nonce: "0123456789abcdef", note: 'quotes " and \\ and =?', none: "" };
        await store.put("k", text("v"), { metadata, timestamp });
        const { info: read, body } = await store.get("k");
        await body[Symbol.asyncIterator]().return?.();
        for (const info of [await store.head("k"), read]) {
          expect(info.metadata).toEqual(metadata);
          expect(info.timestamp).toEqual(timestamp);
        }
        expect(await store.putIfAbsent("once", text("v"), { metadata, timestamp })).toBe("created");
        expect(await store.head("once")).toMatchObject({ metadata, timestamp });
      });

      it("tells its own clock with get and head, by which an object has an age", async () => {
        await store.put("k", text("v"));
        const { info, body } = await store.get("k");
        await body[Symbol.asyncIterator]().return?.();
        for (const { storeTime, lastModified } of [info, await store.head("k")]) {
          const ageMs = (storeTime?.getTime() ?? Number.NaN) - lastModified.getTime();
          // Whole seconds, and a file system's clock that ticks.
          expect(ageMs).toBeGreaterThanOrEqual(-1000);
          expect(ageMs).toBeLessThan(60_000);
        }
      });

      it("has none where none was given", async () => {
        await store.put("k", text("v"));
        expect((await store.head("k")).metadata).toBeUndefined();
        await store.put("k", text("v"), { metadata: {} });
        expect((await store.head("k")).metadata).toBeUndefined();
      });

      it("takes 2,000 bytes of metadata", async () => {
        const metadata = { n: '"'.repeat((underTest.metadataBytesMax ?? 2000) - 1) };
        await store.put("k", text("v"), { metadata });
        expect((await store.head("k")).metadata).toEqual(metadata);
      });

      it("replaces or drops metadata with the object", async () => {
        const timestamp = new Date(1_700_000_000_001);
        await store.put("k", text("1"), { metadata: { version: "1" }, timestamp });
        await store.put("k", text("2"), { metadata: { version: "2" }, timestamp });
        expect((await store.head("k")).metadata).toEqual({ version: "2" });
        await store.put("k", text("3"), { timestamp });
        expect((await store.head("k")).metadata).toBeUndefined();
        await store.put("k", text("4"), { metadata: { version: "4" }, timestamp });
        await store.delete("k");
        expect(await store.putIfAbsent("k", text("5"), { timestamp })).toBe("created");
        expect((await store.head("k")).metadata).toBeUndefined();
      });

      it.each([
        { metadata: { Upper: "v" } },
        { metadata: { "": "v" } },
        { metadata: { name: "ü" } },
        { metadata: { name: "line\nbreak" } },
        { metadata: { name: " edge" } },
        { metadata: { name: "v".repeat(1997) } },
        { metadata: { "litestream-timestamp": "2026-08-04T15:55:39Z" } },
        { timestamp: new Date(Number.NaN) },
      ])("refuses %j", async (options) => {
        await expect(store.put("k", text("v"), options)).rejects.toMatchObject({
          code: "INVALID_ARGUMENT",
        });
        await expect(store.head("k")).rejects.toMatchObject({ code: "NOT_FOUND" });
      });
    });

    describe("listings", () => {
      it("is empty and no error where nothing is", async () => {
        expect(await listKeys(store, "")).toEqual([]);
        expect(await listKeys(store, "no/such/place")).toEqual([]);
      });

      it("matches a prefix as a string, also in the middle of a segment", async () => {
        const keys = ["a/b", "a/bc", "a/bd/e", "a-b", "ab", "b/a/b"];
        for (const key of keys) await store.put(key, text(key));
        for (const prefix of [
          "",
          "a",
          "a/",
          "a/b",
          "a/b/",
          "a/bd",
          "a/bd/",
          "a/bcd",
          "b/a/",
          "c",
        ]) {
          expect(await listKeys(store, prefix)).toEqual(
            keys.filter((key) => key.startsWith(prefix)).sort(),
          );
        }
      }, 20_000);

      it("gives size and time, as head does", async () => {
        await store.put("k", text("value"));
        const [info] = await listInfos(store, "k");
        const { size, lastModified } = await store.head("k");
        expect(info).toMatchObject({ key: "k", size });
        expect(info?.lastModified).toEqual(lastModified);
      });

      it("lists 2,500 objects in pages, completely and in order", async () => {
        const keys = Array.from({ length: 2500 }, (_, index) => `p/${index % 7}/${index}`);
        for (let first = 0; first < keys.length; first += 50) {
          await Promise.all(keys.slice(first, first + 50).map((key) => store.put(key, text(key))));
        }
        let pageCount = 0;
        const listed: string[] = [];
        for await (const page of store.list("p/")) {
          pageCount++;
          listed.push(...page.map(({ key }) => key));
        }
        expect(pageCount).toBeGreaterThanOrEqual(3);
        if (!store.properties.listingSorted) listed.sort();
        expect(listed).toEqual(keys.toSorted());
        // In the middle of more than a page of others, and behind all of them.
        expect(await listKeys(store, "p/3/")).toEqual(
          keys.filter((key) => key.startsWith("p/3/")).toSorted(),
        );
        expect(await listKeys(store, "q")).toEqual([]);
        if (!store.properties.listingSorted) return;
        const startAfter = keys.toSorted()[1700] as string;
        expect(await listKeys(store, "p/", startAfter)).toEqual(keys.toSorted().slice(1701));
      }, 120_000);

      it("orders by the bytes of the whole key, and starts behind any text", async () => {
        const keys = ["a", "a-b/c", "a.b", "a0", "aB", "a_", "b/-", "b/0/z", "b/A", "b0", "B", "-"];
        for (const key of keys) await store.put(key, text(key));
        const sorted = keys.toSorted();
        expect(await listKeys(store, "")).toEqual(sorted);
        if (!store.properties.listingSorted) return;
        for (const startAfter of [...keys, "b", "b/", "b/0", "b/0/zz", "a-", "zz", "!"]) {
          expect(await listKeys(store, "", startAfter)).toEqual(
            sorted.filter((key) => key > startAfter),
          );
        }
      }, 20_000);
    });

    describe("keys", () => {
      it.each(["k", "a/b/c", "A-Z_0.9", "--", "a..b", "x".repeat(200)])("takes %s", async (key) => {
        await store.put(key, text("v"));
        expect(await listKeys(store, key)).toEqual([key]);
      });

      it.each([
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "a/./b",
        ".hidden",
        "a/.k.meta",
        "a b",
        "a\nb",
        "a\0b",
        "ä",
        "a\\b",
        "a%2fb",
        "x".repeat(201),
        "abcdefgh/".repeat(114),
      ])("refuses %j in every request", async (key) => {
        const refusal = { code: "INVALID_ARGUMENT", retryable: false };
        await expect(store.put(key, text("v"))).rejects.toMatchObject(refusal);
        await expect(store.putIfAbsent(key, text("v"))).rejects.toMatchObject(refusal);
        await expect(store.get(key)).rejects.toMatchObject(refusal);
        await expect(store.head(key)).rejects.toMatchObject(refusal);
        await expect(store.delete(key)).rejects.toMatchObject(refusal);
      });

      it.each(["/", "//", "../", "a/../", "a//", ".", "a b", "a\n", "ä"])(
        "refuses to list %j",
        async (prefix) => {
          await expect(listKeys(store, prefix)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
        },
      );
    });

    describe("abort", () => {
      it("rejects with the reason and does nothing if aborted before", async () => {
        await store.put("k", text("v"));
        const reason = new Error("shutting down");
        const options = { signal: AbortSignal.abort(reason) };
        let isOpened = false;
        const body: ObjectBody = {
          size: 1,
          open: async function* () {
            isOpened = true;
            yield text("n");
          },
        };
        await expect(store.put("k", body, options)).rejects.toBe(reason);
        await expect(store.putIfAbsent("new", body, options)).rejects.toBe(reason);
        await expect(store.get("k", options)).rejects.toBe(reason);
        await expect(store.head("k", options)).rejects.toBe(reason);
        await expect(store.delete("k", options)).rejects.toBe(reason);
        await expect(store.deleteAll(["k"], options)).rejects.toBe(reason);
        await expect(store.deleteAll([], options)).rejects.toBe(reason);
        await expect(collectPages(store.list("", options))).rejects.toBe(reason);
        expect(isOpened).toBe(false);
        expect(await listKeys(store, "")).toEqual(["k"]);
        expect(await readText(store, "k")).toBe("v");
      });

      it("ends a write whose body stalls, and stores nothing", async () => {
        const reason = new Error("shutting down");
        const controller = new AbortController();
        const body: ObjectBody = {
          size: 10,
          open: async function* () {
            yield noise(5);
            controller.abort(reason);
            await new Promise(() => undefined);
          },
        };
        await expect(store.put("k", body, { signal: controller.signal })).rejects.toBe(reason);
        await expect(store.head("k")).rejects.toMatchObject({ code: "NOT_FOUND" });
        expect(await listKeys(store, "")).toEqual([]);
      });

      it("stores nothing if aborted while the last chunk is taken", async () => {
        const reason = new Error("shutting down");
        for (const operation of ["put", "putIfAbsent"] as const) {
          const controller = new AbortController();
          const body: ObjectBody = {
            size: 5,
            open: async function* () {
              yield noise(5);
              controller.abort(reason);
            },
          };
          const outcome = store[operation]("k", body, { signal: controller.signal });
          await expect(outcome).rejects.toBe(reason);
        }
        expect(await listKeys(store, "")).toEqual([]);
      });

      it("ends a read between two chunks", async () => {
        await store.put("k", noise(3_000_000));
        const reason = new Error("shutting down");
        const controller = new AbortController();
        const { body } = await store.get("k", { signal: controller.signal });
        const read = async () => {
          for await (const chunk of body) {
            expect(chunk.length).toBeLessThan(3_000_000);
            controller.abort(reason);
          }
        };
        await expect(read()).rejects.toBe(reason);
      });
    });
  });
}

function text(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}

/** Bytes without a period that a misplaced chunk could hide in; the same for the same length. */
function noise(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = 1;
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}

function streamOf(size: number, chunks: readonly Uint8Array[]): ObjectBody {
  return {
    size,
    open: async function* () {
      yield* chunks;
    },
  };
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function collectText(body: AsyncIterable<Uint8Array>): Promise<string> {
  return new TextDecoder().decode(await collect(body));
}

async function readText(store: ObjectStore, key: string): Promise<string> {
  return await collectText((await store.get(key)).body);
}

function withoutStoreTime({ storeTime: _, ...info }: ObjectInfo): Omit<ObjectInfo, "storeTime"> {
  return info;
}

async function collectPages(
  pages: AsyncIterable<readonly ObjectInfo[]>,
): Promise<readonly ObjectInfo[]> {
  const infos: ObjectInfo[] = [];
  for await (const page of pages) infos.push(...page);
  return infos;
}

async function listInfos(
  store: ObjectStore,
  prefix: string,
  startAfter?: string,
): Promise<readonly ObjectInfo[]> {
  return await collectPages(store.list(prefix, startAfter === undefined ? {} : { startAfter }));
}

/** Keys as listed, sorted only where the store promises no order. */
async function listKeys(
  store: ObjectStore,
  prefix: string,
  startAfter?: string,
): Promise<string[]> {
  const keys = (await listInfos(store, prefix, startAfter)).map(({ key }) => key);
  return store.properties.listingSorted ? keys : keys.sort();
}
