import { describe, expect, it } from "vitest";
import { planCheckpoint } from "./checkpointer.ts";

const policy = { passiveFrames: 1_000, barrierBytes: 8 << 20 };

describe("planCheckpoint", () => {
  it.each([
    ["leaves a small WAL alone", 999, 4096, "none"],
    ["tries without the write lock first", 1_000, 4096, "passive"],
    ["takes the barrier beyond the bound", 2_037, 4096, "barrier"],
    ["counts bytes, not frames, for the bound", 200, 65536, "barrier"],
    ["goes by frames with small pages", 1_000, 512, "passive"],
  ])("%s", (_, frames, pageSize, need) => {
    expect(planCheckpoint(policy, frames, pageSize)).toBe(need);
  });
});
