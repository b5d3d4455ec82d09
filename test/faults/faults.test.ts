import { createPrng, seedFromEnvironment } from "@vaultwarden-stream/testkit";
import { afterAll, describe, it } from "vitest";
import { openMemoryPlace, openS3Place } from "./faulty-place.ts";
import { Matrix, matrixRows, memoryFaults, type OpenPlace, s3Faults } from "./matrix.ts";

/** A sample of `faults.heavy.test.ts`: of each row and each fault one request, another one with another seed. */
const seed = seedFromEnvironment();
const matrix = new Matrix();
afterAll(() => matrix[Symbol.asyncDispose]());

async function liveThroughSample(open: OpenPlace, faultIndex: number): Promise<void> {
  const prng = createPrng((seed + faultIndex) >>> 0);
  for (const row of matrixRows) {
    const times = prng.pick([1, 3]);
    // Without a fault first where the last one may be: it tells how many requests there are.
    const { requestCount, failedCount } = await matrix.live(open, row, {
      skip: prng.integer(0, 20),
      times,
    });
    if (failedCount > 0) continue;
    await matrix.live(open, row, { skip: prng.integer(0, requestCount - 1), times });
  }
}

describe("S3: a request of each of start, stream, release and restore fails", () => {
  for (const [index, [name, fault]] of Object.entries(s3Faults).entries()) {
    it.concurrent(`${name}, seed ${seed}`, async () => {
      await liveThroughSample(() => openS3Place(fault), index);
    });
  }
});

describe("a store in memory: the same, by the codes of the contract", () => {
  for (const [index, [name, fault]] of Object.entries(memoryFaults).entries()) {
    it.concurrent(`${name}, seed ${seed}`, async () => {
      await liveThroughSample(() => openMemoryPlace(fault), index);
    });
  }
});
