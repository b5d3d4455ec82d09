import { createHash } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import { type S3PersonalityName, s3Personalities } from "./s3-personalities.ts";
import { type S3Server, startS3Server } from "./s3-server.ts";
import { findElements, findText } from "./s3-xml.ts";
import {
  openS3Request,
  receiveS3Answer,
  type S3RawAnswer,
  type S3RawRequest,
  sendS3Request,
} from "./send-s3-request.ts";

let server: S3Server;
afterEach(() => server.stop());

const now = new Date();

async function start(personality: S3PersonalityName): Promise<void> {
  server = await startS3Server({ personality, now: () => now });
}

function send(
  method: string,
  key: string,
  more: Omit<Partial<S3RawRequest>, "method" | "path"> = {},
): Promise<S3RawAnswer> {
  return sendS3Request(server, { method, path: `/${server.bucket}/${key}`, ...more });
}

const create = { "if-none-match": "*" };
const codeOf = (answer: S3RawAnswer): string | undefined =>
  findText(answer.body.toString(), "Code");

/** Statuses of two creations of a key one after the other, and what is stored then. */
async function createTwice(): Promise<unknown> {
  const first = await send("PUT", "k", { body: "1", headers: create });
  const second = await send("PUT", "k", { body: "2", headers: create });
  return [first.status, second.status, Buffer.from(server.objects.get("k")?.body ?? "").toString()];
}

/** Statuses of two creations whose last bytes are held back until the server has both headers. */
async function createTogether(): Promise<number[]> {
  const open = ["1x", "2x"].map((body) => {
    const path = `/${server.bucket}/pair`;
    const request = openS3Request(server, { method: "PUT", path, body, headers: create });
    request.write(body.slice(0, 1));
    return { request, answer: receiveS3Answer(request) };
  });
  await expect.poll(() => server.requests.filter(({ key }) => key === "pair")).toHaveLength(2);
  for (const { request } of open) request.end("x");
  return await Promise.all(open.map(async ({ answer }) => (await answer).status));
}

describe("conditional creation", () => {
  test.each([
    ["aws", [200, 412, "1"]],
    ["r2", [200, 412, "1"]],
    ["tigris-stale-read", [200, 200, "2"]],
    ["early-judge", [200, 412, "1"]],
    ["garage-ignores", [200, 200, "2"]],
    ["ceph-ignores", [200, 200, "2"]],
    ["oracle-200", [200, 200, "2"]],
    ["gcs", [200, 200, "2"]],
    ["ceph-inverted", [412, 412, ""]],
    ["b2", [501, 501, ""]],
  ] as const)("twice in turn: %s", async (name, outcome) => {
    await start(name);
    expect(await createTwice()).toEqual(outcome);
  });

  test("inverted, it overwrites what is there", async () => {
    await start("ceph-inverted");
    await send("PUT", "k", { body: "there" });
    expect((await send("PUT", "k", { body: "new", headers: create })).status).toBe(200);
    expect(server.objects.get("k")?.body).toEqual(Buffer.from("new"));
  });
});

test.each([
  ["aws", [200, 412]],
  ["early-judge", [200, 200]],
] as const)("conditional creation by two at once: %s", async (name, statuses) => {
  await start(name);
  expect((await createTogether()).toSorted()).toEqual(statuses);
});

describe("r2", () => {
  test("takes one write a second to a key", async () => {
    await start("r2");
    expect((await send("PUT", "k", { body: "1" })).status).toBe(200);
    expect((await send("PUT", "other", { body: "1" })).status).toBe(200);
    const second = await send("PUT", "k", { body: "2" });
    expect([second.status, codeOf(second)]).toEqual([429, "TooManyRequests"]);
    expect(server.requests.at(-1)?.effects).toEqual(["write-rate-limited"]);
    server.advanceClock(1000);
    expect((await send("PUT", "k", { body: "3" })).status).toBe(200);
  });

  test("deletes nothing by the batch, and reports nothing", async () => {
    await start("r2");
    await send("PUT", "k", { body: "1" });
    const answer = await deleteBatch("content-md5");
    expect(answer.status).toBe(200);
    expect(findElements(answer.body.toString(), "Deleted")).toEqual([]);
    expect(server.objects.size).toBe(1);
  });
});

test("strict-md5 takes no other checksum of a batch", async () => {
  await start("strict-md5");
  await send("PUT", "k", { body: "1" });
  expect((await deleteBatch("x-amz-checksum-sha256")).status).toBe(400);
  expect((await deleteBatch("content-md5")).status).toBe(200);
  expect(server.objects.size).toBe(0);
});

test.each([
  ["r2", 501],
  ["no-chunked", 501],
  ["b2", 400],
  ["aws", 200],
] as const)("bodies in aws-chunked: %s", async (name, status) => {
  await start(name);
  const answer = await send("PUT", "k", {
    payloadHash: "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    body: "1\r\nv\r\n0\r\n\r\n",
    headers: { "x-amz-decoded-content-length": "1" },
  });
  expect(answer.status).toBe(status);
});

