import { expect, test } from "vitest";
import { isPageSize } from "./page.ts";

test("the powers of two from 512 to 65536 are page sizes, and nothing else is", () => {
  const sizes = [512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];
  const found = Array.from({ length: 131_073 }, (_, value) => value).filter(isPageSize);
  expect(found).toEqual(sizes);
  for (const value of [-512, 512.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 32 + 512]) {
    expect(isPageSize(value)).toBe(false);
  }
});
