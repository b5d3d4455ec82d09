import { createHash } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { seedFromEnvironment } from "../prng.ts";
import {
  compileS3FaultPlan,
  type S3Fault,
  type S3FaultRequest,
  transientS3Faults,
} from "./s3-faults.ts";
import type { S3Operation } from "./s3-request.ts";
import { type S3Server, startS3Server } from "./s3-server.ts";
import { findElements, findText } from "./s3-xml.ts";
import {
  openS3Request,
  receiveS3Answer,
  type S3RawAnswer,
  type S3RawRequest,
  sendS3Request,
} from "./send-s3-request.ts";

describe("rules", () => {
  const fault: S3Fault = { kind: "latency", ms: 1 };
  function request(operation: S3Operation, key: string, nth = 1, index = 0): S3FaultRequest {
    return { operation, method: "GET", key, query: {}, nth, index };
  }

  test("strike what matches all they say", () => {
    const plan = compileS3FaultPlan([
      { match: { operation: ["PutObject", "UploadPart"], keyPattern: "^a/.*x$", nth: 2 }, fault },
      { match: { index: 7 }, fault: { kind: "malformed-xml" } },
    ]);
    expect(plan(request("PutObject", "a/bx", 2))).toBe(fault);
    expect(plan(request("UploadPart", "a/x", 2))).toBe(fault);
    expect(plan(request("PutObject", "a/bx", 1))).toBeUndefined();
    expect(plan(request("PutObject", "b/a/x", 2))).toBeUndefined();
    expect(plan(request("GetObject", "a/bx", 2))).toBeUndefined();
    expect(plan(request("GetObject", "", 1, 7))).toEqual({ kind: "malformed-xml" });
  });

  test("let some pass, strike some, and leave the rest to the next rule", () => {
    const plan = compileS3FaultPlan([
      { match: {}, fault, skip: 1, times: 2 },
      { match: {}, fault: { kind: "malformed-xml" }, skip: 1 },
    ]);
    const kinds = [1, 2, 3, 4, 5].map((nth) => plan(request("GetObject", "k", nth))?.kind);
    expect(kinds).toEqual([undefined, "latency", "latency", "malformed-xml", "malformed-xml"]);
  });

  test("of chance strike by the seed and by the request, in whatever order requests come", () => {
    const seed = seedFromEnvironment();
    const requests = Array.from({ length: 400 }, (_, index) =>
      request("PutObject", `k${index % 20}`, Math.floor(index / 20) + 1, index),
    );
    const first = compileS3FaultPlan({ seed, probability: 0.3 });
    const second = compileS3FaultPlan({ seed, probability: 0.3 });
    const forwards = requests.map((one) => first(one));
    const backwards = requests.toReversed().map((one) => second(one));
    expect(backwards.toReversed()).toEqual(forwards);
    const struck = forwards.filter((one) => one !== undefined);
    expect(struck.length).toBeGreaterThan(60);
    expect(struck.length).toBeLessThan(180);
    expect(new Set(struck).size).toBeGreaterThan(transientS3Faults.length / 2);
    const other = compileS3FaultPlan({ seed: seed ^ 1, probability: 0.3 });
    expect(requests.map((one) => other(one))).not.toEqual(forwards);
  });
});

