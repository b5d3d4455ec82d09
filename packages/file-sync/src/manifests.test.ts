import { FaultyStore, MemoryStore } from "@vaultwarden-stream/object-store";
import { describe, expect, test } from "vitest";
import { manifestKey } from "./manifest-key.ts";
import {
  listManifests,
  readManifest,
  readPointer,
  writeManifest,
  writePointer,
} from "./manifests.ts";

const manifest = {
  timeline: "00000001-0badcafe",
  epoch: 1,
  sequence: 1,
  txid: "0000000000000001",
  time: new Date("2026-11-27T16:09:05.123Z"),
  entries: [],
};
const { entries: _, ...ref } = manifest;

describe("manifests in a store", () => {
  test("are listed by timeline and in their order, past what is none", async () => {
    const store = new MemoryStore();
    const refs = [
      ref,
      { ...ref, sequence: 10, time: new Date(0) },
      { ...ref, epoch: 2 },
      { ...ref, timeline: "00000002-feedface" },
    ];
    for (const any of refs.toReversed()) await writeManifest(store, { ...any, entries: [] });
    await store.put("files/manifests/00000001-0badcafe/notes.txt", new Uint8Array());
    expect(await listManifests(store)).toEqual(refs);
    expect(await listManifests(store, { timeline: ref.timeline })).toEqual(refs.slice(0, 3));
    expect(await listManifests(store, { timeline: "00000001" })).toEqual([]);
  });

  test("that cannot be listed are not none", async () => {
    const store = new FaultyStore(new MemoryStore(), () => ({
      kind: "error-before",
      code: "FORBIDDEN",
    }));
    await expect(listManifests(store)).rejects.toMatchObject({ code: "FORBIDDEN" });
    await expect(readManifest(store, ref)).rejects.toMatchObject({ code: "FORBIDDEN" });
  });

  test("are read as they were written, and one that is gone is not found", async () => {
    const store = new MemoryStore();
    await writeManifest(store, manifest);
    expect(await readManifest(store, ref)).toEqual(manifest);
    await store.delete(manifestKey(ref));
    await expect(readManifest(store, ref)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("are never written over: the same again is ours, another is somebody's", async () => {
    const store = new MemoryStore();
    await writeManifest(store, manifest);
    await writeManifest(store, manifest);
    const other = { ...manifest, entries: [{ kind: "directory", path: "a", mode: 0 } as const] };
    await expect(writeManifest(store, other)).rejects.toMatchObject({ code: "MANIFEST_TAKEN" });
    expect(await readManifest(store, ref)).toEqual(manifest);
  });

  test("that could not be read are not written", async () => {
    const store = new MemoryStore();
    const bad = { ...manifest, entries: [{ kind: "directory", path: "../a", mode: 0 } as const] };
    await expect(writeManifest(store, bad)).rejects.toMatchObject({ code: "MANIFEST_INVALID" });
    expect(await listManifests(store)).toEqual([]);
  });

  test("are named by the pointer, which is written over", async () => {
    const store = new MemoryStore();
    await writePointer(store, ref);
    await writePointer(store, { ...ref, sequence: 2 });
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await store.get("files/current.json")).body) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    expect(JSON.parse(bytes.toString())).toMatchObject({
      version: 1,
      manifest: manifestKey({ ...ref, sequence: 2 }),
      time: "2026-11-27T16:09:05.123Z",
    });
    expect(await readPointer(store)).toEqual({ ...ref, sequence: 2 });
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Uint8Array.from(bytes, (byte, index) => (index === at ? byte ^ 1 : byte));
      await store.put("files/current.json", changed);
      await expect(readPointer(store), `byte ${at}`).rejects.toMatchObject({
        code: "MANIFEST_INVALID",
      });
    }
  });

  test("have no pointer before the first one, which is no failure of the store", async () => {
    expect(await readPointer(new MemoryStore())).toBeUndefined();
    const forbidden = new FaultyStore(new MemoryStore(), () => ({
      kind: "error-before",
      code: "FORBIDDEN",
    }));
    await expect(readPointer(forbidden)).rejects.toMatchObject({ code: "FORBIDDEN" });
  });
});
