import { FaultyStore, MemoryStore } from "@vaultwarden-stream/object-store";
import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import { noisePage } from "../replica/encode-test-ltx.ts";
import { fetchFiles } from "./fetch-files.ts";

const sizes = [1, 100, 99, 101, 1_000, 300, 200];
const limits = { partBytes: 100, requestsMax: 3 };

async function makeFiles(): Promise<{
  readonly store: MemoryStore;
  readonly files: ReplicaFile[];
  readonly contents: Uint8Array[];
}> {
  const store = new MemoryStore();
  const contents = sizes.map((size, index) => noisePage(size, index));
  const files = contents.map(({ length: size }, index): ReplicaFile => {
    const txid = toTxid(index + 1);
    const createdAt = new Date(0);
    return {
      timeline: "",
      level: 0,
      minTxid: txid,
      maxTxid: txid,
      key: `f${index}`,
      size,
      createdAt,
    };
  });
  for (const [index, bytes] of contents.entries()) await store.put(`f${index}`, bytes);
  return { store, files, contents };
}

describe("fetchFiles", () => {
  it("gives every byte in order, large files in ranges, and says where each ends", async () => {
    const { store, files, contents } = await makeFiles();
    const received: Uint8Array[][] = files.map(() => []);
    const ended: number[] = [];
    for await (const part of fetchFiles(store, files, undefined, limits)) {
      expect(part.fileIndex).toBe(ended.length);
      expect(part.bytes).toBeLessThanOrEqual(limits.partBytes);
      expect(part.info.size).toBe(sizes[part.fileIndex]);
      received[part.fileIndex]?.push(...part.chunks);
      if (part.isLastOfFile) ended.push(part.fileIndex);
    }
    expect(received.map((chunks) => Buffer.concat(chunks))).toEqual(
      contents.map((bytes) => Buffer.from(bytes)),
    );
    expect(ended).toEqual(files.map((_, index) => index));
  });

  it("has as many requests under way as allowed, and never more parts in memory", async () => {
    const { store: inner, files } = await makeFiles();
    let started = 0;
    let received = 0;
    let aheadMax = 0;
    const store = new FaultyStore(inner, () => {
      started += 1;
      aheadMax = Math.max(aheadMax, started - received);
      return undefined;
    });
    for await (const _ of fetchFiles(store, files, undefined, limits)) received += 1;
    expect(received).toBe(1 + 1 + 1 + 2 + 10 + 3 + 2);
    // And the one that the receiver works on.
    expect(aheadMax).toBe(limits.requestsMax + 1);
  });

  it("stops the requests under way when it is left early, and asks for nothing more", async () => {
    const { store: inner, files } = await makeFiles();
    let started = 0;
    const store = new FaultyStore(inner, () => {
      started += 1;
      return started === 1 ? undefined : { kind: "stall" };
    });
    for await (const part of fetchFiles(store, files, undefined, limits)) {
      expect(part.fileIndex).toBe(0);
      break;
    }
    expect(started).toBeLessThanOrEqual(limits.requestsMax + 1);
  });

  it("passes an error in its turn, after the parts before it", async () => {
    const { store: inner, files } = await makeFiles();
    const store = new FaultyStore(inner, ({ key }) =>
      key === "f2" ? { kind: "error-before", code: "FORBIDDEN" } : undefined,
    );
    const seen: number[] = [];
    const run = async (): Promise<void> => {
      for await (const part of fetchFiles(store, files, undefined, limits))
        seen.push(part.fileIndex);
    };
    await expect(run()).rejects.toMatchObject({ code: "FORBIDDEN", key: "f2" });
    expect(seen).toEqual([0, 1]);
  });
});
