import { expect, it } from "vitest";
import { UnfinishedFiles } from "./unfinished-files.ts";

it("a file that has not grown for two minutes is abandoned, until it grows again", () => {
  let nowMs = 0;
  const files = new UnfinishedFiles(() => nowMs);
  expect(files.isAbandoned("a", 1)).toBe(false);
  nowMs = 119_999;
  expect(files.isAbandoned("a", 1)).toBe(false);
  expect(files.isAbandoned("b", 1)).toBe(false);
  nowMs = 120_000;
  expect(files.isAbandoned("a", 1)).toBe(true);
  expect(files.isAbandoned("b", 1)).toBe(false);
  expect(files.isAbandoned("a", 2)).toBe(false);
  nowMs = 239_999;
  expect(files.isAbandoned("a", 2)).toBe(false);
  nowMs = 240_000;
  expect(files.isAbandoned("a", 2)).toBe(true);
});
