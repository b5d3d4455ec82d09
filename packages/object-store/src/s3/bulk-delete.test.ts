import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import {
  type S3FaultRule,
  type S3Operation,
  type S3PersonalityName,
  type S3Server,
  startS3Server,
} from "@vaultwarden-stream/testkit";
import { afterEach, describe, expect, it, onTestFinished } from "vitest";
import type { ObjectStore } from "../object-store.ts";
import { openObjectStore } from "../open-store.ts";
import { RetryingStore } from "../retrying-store.ts";
import { decodeBulkDelete, encodeBulkDelete } from "./bulk-delete.ts";
import type { S3Location } from "./s3-settings.ts";

// Goal: many objects go by few requests where the store can do it, and go all the same where it cannot; and what is called gone is gone.

let server: S3Server;
afterEach(() => server?.stop());

async function open(
  personality: S3PersonalityName,
  location: Partial<S3Location> = {},
): Promise<ObjectStore> {
  server = await startS3Server({ personality });
  const { bucket, endpoint, region, credentials } = server;
  return openObjectStore(
    { bucket, prefix: "p", endpoint, region, credentials, forcePathStyle: true, ...location },
    {},
  );
}

const empty = new Uint8Array();
const keysTo = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `k/${String(index).padStart(4, "0")}`);

async function fill(store: ObjectStore, keys: readonly string[]): Promise<void> {
  for (const key of keys) await store.put(key, empty);
  server.clearRequests();
}

const there = (prefix = "p/"): string[] =>
  [...server.objects.keys()].map((key) => key.slice(prefix.length));
const requests = (): Partial<Record<S3Operation, number>> =>
  Object.fromEntries(
    [...Map.groupBy(server.requests, ({ operation }) => operation)].map(([name, all]) => [
      name,
      all.length,
    ]),
  );
const partly = (keyPattern: string, code?: string): S3FaultRule => ({
  match: { operation: "DeleteObjects" },
  fault: { kind: "partly", keyPattern, ...(code === undefined ? {} : { code }) },
  times: 1,
});

/** A server that gives this answer to every bulk delete, and takes every single one. */
async function answering(document: string) {
  const methods: (string | undefined)[] = [];
  const raw = createServer(({ method }, response) => {
    methods.push(method);
    response.writeHead(method === "POST" ? 200 : 204).end(method === "POST" ? document : undefined);
  });
  await new Promise<void>((resolve) => raw.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    raw.closeAllConnections();
    raw.close();
  });
  const { port } = raw.address() as AddressInfo;
  const store = await open("aws", { endpoint: `http://127.0.0.1:${port}` });
  return { store, methods };
}

