import { readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { DirectoryClock } from "./directory-clock.ts";
import { DirectoryStore } from "./directory-store.ts";

let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "directory-clock-"));
});
afterEach(async () => {
  vi.useRealTimers();
  await rm(root, { recursive: true });
});

const hourMs = 3_600_000;

test.each([-hourMs, hourMs])(
  "the age of an object does not depend on a clock that is %i ms off",
  async (offMs) => {
    await new DirectoryStore(root).put("k", new Uint8Array(1));
    vi.useFakeTimers({ now: Date.now() + offMs, toFake: ["Date"] });
    const store = new DirectoryStore(root);
    const reading = await store.get("k");
    for await (const _ of reading.body);
    for (const { storeTime, lastModified } of [reading.info, await store.head("k")]) {
      const ageMs = (storeTime?.getTime() ?? Number.NaN) - lastModified.getTime();
      expect(Math.abs(ageMs)).toBeLessThan(60_000);
    }
    expect(readdirSync(root)).toEqual(["k"]);
  },
);

test("a clock that is set meanwhile is noticed", async () => {
  const clock = new DirectoryClock();
  let made = 0;
  const hiddenPath = () => join(root, `.${++made}`);
  await clock.now(hiddenPath);
  await clock.now(hiddenPath);
  expect(made).toBe(1);
  vi.useFakeTimers({ now: Date.now() + hourMs, toFake: ["Date"] });
  const now = await clock.now(hiddenPath);
  expect(made).toBe(2);
  expect(Math.abs(now.getTime() + hourMs - Date.now())).toBeLessThan(60_000);
});

test("where nothing can be written, this machine's clock has to do, and it is not tried each time", async () => {
  const clock = new DirectoryClock();
  let tried = 0;
  const hiddenPath = () => join(root, "missing", `.${++tried}`);
  for (let i = 0; i < 3; i += 1) {
    const now = await clock.now(hiddenPath);
    expect(Math.abs(now.getTime() - Date.now())).toBeLessThan(1_000);
  }
  expect(tried).toBe(1);
});
