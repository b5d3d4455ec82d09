import { createHash } from "node:crypto";
import { cp, mkdtemp, readdir, readFile, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DirectoryStore, MemoryStore, type ObjectStore } from "@vaultwarden-stream/object-store";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseTxid, type Txid } from "../ltx/txid.ts";
import { ReplicaError } from "../replica/replica-error.ts";
import { restoreDatabase } from "./restore.ts";

// Goal: whatever stock Litestream restores of its own replicas, at the end, at every TXID and at every time, we restore byte for
// byte; and where it gives an error, so do we. Method: its replicas and the digests of its restores (test/fixtures/litestream).

const fixtures = new URL("../../../../test/fixtures/litestream/", import.meta.url).pathname;

interface Expected {
  readonly latest: string;
  readonly byTxid: Readonly<Record<string, string>>;
  readonly byTime: Readonly<Record<string, string>>;
}

type Metadata = Readonly<
  Record<string, { readonly mtimeMs?: number; readonly "litestream-timestamp"?: string }>
>;

async function readJson<T>(...path: string[]): Promise<T> {
  return JSON.parse(await readFile(join(fixtures, ...path), "utf8")) as T;
}

function timeOf(metadata: Metadata, key: string): Date {
  const entry = metadata[key];
  const time = new Date(entry?.["litestream-timestamp"] ?? entry?.mtimeMs ?? Number.NaN);
  expect(time.getTime()).not.toBeNaN();
  return time;
}

async function copyIntoMemory(name: string): Promise<ObjectStore> {
  const store = new MemoryStore({ now: () => new Date("2030-01-01T00:00:00Z") });
  const metadata = await readJson<Metadata>(name, "metadata.json");
  for (const key of Object.keys(metadata)) {
    const bytes = await readFile(join(fixtures, name, "objects", key));
    await store.put(key, bytes, { timestamp: timeOf(metadata, key) });
  }
  return store;
}

async function copyIntoDirectory(name: string, directory: string): Promise<ObjectStore> {
  await cp(join(fixtures, name, "objects"), directory, { recursive: true });
  const metadata = await readJson<Metadata>(name, "metadata.json");
  for (const key of Object.keys(metadata)) {
    const time = timeOf(metadata, key);
    await utimes(join(directory, key), time, time);
  }
  return new DirectoryStore(directory);
}

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "restore-stock-"));
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe.each([
  ["file-4096", "", "directory"],
  ["file-4096-lz4frame", "", "directory"],
  ["file-4096", "", "memory"],
  ["s3-512", "vault/db/", "memory"],
  ["s3-4096", "vault/db/", "directory"],
  ["s3-65536", "vault/db/", "memory"],
] as const)("stock replica %s below %j in a %s store", (name, prefix, kind) => {
  let store: ObjectStore;
  let expected: Expected;
  let restoreCount = 0;

  beforeAll(async () => {
    expected = await readJson<Expected>(name, "expected.json");
    store =
      kind === "memory"
        ? await copyIntoMemory(name)
        : await copyIntoDirectory(name, join(directory, `${name}-objects`));
  });

  async function restoredDigest(target: { txid?: Txid; before?: Date }): Promise<string> {
    restoreCount += 1;
    const path = join(directory, `${kind}-${name}-${restoreCount}.db`);
    const root = { store, prefix, timelinesUnder: "" };
    try {
      const result = await restoreDatabase({ root, path, ...target });
      if (target.txid !== undefined) expect(result.txid).toBe(target.txid);
      if (target.before !== undefined) expect(result.timestamp < target.before).toBe(true);
      return createHash("sha256")
        .update(await readFile(path))
        .digest("hex");
    } catch (error) {
      if (!(error instanceof ReplicaError)) throw error;
      return `error: ${error.code}`;
    }
  }

  it("restores to the newest state as stock does", async () => {
    expect(await restoredDigest({})).toBe(expected.latest);
  });

  it("restores to every TXID as stock does", async () => {
    for (const [text, digest] of Object.entries(expected.byTxid)) {
      expect([text, await restoredDigest({ txid: parseTxid(text) as Txid })]).toEqual([
        text,
        digest,
      ]);
    }
    expect(Object.keys(expected.byTxid).length).toBeGreaterThan(20);
  });

  it("restores to every time as stock does, and gives an error where it does", async () => {
    let errorCount = 0;
    for (const [text, digest] of Object.entries(expected.byTime)) {
      const isError = digest.startsWith("error");
      const restored = await restoredDigest({ before: new Date(text) });
      expect([text, restored]).toEqual([text, isError ? "error: TIME_NOT_REACHABLE" : digest]);
      errorCount += isError ? 1 : 0;
    }
    expect(errorCount).toBeGreaterThan(0);
  });

  it("leaves nothing beside the databases", async () => {
    const left = (await readdir(directory)).filter((entry) => !/\.db$|-objects$/.test(entry));
    expect(left).toEqual([]);
  });
});