describe("a store that takes bulk deletes", () => {
  it("is asked once for each 1,000 keys, with an MD5 and a signed SHA-256", async () => {
    const store = await open("strict-md5");
    const keys = keysTo(2001);
    await fill(store, [...keys.filter((_, index) => index % 100 === 0), "other"]);
    await store.deleteAll(keys);
    expect(there()).toEqual(["other"]);
    expect(server.requests.map(({ operation }) => operation)).toEqual(
      Array(3).fill("DeleteObjects"),
    );
    for (const { headers } of server.requests) {
      expect(headers["content-md5"]).toMatch(/^.{22}==$/);
      expect(headers["x-amz-content-sha256"]).toMatch(/^[0-9a-f]{64}$/);
      expect(Object.keys(headers).filter((name) => /checksum|crc|trailer/.test(name))).toEqual([]);
    }
  });

  it("has the checksum that Object Lock wants too, on AWS", async () => {
    const store = await open("aws", { provider: "AWS" });
    await fill(store, ["a"]);
    await store.deleteAll(["a"]);
    const headers = server.requests[0]?.headers;
    const signed = Buffer.from(headers?.["x-amz-content-sha256"] ?? "", "hex");
    expect(headers?.["x-amz-checksum-sha256"]).toBe(signed.toString("base64"));
    expect(there()).toEqual([]);
  });

  it("understands every prefix that a bucket may have", async () => {
    const prefix = "R&D <a> \"b\" 'c' é ]]>";
    const store = await open("aws", { prefix });
    await fill(store, ["a", "b"]);
    await store.deleteAll(["a"]);
    expect(there(`${prefix}/`)).toEqual(["b"]);
    expect(requests()).toEqual({ DeleteObjects: 1 });
  });

  it("says of each key what became of it, and another attempt asks for what is left", async () => {
    const store = await open("aws");
    await fill(store, keysTo(10));
    server.setFaults([partly("k/000[3-5]$", "InternalError")]);
    await expect(store.deleteAll(keysTo(10))).rejects.toMatchObject({
      code: "STORE_FAILED",
      operation: "deleteAll",
      key: "k/0003",
      leftKeys: ["k/0003", "k/0004", "k/0005"],
      message: expect.stringMatching(/3 of 10 objects are left.*InternalError/),
    });
    expect(there()).toEqual(["k/0003", "k/0004", "k/0005"]);

    await fill(store, keysTo(10));
    server.setFaults([partly("k/000[3-5]$", "SlowDown")]);
    await new RetryingStore(store, { budgetMs: 5000, delayMsMin: 1 }).deleteAll(keysTo(10));
    expect(there()).toEqual([]);
    const [first, second] = server.requests;
    expect(server.requests).toHaveLength(2);
    expect(second?.requestBytes).toBeLessThan((first?.requestBytes ?? 0) / 2);
  });

  it("may forbid some of them: these are left, and asked for once more only if others may still go", async () => {
    const store = new RetryingStore(await open("aws"), { budgetMs: 5000, delayMsMin: 1 });
    await fill(store, keysTo(4));
    server.setFaults([partly("k/000[12]$", "AccessDenied")]);
    await expect(store.deleteAll(keysTo(4))).rejects.toMatchObject({
      code: "FORBIDDEN",
      hint: expect.stringContaining("s3:DeleteObject"),
      leftKeys: ["k/0001", "k/0002"],
    });
    expect(requests()).toEqual({ DeleteObjects: 1 });
  });

  it("that fails for several reasons is worth another attempt while one of them may pass", async () => {
    const { store, methods } = await answering(
      "<DeleteResult><Error><Key>p/a</Key><Code>AccessDenied</Code></Error><Deleted><Key>p/b</Key></Deleted><Error><Key>p/c</Key><Code>SlowDown</Code></Error></DeleteResult>",
    );
    await expect(store.deleteAll(["a", "b", "c"])).rejects.toMatchObject({
      code: "THROTTLED",
      leftKeys: ["a", "c"],
    });
    expect(methods).toEqual(["POST"]);
  });

  it("that speaks of keys which nobody asked for has said nothing of ours", async () => {
    const { store, methods } = await answering(
      "<DeleteResult><Deleted><Key>q/a</Key></Deleted><Error><Key>q/b</Key><Code>AccessDenied</Code></Error></DeleteResult>",
    );
    await store.deleteAll(["a", "b"]);
    expect(methods).toEqual(["POST", "DELETE", "DELETE"]);
  });

  it("may call what is not there an error", async () => {
    const store = await open("aws");
    await fill(store, ["a"]);
    server.setFaults([partly("never", "NoSuchKey")]);
    await store.deleteAll(["never", "a"]);
    expect(requests()).toEqual({ DeleteObjects: 1 });
  });

  it("ends with the request that fails: what comes behind it is left", async () => {
    const store = await open("aws");
    await fill(
      store,
      keysTo(2100).filter((_, index) => index % 300 === 0),
    );
    server.setFaults([
      {
        match: { operation: "DeleteObjects", nth: 2 },
        fault: { kind: "answer", status: 503, headers: { "retry-after": "7" } },
      },
    ]);
    await expect(store.deleteAll(keysTo(2100))).rejects.toMatchObject({
      code: "THROTTLED",
      retryAfterMs: 7000,
      leftKeys: keysTo(2100).slice(1000),
    });
    expect(requests()).toEqual({ DeleteObjects: 2 });
  });

  it.each([
    ["is lost", { kind: "drop", when: "after" }, "UNREACHABLE"],
    ["breaks off", { kind: "truncate", atByte: 150 }, "UNREACHABLE"],
    ["is cut", { kind: "malformed-xml" }, "STORE_FAILED"],
    [
      "is an error inside of a success",
      { kind: "answer", status: 200, code: "SlowDown" },
      "THROTTLED",
    ],
  ] as const)("whose answer %s has said nothing", async (_, fault, code) => {
    const store = await open("aws");
    await fill(store, keysTo(3));
    server.setFaults([{ match: {}, fault, times: 1 }]);
    await expect(store.deleteAll(keysTo(3))).rejects.toMatchObject({ code, leftKeys: keysTo(3) });
    expect(requests()).toEqual({ DeleteObjects: 1 });
    await store.deleteAll(keysTo(3));
    expect(requests()).toEqual({ DeleteObjects: 2 });
    expect(there()).toEqual([]);
  });

  it("that is no store but a page has deleted nothing", async () => {
    const { store, methods } = await answering("<html>Sign in to use this network</html>");
    await expect(store.deleteAll(["a"])).rejects.toMatchObject({
      code: "STORE_FAILED",
      leftKeys: ["a"],
    });
    expect(methods).toEqual(["POST"]);
  });

  it("is not asked for the rest after an abort", async () => {
    const store = await open("aws");
    const controller = new AbortController();
    const reason = new Error("shutting down");
    await fill(store, ["a"]);
    server.setFaults([{ match: {}, fault: { kind: "stall", during: "request" } }]);
    const outcome = expect(
      store.deleteAll(keysTo(1001), { signal: controller.signal }),
    ).rejects.toBe(reason);
    await expect.poll(() => server.requests).toHaveLength(1);
    controller.abort(reason);
    await outcome;
    expect(requests()).toEqual({ DeleteObjects: 1 });
  });
});

