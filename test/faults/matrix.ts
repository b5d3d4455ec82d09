import type { Fault as StoreFault } from "@vaultwarden-stream/object-store";
import type { S3Fault } from "@vaultwarden-stream/testkit";
import { type BeginningName, Beginnings } from "./beginnings.ts";
import type { FaultyPlace, Requests } from "./faulty-place.ts";
import { FaultLife, type Phase } from "./life.ts";

const tenMinutesMs = 600_000;

/** What a server, and the way to it, do to a request. */
export const s3Faults: Readonly<Record<string, S3Fault>> = {
  "403": { kind: "answer", status: 403 },
  "404 NoSuchKey": { kind: "answer", status: 404, code: "NoSuchKey" },
  "404 NoSuchBucket": { kind: "answer", status: 404, code: "NoSuchBucket" },
  "409": { kind: "answer", status: 409 },
  "412": { kind: "answer", status: 412 },
  "412 after it was done": { kind: "answer", status: 412, when: "after" },
  "429": { kind: "answer", status: 429, headers: { "retry-after": "0" } },
  "500": { kind: "answer", status: 500 },
  "500 after it was done": { kind: "answer", status: 500, when: "after" },
  "503": { kind: "answer", status: 503 },
  "reset before it was done": { kind: "drop", when: "before" },
  "reset after it was done": { kind: "drop", when: "after" },
  "reset in the upload": { kind: "reset", during: "request", atByte: 1 },
  "cut body": { kind: "truncate", atByte: 20 },
  "garbled upload": { kind: "garble", during: "request" },
  "garbled answer": { kind: "garble", during: "response" },
  "malformed XML": { kind: "malformed-xml" },
  "clock ten minutes ahead": { kind: "date", offsetMs: tenMinutesMs },
  "clock ten minutes behind": { kind: "date", offsetMs: -tenMinutesMs },
};

/** Each takes a time-out. */
export const s3Stalls: Readonly<Record<string, S3Fault>> = {
  "stall before it was done": { kind: "stall", during: "request" },
  "stall after it was done": { kind: "stall", during: "headers" },
  "stall in the body": { kind: "stall", during: "body" },
};

export const memoryFaults: Readonly<Record<string, StoreFault>> = {
  FORBIDDEN: { kind: "error-before", code: "FORBIDDEN" },
  UNREACHABLE: { kind: "error-before", code: "UNREACHABLE" },
  "UNREACHABLE after it was done": { kind: "error-after", code: "UNREACHABLE" },
  THROTTLED: { kind: "error-before", code: "THROTTLED", retryAfterMs: 0 },
  STORE_FAILED: { kind: "error-before", code: "STORE_FAILED" },
  "STORE_FAILED after it was done": { kind: "error-after", code: "STORE_FAILED" },
  OUT_OF_SPACE: { kind: "error-before", code: "OUT_OF_SPACE" },
  BODY_MISMATCH: { kind: "error-before", code: "BODY_MISMATCH" },
  "cut body": { kind: "cut-body", afterBytes: 20 },
};

/** One row of the matrix: the requests of a phase, each of which may be the one that fails. A start differs by what it finds; everything behind it is alike. */
export interface MatrixRow {
  readonly beginning: BeginningName;
  readonly phase: Phase;
}

export const matrixRows: readonly MatrixRow[] = [
  { beginning: "empty", phase: "start" },
  { beginning: "released", phase: "start" },
  { beginning: "stale", phase: "start" },
  { beginning: "stale", phase: "stream" },
  { beginning: "released", phase: "stop" },
  { beginning: "released", phase: "restore" },
];

export type OpenPlace = () => Promise<FaultyPlace>;

/** Lives whose requests fail, each from the beginnings that this makes once. */
export class Matrix implements AsyncDisposable {
  readonly #beginnings = new Beginnings();

  /**
   * A life in which the `skip + 1`-th request of the row's phase fails, and with it those behind it, `times` in all.
   *
   * @returns the requests of the phase. @throws {Error} with all violations of the law.
   */
  async live(
    openPlace: OpenPlace,
    { beginning: name, phase }: MatrixRow,
    { skip, times }: { readonly skip: number; readonly times: number },
  ): Promise<Requests> {
    const beginning = await this.#beginnings.get(name);
    await using place = await openPlace();
    // What is copied is old: whoever wrote it is dead.
    place.advanceClock(-staleMs);
    await beginning.copyObjects(place.store);
    place.advanceClock(staleMs);
    const life = new FaultLife(place, beginning, name !== "empty", { phase, skip, times });
    const requests = await life.run();
    if (life.violations.length === 0) return requests;
    const title = `${name}, ${phase}, request ${skip + 1}, ${times} in a row`;
    throw new Error(life.violations.map((violation) => `${title}: ${violation}`).join("\n"));
  }

  /**
   * Fails the requests of a row one after the other, a life for each, until a life passes without hitting the fault.
   *
   * @param first - the request to begin with, from 0. @param step - every so many of them only.
   */
  async liveThrough(
    openPlace: OpenPlace,
    row: MatrixRow,
    {
      times,
      first,
      step,
    }: { readonly times: number; readonly first: number; readonly step: number },
  ): Promise<void> {
    for (let skip = first; ; skip += step) {
      const { failedCount } = await this.live(openPlace, row, { skip, times });
      if (failedCount === 0) return;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#beginnings[Symbol.asyncDispose]();
  }
}

const staleMs = 1_800_000;
