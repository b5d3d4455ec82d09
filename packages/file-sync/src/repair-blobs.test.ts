import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CountingStore, FaultyStore, MemoryStore } from "@vaultwarden-stream/object-store";
import { afterEach, beforeEach, expect, it } from "vitest";
import { blobKey } from "./blob-key.ts";
import { readBlob } from "./read-blob.ts";
import { repairBlobs } from "./repair-blobs.ts";
import { digest, directoryRoot } from "./test-tree.ts";

let directory: string;
let store: CountingStore;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "repair-blobs-"));
  mkdirSync(join(directory, "cipher"));
  store = new CountingStore(new MemoryStore());
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const bytes = new TextEncoder().encode("an attachment");
const blob = { sha256: digest(bytes), size: bytes.length, paths: ["attachments/cipher/id"] };
const key = blobKey(blob.sha256);

function repair(paths: readonly string[] = blob.paths) {
  const roots = [directoryRoot("attachments", directory)];
  return repairBlobs({ store, blobs: [{ ...blob, paths }], roots });
}

async function isWhole(): Promise<boolean> {
  try {
    for await (const _ of readBlob(store, blob));
    return true;
  } catch {
    return false;
  }
}

it.each([
  ["that is missing", undefined],
  ["with other bytes", "an Attachment"],
  ["that was cut", "an att"],
])("a blob %s is stored again from its file", async (_, stored) => {
  if (stored !== undefined) await store.put(key, new TextEncoder().encode(stored));
  writeFileSync(join(directory, "cipher", "id"), bytes);
  const { sha256 } = blob;
  const path = "attachments/cipher/id";
  expect(await repair()).toEqual({ repaired: [{ sha256, path }], left: [] });
  expect(await isWhole()).toBe(true);
});

it("a blob is stored again from any file that has its bytes", async () => {
  writeFileSync(join(directory, "cipher", "twin"), bytes);
  const paths = ["sends/other", "attachments/cipher/id", "attachments/cipher/twin"];
  expect(await repair(paths)).toMatchObject({ repaired: [{ path: paths[2] }] });
});

it("a good blob is never written over", async () => {
  await store.put(key, bytes);
  writeFileSync(join(directory, "cipher", "id"), bytes);
  expect(await repair()).toEqual({ repaired: [], left: [] });
  expect(store.counts.put).toBe(1);
});

it.each<[string, (path: string) => void, string]>([
  ["is gone", () => {}, "is not there any more"],
  ["has changed", (path) => writeFileSync(path, "an Attachment"), "other bytes by now"],
  ["has grown", (path) => writeFileSync(path, "an attachment, and more"), "other bytes by now"],
  ["is a directory", (path) => mkdirSync(path), "is no file"],
  ["is a link", (path) => symlinkSync("/etc/hostname", path), "is no file"],
])("where the file %s, nothing is stored, and it says why", async (_, make, why) => {
  make(join(directory, "cipher", "id"));
  const { repaired, left } = await repair();
  expect(repaired).toEqual([]);
  expect(left).toMatchObject([{ sha256: blob.sha256, why: expect.stringContaining(why) }]);
  expect(await isWhole()).toBe(false);
});

it("a store that does not answer is no bad blob", async () => {
  writeFileSync(join(directory, "cipher", "id"), bytes);
  const failing = new FaultyStore(store, ({ operation }) =>
    operation === "get" ? { kind: "error-before", code: "UNREACHABLE" } : undefined,
  );
  const roots = [directoryRoot("attachments", directory)];
  const repairing = repairBlobs({ store: failing, blobs: [blob], roots });
  await expect(repairing).rejects.toMatchObject({ code: "UNREACHABLE" });
  expect(store.counts.put).toBe(0);
});
