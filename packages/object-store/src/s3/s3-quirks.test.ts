import {
  type S3PersonalityName,
  type S3Server,
  sendS3Request,
  startS3Server,
} from "@vaultwarden-stream/testkit";
import { afterEach, describe, expect, it } from "vitest";
import type { ObjectStore } from "../object-store.ts";
import { openObjectStore } from "../open-store.ts";
import { RetryingStore } from "../retrying-store.ts";
import { probeConditionalWrites } from "./probe.ts";
import type { S3Location } from "./s3-settings.ts";

// Goal: each row of s3.md 4, and what the profiles say, holds against a server that has the quirk.

let server: S3Server;
afterEach(() => server.stop());

async function open(
  personality: S3PersonalityName,
  location: Partial<S3Location>,
): Promise<ObjectStore> {
  server = await startS3Server({ personality });
  const { bucket, endpoint, region, credentials } = server;
  return openObjectStore(
    { bucket, prefix: "p", endpoint, region, credentials, forcePathStyle: true, ...location },
    {},
  );
}

const text = (content: string) => new TextEncoder().encode(content);
const streamed = (size: number) => ({
  size,
  open: async function* () {
    // One buffer for all chunks, as a reader of files has it.
    const chunk = new Uint8Array(64 * 1024);
    for (let position = 0; position < size; position += chunk.length) {
      chunk.fill(position / chunk.length);
      yield chunk.subarray(0, Math.min(chunk.length, size - position));
    }
  },
});

async function readAll(store: ObjectStore, key: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await store.get(key)).body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function listKeys(store: ObjectStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const page of store.list("")) keys.push(...page.map(({ key }) => key));
  return keys;
}

const headersOf = (operation: string) =>
  server.requests.filter((one) => one.operation === operation).map(({ headers }) => headers);

describe("signed payloads", () => {
  it.each([
    ["no-chunked", "Hetzner"],
    ["r2", "Cloudflare"],
    ["b2", "Backblaze"],
  ] as const)("are sent to %s, of known length and unchunked", async (personality, provider) => {
    const store = await open(personality, { provider });
    await store.put("small", text("v"));
    await store.put("large", streamed(300_000));
    for (const headers of headersOf("PutObject")) {
      expect(headers["x-amz-content-sha256"]).toMatch(/^[0-9a-f]{64}$/);
      expect(headers["content-length"]).toMatch(/^\d+$/);
      expect(headers).not.toHaveProperty("content-encoding");
      expect(headers).not.toHaveProperty("transfer-encoding");
      expect(Object.keys(headers).filter((name) => /checksum|crc/.test(name))).toEqual([]);
    }
    const stored = await readAll(store, "large");
    expect(stored).toHaveLength(300_000);
    expect([stored[0], stored[65_536], stored[299_999]]).toEqual([0, 1, 4]);
  });

  it("of AWS have the checksum that Object Lock wants too", async () => {
    const store = await open("aws", { provider: "AWS" });
    await store.put("small", text("v"));
    await store.put("large", streamed(300_000));
    for (const headers of headersOf("PutObject")) {
      const signed = Buffer.from(headers["x-amz-content-sha256"] ?? "", "hex");
      expect(headers["x-amz-checksum-sha256"]).toBe(signed.toString("base64"));
    }
    expect(await readAll(store, "large")).toHaveLength(300_000);
  });
});

describe("Tigris", () => {
  it("is read consistently: the read that judges a write sees it", async () => {
    const store = await open("tigris-stale-read", { provider: "Tigris" });
    expect(await store.putIfAbsent("k", text("1"))).toBe("created");
    expect(await store.putIfAbsent("k", text("2"))).toBe("exists");
    await store.put("k", text("3"));
    expect((await readAll(store, "k")).toString()).toBe("3");
  });

  it("sheds load with 408, which is tried again", async () => {
    const store = new RetryingStore(await open("tigris-stale-read", { provider: "Tigris" }), {
      budgetMs: 5000,
      delayMsMin: 1,
    });
    server.setFaults([{ match: {}, fault: { kind: "answer", status: 408 }, times: 2 }]);
    await store.put("k", text("v"));
    expect(server.requests.map(({ status }) => status)).toEqual([408, 408, 200]);
  });
});

describe("Cloudflare R2", () => {
  it("answers 429 to a hot key, which is THROTTLED", async () => {
    const store = await open("r2", { provider: "Cloudflare" });
    await store.put("k", text("1"));
    await expect(store.put("k", text("2"))).rejects.toMatchObject({ code: "THROTTLED" });
  });

  it("is asked for each delete by itself, since a batch deletes nothing", async () => {
    const store = await open("r2", { provider: "Cloudflare" });
    await store.put("k", text("1"));
    await store.delete("k");
    expect([...server.objects.keys()]).toEqual([]);
    expect(headersOf("DeleteObjects")).toEqual([]);
  });
});

it("GCS gets no x-id, and no signed accept-encoding", async () => {
  const store = await open("gcs", { provider: "GCS" });
  await store.put("k", text("v"));
  expect((await readAll(store, "k")).toString()).toBe("v");
  await store.head("k");
  expect(await listKeys(store)).toEqual(["k"]);
  await store.delete("k");
});

