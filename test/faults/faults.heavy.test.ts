import { seedFromEnvironment } from "@vaultwarden-stream/testkit";
import { afterAll, describe, it } from "vitest";
import { openMemoryPlace, openS3Place } from "./faulty-place.ts";
import { Matrix, matrixRows, memoryFaults, type OpenPlace, s3Faults, s3Stalls } from "./matrix.ts";

/**
 * Every `FAULT_STEP`-th request fails, of each row and each fault. With 1 that is every one, and takes twenty minutes; with the default it is
 * another half of them with another seed.
 */
const step = Number(process.env["FAULT_STEP"] ?? 2);
const seed = seedFromEnvironment();
const matrix = new Matrix();
afterAll(() => matrix[Symbol.asyncDispose]());

async function liveThroughAll(open: OpenPlace, every = step): Promise<void> {
  for (const [index, row] of matrixRows.entries()) {
    for (const [times, sparse] of [
      [1, every],
      [3, every * 3],
    ] as const) {
      const first = (seed + index) % sparse;
      await matrix.liveThrough(open, row, { times, first, step: sparse });
    }
  }
}

describe(`S3: the requests of start, stream, release and restore fail, seed ${seed}`, () => {
  for (const [name, fault] of Object.entries(s3Faults)) {
    it.concurrent(name, () => liveThroughAll(() => openS3Place(fault)));
  }
});

describe(`S3: requests are never answered, seed ${seed}`, () => {
  for (const [name, fault] of Object.entries(s3Stalls)) {
    it.concurrent(name, () => liveThroughAll(() => openS3Place(fault, 2_000), step * 3));
  }
});

describe(`a store in memory: the same, by the codes of the contract, seed ${seed}`, () => {
  for (const [name, fault] of Object.entries(memoryFaults)) {
    it.concurrent(name, () => liveThroughAll(() => openMemoryPlace(fault)));
  }
});