test("storj-unsorted lists everything once, over pages, in another order, and takes no start", async () => {
  await start("storj-unsorted");
  const keys = Array.from({ length: 30 }, (_, index) => `k${String(index).padStart(2, "0")}`);
  for (const key of keys) await send("PUT", key);
  const listed: string[] = [];
  let token: string | undefined;
  do {
    const query = { "list-type": "2", "max-keys": "7", "start-after": "k20" };
    const answer = await send("GET", "", {
      query: { ...query, ...(token && { "continuation-token": token }) },
    });
    listed.push(...findElements(answer.body.toString(), "Key"));
    token = findText(answer.body.toString(), "NextContinuationToken");
  } while (token !== undefined);
  expect(listed).not.toEqual(keys);
  expect(listed.toSorted()).toEqual(keys);
});

describe("tigris-stale-read", () => {
  const consistent = { "x-tigris-consistent": "true" };

  test("answers by the state before the last write, for a second, to those who do not ask for more", async () => {
    await start("tigris-stale-read");
    await send("PUT", "k", { body: "1" });
    expect((await send("GET", "k")).status).toBe(404);
    expect(server.requests.at(-1)?.effects).toEqual(["stale-read"]);
    expect((await send("GET", "k", { headers: consistent })).body.toString()).toBe("1");
    server.advanceClock(1000);
    expect((await send("GET", "k")).body.toString()).toBe("1");
    await send("DELETE", "k");
    expect((await send("HEAD", "k")).status).toBe(200);
  });

  test("creates once, if asked for consistency", async () => {
    await start("tigris-stale-read");
    const headers = { ...create, ...consistent };
    expect((await send("PUT", "k", { body: "1", headers })).status).toBe(200);
    expect((await send("PUT", "k", { body: "2", headers })).status).toBe(412);
  });
});

test("gcs takes no bulk delete", async () => {
  await start("gcs");
  await send("PUT", "k", { body: "v" });
  const answer = await deleteBatch("content-md5");
  expect([answer.status, codeOf(answer)]).toEqual([501, "NotImplemented"]);
  expect((await send("GET", "k")).status).toBe(200);
});

test("gcs refuses x-id, and accept-encoding under the signature", async () => {
  await start("gcs");
  const withId = await send("PUT", "k", { query: { "x-id": "PutObject" } });
  expect([withId.status, codeOf(withId)]).toEqual([400, "InvalidArgument"]);
  const answer = await send("PUT", "k", { headers: { "accept-encoding": "identity" } });
  expect([answer.status, codeOf(answer)]).toEqual([403, "SignatureDoesNotMatch"]);
  expect((await send("PUT", "k")).status).toBe(200);
});

test("opaque-etag has no MD5 for an ETag, and no multipart", async () => {
  await start("opaque-etag");
  const { headers } = await send("PUT", "k", { body: "v" });
  expect(headers.etag).not.toContain(createHash("md5").update("v").digest("hex"));
  expect((await send("HEAD", "k")).headers.etag).toBe(headers.etag);
  expect((await send("POST", "k", { query: { uploads: "" } })).status).toBe(501);
});

test("list-v1-only answers version 2 with version 1, from the start again", async () => {
  await start("list-v1-only");
  for (const key of ["a", "b", "c"]) await send("PUT", key);
  const query = { "list-type": "2", "max-keys": "2", "start-after": "b" };
  const xml = (await send("GET", "", { query })).body.toString();
  expect(findElements(xml, "Key")).toEqual(["a", "b"]);
  expect(findText(xml, "IsTruncated")).toBe("true");
  expect(findText(xml, "NextContinuationToken")).toBeUndefined();
});

test("no-list-permission answers 403 for a missing key and for listings", async () => {
  await start("no-list-permission");
  await send("PUT", "k", { body: "v" });
  expect((await send("GET", "k")).status).toBe(200);
  expect((await send("GET", "none")).status).toBe(403);
  expect((await send("HEAD", "none")).status).toBe(403);
  expect((await send("GET", "")).status).toBe(403);
});

test("personalities know their names", () => {
  for (const [name, personality] of Object.entries(s3Personalities)) {
    expect(personality.name).toBe(name);
  }
});

function deleteBatch(checksum: "content-md5" | "x-amz-checksum-sha256"): Promise<S3RawAnswer> {
  const body = "<Delete><Object><Key>k</Key></Object></Delete>";
  const algorithm = checksum === "content-md5" ? "md5" : "sha256";
  const headers = { [checksum]: createHash(algorithm).update(body).digest("base64") };
  return send("POST", "", { query: { delete: "" }, body, headers });
}
