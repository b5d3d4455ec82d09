import { expect, it } from "vitest";
import { RestartPolicy } from "./restart-policy.ts";

it("starts again at once, then later and later, and gives up at the fifth end in a minute", () => {
  const policy = new RestartPolicy();
  const delaysMs = [0, 1_000, 2_000, 3_000, 4_000].map((nowMs) => policy.onCrash(nowMs));
  expect(delaysMs).toEqual([0, 100, 500, 2_000, undefined]);
});

it("forgets what was more than a minute ago", () => {
  const policy = new RestartPolicy();
  for (let crash = 0; crash < 100; crash += 1) {
    expect(policy.onCrash(crash * 20_000)).toBeDefined();
  }
});
