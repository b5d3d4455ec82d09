import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seedFromEnvironment } from "@vaultwarden-stream/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findDestruction } from "../support/destruction.ts";
import { openTestStore, s3Url, type TestStore } from "../support/stores.ts";
import { liveAndDie } from "./killed-stream.ts";

/** `CRASH_SEEDS` lives in all, half of them on each kind of store. */
const first = seedFromEnvironment();
const livesPerStore = Math.ceil(Number(process.env["CRASH_SEEDS"] ?? 500) / 2);
const directory = mkdtempSync(join(tmpdir(), "crash-heavy-"));
let store: TestStore;
beforeAll(async () => {
  store = await openTestStore("aws");
});
afterAll(async () => {
  await store[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

describe("SIGKILL at random: what restores was committed, and has all that was confirmed", () => {
  for (let index = 0; index < livesPerStore; index++) {
    const seed = (first + index) >>> 0;
    it.concurrent(`directory, seed ${seed}`, async () => {
      const replica = join(directory, `seed-${seed}`);
      await liveAndDie(seed, replica);
      rmSync(replica, { recursive: true, force: true });
    });
    it.concurrent(`S3, seed ${seed}`, async () => {
      if (store.server === undefined) throw new Error("a server of ours is needed");
      await liveAndDie(seed, s3Url(store.server, `seed-${seed}`));
    });
  }
});

it("no life overwrote or deleted an object of its replica", async () => {
  expect(findDestruction((await store.server?.requests()) ?? [])).toEqual([]);
});
