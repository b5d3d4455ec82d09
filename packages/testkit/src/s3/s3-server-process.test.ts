import { afterEach, beforeEach, expect, test } from "vitest";
import { type S3ServerProcess, startS3ServerProcess } from "./s3-server-process.ts";
import { type S3RawAnswer, type S3RawRequest, sendS3Request } from "./send-s3-request.ts";

let server: S3ServerProcess;
beforeEach(async () => {
  server = await startS3ServerProcess({ personality: "r2", bucket: "far-bucket" });
});
afterEach(() => server.stop());

function send(
  method: string,
  key: string,
  more: Omit<Partial<S3RawRequest>, "method" | "path"> = {},
): Promise<S3RawAnswer> {
  return sendS3Request(server, { method, path: `/${server.bucket}/${key}`, ...more });
}

test("a server in another process shows what it holds and what it was asked", async () => {
  expect(server.bucket).toBe("far-bucket");
  expect(server.pid).not.toBe(process.pid);
  const body = Buffer.from([0, 255, 128, 10]);
  await send("PUT", "k", { body, headers: { "x-amz-meta-n": "1" } });
  const stored = (await server.objects()).get("k");
  expect(stored).toMatchObject({ body, metadata: { n: "1" } });
  expect(stored?.lastModified).toBeInstanceOf(Date);
  expect(await server.requests()).toMatchObject([{ operation: "PutObject", status: 200 }]);
  await server.clearRequests();
  expect(await server.requests()).toEqual([]);
});

test("it takes faults, clock and personality while it runs", async () => {
  await send("PUT", "k", { body: "1" });
  expect((await send("PUT", "k", { body: "2" })).status).toBe(429);
  await server.advanceClock(2000);
  expect((await send("PUT", "k", { body: "2" })).status).toBe(200);
  await server.setPersonality("b2");
  const create = { headers: { "if-none-match": "*" } };
  expect((await send("PUT", "new", create)).status).toBe(501);
  await server.setFaults([
    { match: { keyPattern: "^k$" }, fault: { kind: "answer", status: 503 } },
  ]);
  expect((await send("GET", "k")).status).toBe(503);
  expect((await send("GET", "none")).status).toBe(404);
  await server.setFaults();
  expect((await send("GET", "k")).status).toBe(200);
});

test("it goes away and comes back with what it holds", async () => {
  await send("PUT", "k", { body: "v" });
  await server.pause();
  await expect(send("GET", "k")).rejects.toMatchObject({ code: "ECONNREFUSED" });
  await server.resume();
  expect((await send("GET", "k")).body.toString()).toBe("v");
});

test("its death is told to those who ask", async () => {
  process.kill(server.pid, "SIGKILL");
  await expect(server.requests()).rejects.toThrow(/SIGKILL/);
  await expect(server.requests()).rejects.toThrow(/SIGKILL/);
});

test("options that it cannot take are told with its own words", async () => {
  await expect(startS3ServerProcess({ bucket: 7n as never })).rejects.toThrow(/BigInt/);
});