it("Storj lists in no order, completely, and is not asked to start somewhere", async () => {
  const store = await open("storj-unsorted", { provider: "Storj" });
  const keys = Array.from({ length: 30 }, (_, index) => `k${index}`);
  for (const key of keys) await store.put(key, text("v"));
  const listed = await listKeys(store);
  expect(listed).not.toEqual(listed.toSorted());
  expect(listed.toSorted()).toEqual(keys.toSorted());
  expect(store.properties.listingSorted).toBe(false);
  const listFrom = store.list("", { startAfter: "k1" })[Symbol.asyncIterator]();
  await expect(listFrom.next()).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
});

it("Fastly gets no multipart upload, and its ETag is not looked at", async () => {
  const store = await open("opaque-etag", { provider: "Fastly" });
  await store.put("k", streamed(300_000));
  expect(await store.head("k")).toMatchObject({ size: 300_000 });
});

it("a store with LIST 1 only is found out, and not taken for empty or endless", async () => {
  const store = await open("list-v1-only", { provider: "Minio" });
  for (let first = 0; first < 1100; first += 50) {
    const batch = Array.from({ length: Math.min(50, 1100 - first) }, (_, index) => first + index);
    await Promise.all(batch.map((index) => store.put(`k${index}`, text("v"))));
  }
  await expect(listKeys(store)).rejects.toMatchObject({
    code: "STORE_FAILED",
    message: expect.stringContaining("does not go on"),
    hint: expect.stringContaining("LIST 2"),
  });
});

it("without permission to list, a missing object is FORBIDDEN and never NOT_FOUND", async () => {
  const store = await open("no-list-permission", { provider: "AWS" });
  const forbidden = { code: "FORBIDDEN", hint: expect.stringContaining("s3:ListBucket") };
  await expect(store.get("none")).rejects.toMatchObject(forbidden);
  await expect(store.head("none")).rejects.toMatchObject(forbidden);
  await expect(listKeys(store)).rejects.toMatchObject(forbidden);
});

describe("conditional writes", () => {
  it.each([
    ["aws", "AWS", "atomic"],
    ["tigris-stale-read", "Tigris", "atomic"],
    ["r2", "Cloudflare", "atomic"],
    ["early-judge", "Other", "not-atomic"],
    ["b2", "Backblaze", "refused"],
    ["garage-ignores", "Garage", "ignored"],
    ["ceph-ignores", "Ceph", "ignored"],
    ["oracle-200", "Oracle", "ignored"],
    ["gcs", "GCS", "ignored"],
    ["ceph-inverted", "Ceph", "inverted"],
  ] as const)("of %s are found %s %s", async (personality, provider, verdict) => {
    const store = await open(personality, { provider });
    const report = await probeConditionalWrites(store, { holdMs: 50 });
    expect(report).toMatchObject({ verdict, leftKeys: [] });
    expect(server.requests.length).toBeLessThanOrEqual(25);
    expect([...server.objects.keys()]).toEqual([]);
    for (const { key } of server.requests) expect(key).toMatch(/^p\/probe\/[0-9a-f]{32}\/claim$/);
  });
});

describe("addressing", () => {
  it("by virtual host puts the bucket before the host", async () => {
    server = await startS3Server();
    const { bucket, region, credentials, endpoint } = server;
    // Names below localhost lead to this machine (RFC 6761).
    const named = endpoint.replace("127.0.0.1", "localhost");
    const store = openObjectStore(
      { bucket, prefix: "p", endpoint: named, region, credentials, forcePathStyle: false },
      {},
    );
    const outcome = await store.put("k", text("v")).then(
      () => "stored",
      (error: unknown) => (error as { cause: { networkCode: string } }).cause.networkCode,
    );
    // Not every resolver knows them; then at least the name was asked for.
    expect(["stored", "ENOTFOUND", "EAI_AGAIN"]).toContain(outcome);
    if (outcome === "stored") expect(headersOf("PutObject")[0]?.["host"]).toContain(`${bucket}.`);
  });

  it("keeps keys below the prefix, whose slashes are trimmed and joined", async () => {
    const store = await open("aws", { prefix: "//a///b/" });
    await store.put("k/l", text("v"));
    expect([...server.objects.keys()]).toEqual(["a/b/k/l"]);
    expect(await listKeys(store)).toEqual(["k/l"]);
  });

  it("sends an ACL only if one is set and the provider knows them", async () => {
    const store = await open("aws", { provider: "Other", acl: "private" });
    await store.put("k", text("v"));
    expect(headersOf("PutObject")[0]?.["x-amz-acl"]).toBe("private");
    await server.stop();
    await (await open("aws", { provider: "Cloudflare", acl: "private" })).put("k", text("v"));
    await (await open("aws", { provider: "Other" })).put("k", text("v"));
    expect(headersOf("PutObject")[0]).not.toHaveProperty("x-amz-acl");
  });
});

it("leaves out objects of other tools whose names are no keys of ours", async () => {
  const store = await open("aws", {});
  await store.put("k", text("v"));

  for (const name of ["p/.hidden", "p/with space", "p/folder/", "p//x", "q/k"]) {
    const path = `/${server.bucket}/${name}`;
    const { status } = await sendS3Request(server, { method: "PUT", path, body: "v" });
    expect(status).toBe(200);
  }
  expect(await listKeys(store)).toEqual(["k"]);
});

it("keeps the time of the content as Litestream does", async () => {
  const store = await open("aws", {});
  await store.put("k", text("v"), { timestamp: new Date("2026-08-04T15:55:39.120Z") });
  expect(server.objects.get("p/k")?.metadata).toEqual({
    "litestream-timestamp": "2026-08-04T15:55:39.120Z",
  });
});
