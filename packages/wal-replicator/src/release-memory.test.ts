import { describe, expect, it } from "vitest";
import { releaseMemory } from "./release-memory.ts";

describe("releaseMemory", () => {
  it("empties a chunk that is a buffer of its own", () => {
    const chunk = new Uint8Array(1000);
    releaseMemory(chunk);
    expect(chunk.length).toBe(0);
    expect(chunk.buffer.byteLength).toBe(0);
  });

  it("leaves a part of a larger buffer alone", () => {
    const pool = new Uint8Array(1000);
    const chunk = pool.subarray(0, 999);
    releaseMemory(chunk);
    expect(pool.length).toBe(1000);
    expect(chunk.length).toBe(999);
  });
});
