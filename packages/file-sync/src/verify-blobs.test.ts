import { CountingStore, FaultyStore, MemoryStore } from "@vaultwarden-stream/object-store";
import { beforeEach, describe, expect, it } from "vitest";
import { blobKey } from "./blob-key.ts";
import type { ManifestEntry } from "./manifest.ts";
import { digest, entriesOf, putBlobs, type TestNode } from "./test-tree.ts";
import { verifyBlobs } from "./verify-blobs.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const names = Array.from({ length: 30 }, (_, index) => `file ${index}`);
let memory: MemoryStore;
let store: CountingStore;
let entries: ManifestEntry[];
beforeEach(async () => {
  memory = new MemoryStore();
  store = new CountingStore(memory);
  const tree = new Map<string, TestNode>([["r", { mode: 0o755 }]]);
  for (const name of [...names, "twin of file 0"]) {
    const content = bytes(name.replace("twin of ", ""));
    tree.set(`r/${name}`, { mode: 0o600, mtimeMs: 0, content });
  }
  await putBlobs(memory, tree);
  entries = entriesOf(tree);
});

const keyOf = (name: string): string => blobKey(digest(bytes(name)));

describe("verifyBlobs", () => {
  it("costs one listing for what is there, and finds what is missing or has another size", async () => {
    expect(await verifyBlobs({ store, entries, readData: false })).toEqual({
      blobs: 30,
      bytes: 10 * 6 + 20 * 7,
      blobsRead: 0,
      bytesRead: 0,
      stoppedAt: null,
      unnamed: 0,
      bad: [],
    });
    expect(store.counts).toMatchObject({ list: 1, head: 0, get: 0 });
    await memory.delete(keyOf("file 3"));
    await memory.put(keyOf("file 7"), bytes("short"));
    expect((await verifyBlobs({ store, entries, readData: false })).bad).toEqual([
      { sha256: digest(bytes("file 3")), path: "r/file 3", size: 6, why: "missing" },
      { sha256: digest(bytes("file 7")), path: "r/file 7", size: 6, why: "wrong-size" },
    ]);
  });

  it("finds every changed byte if it reads the data, and only then", async () => {
    const content = bytes("file 12");
    for (let at = 0; at < content.length; at += 1) {
      const changed = content.map((byte, index) => (index === at ? byte ^ 1 : byte));
      await memory.put(keyOf("file 12"), changed);
      const { bad } = await verifyBlobs({ store, entries, readData: true });
      expect(bad).toMatchObject([{ path: "r/file 12", why: "wrong-bytes" }]);
      expect(await verifyBlobs({ store, entries, readData: false })).toMatchObject({ bad: [] });
    }
  });

  it("looks at everything once in so many runs, whatever else there is", async () => {
    await memory.delete(keyOf("file 5"));
    for (const of of [1, 3, 7]) {
      let blobs = 0;
      let missing = 0;
      for (let n = 1; n <= of; n += 1) {
        // Another manifest's entries change nothing of the shares.
        const some = n % 2 === 0 ? entries : [...entries].toReversed();
        const result = await verifyBlobs({
          store,
          entries: some,
          subset: { n, of },
          readData: true,
        });
        blobs += result.blobs;
        missing += result.bad.length;
      }
      expect([blobs, missing]).toEqual([30, 1]);
    }
    for (const subset of [
      { n: 0, of: 3 },
      { n: 4, of: 3 },
      { n: 1.5, of: 3 },
    ]) {
      await expect(verifyBlobs({ store, entries, subset, readData: false })).rejects.toThrow(
        RangeError,
      );
    }
  });

  it("reads what it has time for, goes on where it stopped, and comes round", async () => {
    const read: string[] = [];
    class Watched extends CountingStore {
      override get(...args: Parameters<MemoryStore["get"]>) {
        read.push(args[0]);
        return super.get(...args);
      }
    }
    let startAt: string | undefined;
    const runs: number[] = [];
    do {
      const answers = Array.from({ length: 8 }, () => true);
      const hasTime = (): boolean => answers.pop() ?? false;
      const watched = new Watched(memory);
      const options = { store: watched, entries, readData: true, hasTime, parallel: 2 };
      const result = await verifyBlobs(startAt === undefined ? options : { ...options, startAt });
      expect(result).toMatchObject({ blobs: 30, blobsRead: 9, bad: [] });
      runs.push(result.blobsRead);
      startAt = result.stoppedAt ?? undefined;
    } while (runs.length < 4);
    // Three runs and a bit read all of them; the fourth has begun again.
    expect(new Set(read.slice(0, 30)).size).toBe(30);
    expect(read.slice(30)).toEqual(read.slice(0, 6));
  });

  it("looks at the presence of all, whatever time it has, and counts what nobody names", async () => {
    await memory.delete(keyOf("file 3"));
    await memory.put(blobKey(digest(bytes("new"))), bytes("new"));
    const hasTime = (): boolean => false;
    const result = await verifyBlobs({ store, entries, readData: true, hasTime });
    expect(result).toMatchObject({ blobsRead: 1, unnamed: 1, bad: [{ why: "missing" }] });
  });

  it("calls nothing missing because a listing lacks it, and nothing bad because a request failed", async () => {
    const blind = new FaultyStore(memory, () => undefined);
    blind.list = async function* () {};
    expect(await verifyBlobs({ store: blind, entries, readData: false })).toMatchObject({
      bad: [],
    });
    await memory.delete(keyOf("file 1"));
    for (const operation of ["list", "get", "head"]) {
      const failing = new FaultyStore(memory, (call) =>
        call.operation === operation ? { kind: "error-before", code: "FORBIDDEN" } : undefined,
      );
      const verifying = verifyBlobs({ store: failing, entries, readData: true });
      await expect(verifying).rejects.toMatchObject({ code: "FORBIDDEN" });
    }
  });
});
