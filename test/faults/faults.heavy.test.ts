import { afterAll, describe, it } from "vitest";
import { openMemoryPlace, openS3Place } from "./faulty-place.ts";
import { Matrix, matrixRows, memoryFaults, type OpenPlace, s3Faults, s3Stalls } from "./matrix.ts";

const matrix = new Matrix();
afterAll(() => matrix[Symbol.asyncDispose]());

async function liveThroughAll(open: OpenPlace, step = 1): Promise<void> {
  for (const row of matrixRows) {
    await matrix.liveThrough(open, row, { times: 1, step });
    await matrix.liveThrough(open, row, { times: 3, step: step * 3 });
  }
}

describe("S3: each request of start, stream, release and restore fails", () => {
  for (const [name, fault] of Object.entries(s3Faults)) {
    it.concurrent(name, () => liveThroughAll(() => openS3Place(fault)));
  }
});

describe("S3: every fourth request is never answered", () => {
  for (const [name, fault] of Object.entries(s3Stalls)) {
    it.concurrent(name, () => liveThroughAll(() => openS3Place(fault, 2_000), 4));
  }
});

describe("a store in memory: each request fails, by the codes of the contract", () => {
  for (const [name, fault] of Object.entries(memoryFaults)) {
    it.concurrent(name, () => liveThroughAll(() => openMemoryPlace(fault)));
  }
});