describe("a fault", () => {
  let server: S3Server;
  beforeEach(async () => {
    server = await startS3Server();
    await send("PUT", "there", { body: "0123456789" });
    server.clearRequests();
  });
  afterEach(() => server.stop());

  function send(
    method: string,
    key: string,
    more: Omit<Partial<S3RawRequest>, "method" | "path"> = {},
  ): Promise<S3RawAnswer> {
    return sendS3Request(server, { method, path: `/${server.bucket}/${key}`, ...more });
  }

  function strike(fault: S3Fault): void {
    server.setFaults([{ match: {}, fault, times: 1 }]);
  }

  const bodyOf = (key: string): string | undefined => {
    const body = server.objects.get(key)?.body;
    return body && Buffer.from(body).toString();
  };
  const codeOf = (answer: S3RawAnswer): string | undefined =>
    findText(answer.body.toString(), "Code");

  /** The answer as far as it came, and how the connection ended: `open` if it did not. */
  async function readCut(
    method: string,
    key: string,
    isDone: (received: Buffer) => boolean = () => false,
  ): Promise<{ status?: number; length?: string; body: string; end: string }> {
    const request = openS3Request(server, { method, path: `/${server.bucket}/${key}` });
    return await new Promise((resolve) => {
      let received = Buffer.alloc(0);
      const settle = (end: string, more: object = {}): void => {
        request.destroy();
        resolve({ ...more, body: received.toString(), end });
      };
      request.on("error", (error: NodeJS.ErrnoException) => settle(error.code ?? "error"));
      request.on("response", (response) => {
        const head = {
          status: response.statusCode,
          length: response.headers["content-length"],
        };
        response.on("data", (chunk: Buffer) => {
          received = Buffer.concat([received, chunk]);
          if (isDone(received)) settle("open", head);
        });
        response.on("end", () => settle("end", head));
        response.on("error", (error: NodeJS.ErrnoException) => settle(error.code ?? "error", head));
      });
      request.end();
    });
  }

  test.each([
    [403, "AccessDenied"],
    [404, "NoSuchKey"],
    [408, "RequestTimeout"],
    [409, "ConditionalRequestConflict"],
    [412, "PreconditionFailed"],
    [429, "TooManyRequests"],
    [500, "InternalError"],
    [503, "SlowDown"],
    [507, "InsufficientStorage"],
  ])("answers %i %s before anything is done", async (status, code) => {
    strike({ kind: "answer", status });
    const answer = await send("PUT", "k", { body: "v" });
    expect([answer.status, codeOf(answer)]).toEqual([status, code]);
    expect(bodyOf("k")).toBeUndefined();
    expect((await send("PUT", "k", { body: "v" })).status).toBe(200);
  });

  test("answers with another code and with headers", async () => {
    strike({ kind: "answer", status: 404, code: "NoSuchBucket" });
    expect(codeOf(await send("GET", "there"))).toBe("NoSuchBucket");
    strike({ kind: "answer", status: 429, headers: { "retry-after": "7" } });
    expect((await send("GET", "there")).headers["retry-after"]).toBe("7");
    strike({ kind: "answer", status: 200, code: "InternalError" });
    const success = await send("PUT", "k", { body: "v" });
    expect([success.status, codeOf(success)]).toEqual([200, "InternalError"]);
  });

  test("answers an error after the commit", async () => {
    strike({ kind: "answer", status: 500, when: "after" });
    expect((await send("PUT", "k", { body: "v" })).status).toBe(500);
    expect(bodyOf("k")).toBe("v");
  });

  test("hides no refusal: an unsigned request stays one", async () => {
    strike({ kind: "answer", status: 503 });
    const answer = await fetch(`${server.endpoint}/${server.bucket}/k`, { method: "PUT" });
    expect(answer.status).toBe(403);
  });

  test.each([
    ["before", undefined],
    ["after", "v"],
  ] as const)("drops the connection %s the commit", async (when, stored) => {
    strike({ kind: "drop", when });
    await expect(send("PUT", "k", { body: "v" })).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(bodyOf("k")).toBe(stored);
    expect(server.requests.at(-1)).toMatchObject({ key: "k", fault: { kind: "drop" } });
    expect(server.requests.at(-1)).not.toHaveProperty("status");
  });

  test("makes one's own retry a 412", async () => {
    const create = { body: "nonce", headers: { "if-none-match": "*" } };
    strike({ kind: "drop", when: "after" });
    await expect(send("PUT", "k", create)).rejects.toMatchObject({ code: "ECONNRESET" });
    expect((await send("PUT", "k", create)).status).toBe(412);
    expect(bodyOf("k")).toBe("nonce");
  });

  test("resets in the middle of the request's body, and nothing is stored", async () => {
    strike({ kind: "reset", during: "request", atByte: 100_000 });
    const upload = send("PUT", "k", { body: "v".repeat(5_000_000) });
    await expect(upload).rejects.toMatchObject({ code: expect.stringMatching(/ECONNRESET|EPIPE/) });
    expect(bodyOf("k")).toBeUndefined();
    expect(server.requests.at(-1)?.requestBytes).toBeGreaterThanOrEqual(100_000);
    expect(server.requests.at(-1)?.requestBytes).toBeLessThan(5_000_000);
  });

  test("resets or cuts the answer behind a byte, with the whole length announced", async () => {
    strike({ kind: "reset", during: "response", atByte: 4 });
    expect((await readCut("GET", "there")).end).toBe("ECONNRESET");
    strike({ kind: "truncate", atByte: 4 });
    expect(await readCut("GET", "there")).toEqual({
      status: 200,
      length: "10",
      body: "0123",
      end: "ECONNRESET",
    });
    strike({ kind: "truncate", atByte: 0 });
    expect(await readCut("GET", "there")).toMatchObject({ length: "10", body: "" });
  });

  test("flips a bit of the answer, and of the request, which then is refused", async () => {
    strike({ kind: "garble", during: "response", atByte: 2 });
    expect((await send("GET", "there")).body.toString()).toBe("0133456789");
    strike({ kind: "garble", during: "request" });
    expect(codeOf(await send("PUT", "k", { body: "abc" }))).toBe("XAmzContentSHA256Mismatch");
    strike({ kind: "garble", during: "request", atByte: 0 });
    await send("PUT", "k", { body: "abc", payloadHash: "UNSIGNED-PAYLOAD" });
    expect(bodyOf("k")).toBe("`bc");
  });

  test("stalls in the middle of the answer", async () => {
    strike({ kind: "stall", during: "body", atByte: 6 });
    const cut = await readCut("GET", "there", (received) => received.length === 6);
    expect(cut).toEqual({ status: 200, length: "10", body: "012345", end: "open" });
  });

  test.each([
    ["request", undefined],
    ["headers", "v"],
  ] as const)("stalls without an answer: %s", async (during, stored) => {
    strike({ kind: "stall", during });
    const path = `/${server.bucket}/k`;
    const request = openS3Request(server, { method: "PUT", path, body: "v" });
    const answer = receiveS3Answer(request);
    request.end("v");
    await expect.poll(() => server.requests.at(-1)?.requestBytes).toBe(1);
    // A request that comes later is answered before the stalled one, which ends with the server.
    expect((await send("GET", "there")).status).toBe(200);
    expect(bodyOf("k")).toBe(stored);
    await server.pause();
    await expect(answer).rejects.toMatchObject({ code: "ECONNRESET" });
    await server.resume();
  });

  test("shifts the Date of an answer, and nothing else", async () => {
    strike({ kind: "date", offsetMs: -3_600_000 });
    const wrong = await send("HEAD", "there");
    const right = await send("HEAD", "there");
    const timeOf = (answer: S3RawAnswer): number => Date.parse(answer.headers.date ?? "");
    expect(Math.round((timeOf(right) - timeOf(wrong)) / 60_000)).toBe(60);
    expect(wrong.headers["last-modified"]).toBe(right.headers["last-modified"]);
  });

  test("keeps a new object out of some listings, but not from those who know its key", async () => {
    strike({ kind: "late-list", listCount: 2 });
    await send("PUT", "k", { body: "v" });
    expect((await send("GET", "k")).status).toBe(200);
    const lists = [];
    for (let index = 0; index < 3; index++) {
      const answer = await send("GET", "", { query: { "list-type": "2" } });
      lists.push(findElements(answer.body.toString(), "Key"));
    }
    expect(lists).toEqual([["there"], ["there"], ["k", "there"]]);
  });

  test("cuts XML in two, and objects not at all", async () => {
    strike({ kind: "malformed-xml" });
    const answer = await send("GET", "", {});
    expect(answer.status).toBe(200);
    expect(answer.body.toString()).toMatch(/^<\?xml/);
    expect(answer.body.toString()).not.toContain("</ListBucketResult>");
    strike({ kind: "malformed-xml" });
    expect((await send("GET", "there")).body.toString()).toBe("0123456789");
  });

  test("leaves some keys of a bulk delete, with a reason or without", async () => {
    for (const [code, codes] of [
      ["InternalError", ["InternalError"]],
      [undefined, []],
    ] as const) {
      for (const key of ["a", "b"]) await send("PUT", key, { body: "v" });
      strike({ kind: "partly", keyPattern: "b", ...(code === undefined ? {} : { code }) });
      const body = "<Delete><Object><Key>a</Key></Object><Object><Key>b</Key></Object></Delete>";
      const headers = { "content-md5": createHash("md5").update(body).digest("base64") };
      const answer = await send("POST", "", { query: { delete: "" }, body, headers });
      expect(findElements(answer.body.toString(), "Deleted")).toEqual(["<Key>a</Key>"]);
      expect(findElements(answer.body.toString(), "Code")).toEqual(codes);
      expect([...server.objects.keys()]).toEqual(["there", "b"]);
      await send("DELETE", "b");
    }
  });

  test("delays one request while others pass", async () => {
    strike({ kind: "latency", ms: 100 });
    const order: string[] = [];
    const note = (name: string) => (): void => void order.push(name);
    const slow = send("GET", "there").then(note("slow"));
    await expect.poll(() => server.requests.length).toBe(1);
    await send("GET", "there").then(note("quick"));
    await slow;
    expect(order).toEqual(["quick", "slow"]);
  });

  test("is asked for with the count of the operation and key, and of all requests", async () => {
    const seen: string[] = [];
    server.setFaults(({ operation, key, nth, index }) => {
      seen.push(`${operation} ${key} ${nth} ${index}`);
      return undefined;
    });
    await send("GET", "a");
    await send("GET", "b");
    await send("HEAD", "a");
    await send("GET", "a");
    await send("GET", "", { query: { prefix: "p/" } });
    expect(seen).toEqual([
      "GetObject a 1 1",
      "GetObject b 1 2",
      "HeadObject a 1 3",
      "GetObject a 2 4",
      "ListObjects p/ 1 5",
    ]);
  });
});