describe("a store that takes none", () => {
  const refusing = (status: number, code: string): S3FaultRule => ({
    match: { operation: "DeleteObjects" },
    fault: { kind: "answer", status, code },
  });

  it.each([
    [501, "NotImplemented"],
    [400, "NotImplemented"],
    [405, "MethodNotAllowed"],
    [400, "InvalidRequest"],
    [400, "InvalidDigest"],
    [403, "AccessDenied"],
    [404, "NoSuchKey"],
  ])("and says %i %s is asked for each object, and not in bulk again", async (status, code) => {
    const store = await open("aws");
    await fill(store, keysTo(20));
    server.setFaults([refusing(status, code)]);
    await store.deleteAll(keysTo(10));
    await store.deleteAll(keysTo(20));
    expect(there()).toEqual([]);
    expect(requests()).toEqual({ DeleteObjects: 1, DeleteObject: 30 });
  });

  it("is asked a few at once", async () => {
    const store = await open("gcs", { profile: { bulkDelete: false } });
    await fill(store, keysTo(30));
    let most = 0;
    server.setFaults(() => {
      const unanswered = server.requests.filter(({ status }) => status === undefined);
      most = Math.max(most, unanswered.length + 1);
      return { kind: "latency", ms: 20 };
    });
    await store.deleteAll(keysTo(30));
    expect(there()).toEqual([]);
    expect(most).toBeGreaterThan(2);
    expect(most).toBeLessThanOrEqual(8);
  });

  it("and whose single deletes fail has said why, and which are left", async () => {
    const store = await open("aws");
    await fill(store, keysTo(100));
    server.setFaults([
      refusing(403, "AccessDenied"),
      {
        match: { operation: "DeleteObject", keyPattern: "k/00[3-9]" },
        fault: { kind: "answer", status: 403 },
      },
    ]);
    const error = await store.deleteAll(keysTo(100)).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: "FORBIDDEN",
      hint: expect.stringContaining("s3:DeleteObject"),
    });
    const { leftKeys } = error as { leftKeys: string[] };
    expect(leftKeys.toSorted()).toEqual(there().toSorted());
    // Those that were under way.
    expect(requests().DeleteObject).toBeLessThanOrEqual(30 + 8);
    // It may take the next bulk: what forbids the one forbids the other.
    await store.deleteAll(["never"]).catch(() => undefined);
    expect(requests().DeleteObjects).toBe(2);
  });

  it("and answers as if it did is found out: nothing is said of any key", async () => {
    const store = await open("r2");
    await fill(store, keysTo(10));
    await store.deleteAll(keysTo(10));
    expect(there()).toEqual([]);
    await store.deleteAll(keysTo(10));
    expect(requests()).toEqual({ DeleteObjects: 1, DeleteObject: 20 });
  });

  it("of some keys, of which it says nothing, is asked for these", async () => {
    const store = await open("aws");
    await fill(store, keysTo(10));
    server.setFaults([partly("k/000[3-5]$")]);
    await store.deleteAll(keysTo(10));
    expect(there()).toEqual([]);
    expect(requests()).toEqual({ DeleteObjects: 1, DeleteObject: 3 });
  });

  it.each(["GCS", "Cloudflare"])("is not tried: %s", async (provider) => {
    const store = await open("gcs", { provider });
    await fill(store, keysTo(3));
    await store.deleteAll(keysTo(3));
    expect(requests()).toEqual({ DeleteObject: 3 });
    expect(there()).toEqual([]);
  });
});

describe("the documents of a bulk delete", () => {
  it("name keys as they are", () => {
    const body = new TextDecoder().decode(encodeBulkDelete(["a/b", `<&>"'é`]));
    expect(body).toBe(
      '<?xml version="1.0" encoding="UTF-8"?>\n<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Object><Key>a/b</Key></Object><Object><Key>&#60;&#38;&#62;&#34;&#39;é</Key></Object></Delete>',
    );
    expect(createHash("md5").update(body).digest("base64")).toHaveLength(24);
  });

  it("are read in the forms that stores write", () => {
    const xmlns = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';
    expect(
      decodeBulkDelete(
        `<?xml version="1.0"?>\n<DeleteResult${xmlns}>
          <Deleted><Key>a</Key></Deleted>
          <Deleted>\n<DeleteMarker>true</DeleteMarker><Key>b&amp;&#x3C;&#62;&quot;&apos;</Key></Deleted>
          <Error><Key>c</Key><Code>AccessDenied</Code><Message>Access &lt;Denied&gt;</Message></Error>
        </DeleteResult>\n`,
      ),
    ).toEqual({
      deleted: ["a", `b&<>"'`],
      failures: [{ key: "c", code: "AccessDenied", message: "Access <Denied>" }],
    });
    for (const nothing of [
      "<DeleteResult/>",
      `<DeleteResult${xmlns}/>`,
      "<DeleteResult ></DeleteResult>",
    ])
      expect(decodeBulkDelete(nothing)).toEqual({ deleted: [], failures: [] });
  });

  it.each([
    "",
    "<html></html>",
    "<Error><Code>InternalError</Code></Error>",
    "<DeleteResult><Deleted><Key>a</Key></Deleted>",
    "<DeleteResults/>",
    "<DeleteResult><Deleted><Key>a</Key></Deleted></DeleteResult",
  ])("are none: %j", (document) => {
    expect(decodeBulkDelete(document)).toBeUndefined();
  });
});
