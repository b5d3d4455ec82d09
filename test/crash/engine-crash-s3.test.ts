import { seedFromEnvironment } from "@vaultwarden-stream/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findDestruction } from "../support/destruction.ts";
import { openTestStore, s3Url, type TestStore } from "../support/stores.ts";
import { crashPoints, KilledStream, liveAndDie } from "./killed-stream.ts";

const first = seedFromEnvironment();
let store: TestStore;
beforeAll(async () => {
  store = await openTestStore("aws");
});
afterAll(async () => {
  await store[Symbol.asyncDispose]();
});

/** A replica of its own for each test. */
function replica(name: string): string {
  if (store.server === undefined) throw new Error("a server of ours is needed");
  return s3Url(store.server, name);
}

describe("SIGKILL at a named point, on S3", () => {
  for (const [index, crashAt] of crashPoints.entries()) {
    it.concurrent(`${crashAt}: nothing confirmed is lost, and the stream goes on`, async () => {
      await using life = new KilledStream((first + index) >>> 0, replica(crashAt));
      await life.start();
      life.commit(10);
      await life.confirm();
      await life.kill();
      if (await life.start({ crashAt })) {
        const isEnd = ["flushed", "state-saved", "released"].includes(crashAt);
        if (isEnd) life.commit(3);
        const isKilled = isEnd ? !(await life.stop()) : await life.writeUntilKilled(2_000);
        expect(isKilled, `${crashAt} was reached`).toBe(true);
      }
      await life.checkRecovery();
    });
  }

  for (const crashAt of ["merge-written", "merge-published"]) {
    it(`${crashAt}, while the store is away: nothing is lost, and the stream goes on`, async () => {
      await using life = new KilledStream(first, replica(crashAt));
      await life.start({ crashAt });
      life.commit(10);
      await life.confirm();
      await store.server?.setFaults([
        {
          match: { operation: "PutObject", keyPattern: `${crashAt}/.*ltx$` },
          fault: { kind: "answer", status: 503 },
        },
      ]);
      expect(await life.captureUntilKilled(2_000), `${crashAt} was reached`).toBe(true);
      await store.server?.setFaults();
      await life.checkRecovery();
    });
  }
});

describe("SIGKILL at random, on S3", () => {
  const lives = Number(process.env["CRASH_SEEDS"] ?? 8);
  for (let index = 0; index < lives; index++) {
    const seed = (first + 2_000 + index) >>> 0;
    it.concurrent(`seed ${seed}: what restores was committed, and has all that was confirmed`, async () => {
      await liveAndDie(seed, replica(`seed-${seed}`));
    });
  }
});

it("no life overwrote or deleted an object of its replica", async () => {
  expect(findDestruction((await store.server?.requests()) ?? [])).toEqual([]);
});
