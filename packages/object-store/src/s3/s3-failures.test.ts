import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { inspect } from "node:util";
import {
  type S3Fault,
  type S3Operation,
  type S3Server,
  startS3Server,
} from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ObjectStore } from "../object-store.ts";
import { openObjectStore } from "../open-store.ts";
import { RetryingStore } from "../retrying-store.ts";
import { probeConditionalWrites } from "./probe.ts";
import type { S3Location } from "./s3-settings.ts";

// Goal: each thing that goes wrong between us and a store has its own code, a hint, and no secret. Method: one fault, one request.

const canaries = {
  accessKeyId: "CANARYACCESSKEYID000",
  secretAccessKey: "canary-secret-access-key-0123456789",
  sessionToken: "canary-session-token",
};

let server: S3Server;
beforeEach(async () => {
  server = await startS3Server({ credentials: canaries });
});
afterEach(() => server.stop());

function open(location: Partial<S3Location> = {}): ObjectStore {
  const { bucket, endpoint, region } = server;
  return openObjectStore(
    {
      bucket,
      prefix: "p",
      endpoint,
      region,
      credentials: canaries,
      provider: "Other",
      ...location,
    },
    {},
  );
}

const text = (content: string) => new TextEncoder().encode(content);

async function readAll(store: ObjectStore, key: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await store.get(key)).body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const requests: Readonly<Record<string, (store: ObjectStore) => Promise<unknown>>> = {
  put: (store) => store.put("k", text("value")),
  putIfAbsent: (store) => store.putIfAbsent("new", text("value")),
  get: (store) => readAll(store, "k"),
  head: (store) => store.head("k"),
  list: (store) => store.list("")[Symbol.asyncIterator]().next() as Promise<unknown>,
  delete: (store) => store.delete("k"),
  deleteAll: (store) => store.deleteAll(["k"]),
};
const operations = Object.keys(requests);

async function failWith(fault: S3Fault, operation: string, store = open()): Promise<unknown> {
  server.setFaults();
  await open().put("k", text("value"));
  server.setFaults([{ match: {}, fault }]);
  const error = await requests[operation]?.(store).then(
    (value) => expect.unreachable(`${operation} gave ${inspect(value)}`),
    (reason: unknown) => reason,
  );
  expectNoSecret(error);
  expect(error).toMatchObject({ name: "ObjectStoreError", operation });
  return error;
}

function expectNoSecret(value: unknown): void {
  const shown = inspect(value, { depth: 10, showHidden: true, getters: true });
  for (const secret of Object.values(canaries)) expect(shown).not.toContain(secret);
  expect(shown).not.toMatch(/AWS4-HMAC|authorization|x-amz-security-token/i);
}

describe.each(operations)("%s", (operation) => {
  it.each([
    [403, "AccessDenied", "FORBIDDEN", /Give the credentials/],
    [403, "InvalidAccessKeyId", "FORBIDDEN", /does not know the access key ID/],
    [403, "SignatureDoesNotMatch", "FORBIDDEN", /secret access key/],
    [400, "ExpiredToken", "FORBIDDEN", /temporary credentials/],
    [404, "NoSuchBucket", "FORBIDDEN", /Correct the bucket's name/],
    [301, "PermanentRedirect", "FORBIDDEN", /another endpoint/],
    [501, "NotImplemented", "FORBIDDEN", /refuses the request as it is/],
    [400, "RequestTimeout", "UNREACHABLE", /Look whether/],
    [408, "RequestTimeout", "THROTTLED", /left alone/],
    [429, "TooManyRequests", "THROTTLED", /left alone/],
    [503, "SlowDown", "THROTTLED", /left alone/],
    [409, "OperationAborted", "STORE_FAILED", /sent again/],
    [500, "InternalError", "STORE_FAILED", /failure of its own/],
    [502, "BadGateway", "STORE_FAILED", /failure of its own/],
    [504, "GatewayTimeout", "STORE_FAILED", /failure of its own/],
    [507, "InsufficientStorage", "OUT_OF_SPACE", /no room left/],
    [404, "ThePageOfAProxy", "STORE_FAILED", /may not be S3/],
  ])("of %i %s is told apart", async (status, code, expected, hint) => {
    const error = await failWith({ kind: "answer", status, code }, operation);
    if (operation === "head") {
      // The answer to HEAD has no body, so only its status is known.
      expect(error).not.toMatchObject({ code: "NOT_FOUND" });
      return;
    }
    expect(error).toMatchObject({
      code: expected,
      hint: hint === undefined ? undefined : expect.stringMatching(hint),
    });
  });

  it.each([
    ["a connection that ends before", { kind: "drop", when: "before" }],
    ["a connection that ends after the commit", { kind: "drop", when: "after" }],
  ] satisfies [string, S3Fault][])("of %s is UNREACHABLE", async (_, fault) => {
    expect(await failWith(fault, operation)).toMatchObject({
      code: "UNREACHABLE",
      retryable: true,
      hint: expect.stringContaining(server.endpoint),
    });
  });

  it.each([{ answerMs: 200 }, { silenceMs: 200 }])(
    "of a store that says nothing is UNREACHABLE after %j",
    async (timeouts) => {
      const store = open({ timeouts });
      const error = await failWith({ kind: "stall", during: "headers" }, operation, store);
      expect(error).toMatchObject({
        code: "UNREACHABLE",
        // A body has its time on top of it.
        message: expect.stringMatching(/20\d ms/),
      });
    },
  );

  it("of a server that is away is UNREACHABLE, and passes when it is back", async () => {
    const store = open();
    await store.put("k", text("value"));
    await server.pause();
    await expect(requests[operation]?.(store)).rejects.toMatchObject({ code: "UNREACHABLE" });
    await server.resume();
    await requests[operation]?.(store);
  });
});

describe("absence", () => {
  it("is what the store says by NoSuchKey, of head too", async () => {
    const store = open();
    await expect(store.get("none")).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(store.head("none")).rejects.toMatchObject({
      code: "NOT_FOUND",
      operation: "head",
    });
  });

  it("of the bucket is none of the object", async () => {
    const store = open({ bucket: "no-such-bucket" });
    for (const operation of operations) {
      await expect(requests[operation]?.(store)).rejects.toMatchObject({
        code: "FORBIDDEN",
        retryable: false,
        message: expect.stringContaining("the bucket no-such-bucket does not exist"),
      });
    }
  });

  it.each(["put", "putIfAbsent", "list"])("is no answer to %s", async (operation) => {
    const error = await failWith({ kind: "answer", status: 404, code: "NoSuchKey" }, operation);
    expect(error).toMatchObject({ code: "STORE_FAILED" });
  });

  it("of an object is a success of delete", async () => {
    server.setFaults([{ match: {}, fault: { kind: "answer", status: 404, code: "NoSuchKey" } }]);
    await open().delete("none");
  });
});

describe("the hint", () => {
  it("says where the bucket is, and nobody goes there with a signed request", async () => {
    const headers = { "x-amz-bucket-region": "eu-west-3", location: "http://127.0.0.1:1/" };
    for (const status of [301, 307]) {
      const error = await failWith(
        { kind: "answer", status, code: "TemporaryRedirect", headers },
        "put",
      );
      expect(error).toMatchObject({
        code: "FORBIDDEN",
        hint: expect.stringMatching(/eu-west-3.*us-east-1/),
      });
    }
    expect(server.requests.filter(({ status }) => status !== 200)).toHaveLength(2);
  });

  it("says how far the clocks are apart", async () => {
    server.advanceClock(-3_600_000);
    await expect(open().put("k", text("v"))).rejects.toMatchObject({
      code: "FORBIDDEN",
      message: expect.stringMatching(
        /RequestTimeTooSkewed.*clock is 3(599|600|601) s ahead of the store's/,
      ),
      hint: expect.stringContaining("Set the clock"),
    });
  });

  it("says when to come back", async () => {
    const headers = { "retry-after": "7" };
    const error = await failWith({ kind: "answer", status: 503, code: "SlowDown", headers }, "put");
    expect(error).toMatchObject({ code: "THROTTLED", retryAfterMs: 7000 });
  });

  it("names the name server, of a host that nobody knows", async () => {
    const store = open({ endpoint: "http://store.invalid" });
    await expect(store.head("k")).rejects.toMatchObject({
      code: "UNREACHABLE",
      hint: expect.stringContaining("name of the endpoint http://store.invalid is not found"),
    });
  });

  it("names TLS where the server does not speak it", async () => {
    const store = open({ endpoint: server.endpoint.replace("http:", "https:") });
    await expect(store.head("k")).rejects.toMatchObject({
      code: "UNREACHABLE",
      hint: expect.stringContaining("write http://"),
    });
  });
});

it("one answer with a wrong date does not spoil the signatures that follow", async () => {
  const store = open();
  server.setFaults([{ match: {}, fault: { kind: "date", offsetMs: 86_400_000 }, times: 1 }]);
  await store.put("k", text("v"));
  await store.put("k", text("w"));
  expect(server.requests.map(({ status }) => status)).toEqual([200, 200]);
});

describe("a listing", () => {
  const listWith = (fault: S3Fault) => failWith(fault, "list");

  it("that is cut is no shorter listing", async () => {
    expect(await listWith({ kind: "malformed-xml" })).toMatchObject({ code: "STORE_FAILED" });
    expect(await listWith({ kind: "truncate", atByte: 100 })).toMatchObject({ retryable: true });
    expect(await listWith({ kind: "reset", during: "response", atByte: 100 })).toMatchObject({
      code: "UNREACHABLE",
    });
  });

  it("that is an error inside of a success is a failure", async () => {
    const fault = { kind: "answer", status: 200, code: "InternalError" } as const;
    expect(await listWith(fault)).toMatchObject({ code: "STORE_FAILED" });
  });
});

describe.each(["", "<html>Sign in to use this network</html>", "not even that"])(
  "a proxy that answers everything with 200 and %j",
  (page) => {
    it.each(operations.filter((operation) => operation !== "delete"))(
      "is no store that did a %s",
      async (operation) => {
        const proxy = createServer((incoming, outgoing) => {
          incoming.resume().on("end", () => outgoing.end(page));
        });
        await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
        try {
          const { port } = proxy.address() as AddressInfo;
          const store = open({ endpoint: `http://127.0.0.1:${port}` });
          await expect(requests[operation]?.(store)).rejects.toMatchObject({
            code: "STORE_FAILED",
            hint: expect.stringContaining("may not be S3"),
          });
        } finally {
          proxy.closeAllConnections();
          proxy.close();
        }
      },
    );
  },
);

it("a PUT whose success is an error inside is not stored", async () => {
  const fault = { kind: "answer", status: 200, code: "InternalError" } as const;
  for (const operation of ["put", "putIfAbsent"]) {
    expect(await failWith(fault, operation)).toMatchObject({ code: "STORE_FAILED" });
  }
});

describe("the body of a get", () => {
  const content = new Uint8Array(500_000).fill(7);

  it.each([
    ["is cut", { kind: "truncate", atByte: 200_000 }],
    ["is reset", { kind: "reset", during: "response", atByte: 200_000 }],
    ["stalls", { kind: "stall", during: "body", atByte: 200_000 }],
  ] satisfies [string, S3Fault][])("that %s is an error, and is resumed", async (_, fault) => {
    const store = open({ timeouts: { silenceMs: 300 } });
    await store.put("k", content);
    server.setFaults([{ match: { operation: "GetObject" }, fault, times: 1 }]);
    const error = await readAll(store, "k").catch((reason: unknown) => reason);
    expectNoSecret(error);
    expect(error).toMatchObject({
      code: "UNREACHABLE",
      message: expect.stringContaining("at byte"),
    });

    server.setFaults([{ match: { operation: "GetObject" }, fault, times: 1 }]);
    const retrying = new RetryingStore(store, { budgetMs: 5000, delayMsMin: 1 });
    expect(Buffer.compare(await readAll(retrying, "k"), content)).toBe(0);
  });
});

describe("a body that is stored", () => {
  it("and changed on its way is refused, since its hash is signed", async () => {
    const error = await failWith({ kind: "garble", during: "request" }, "put");
    expect(error).toMatchObject({ code: "BODY_MISMATCH", retryable: true });
  });

  it("and differs when it is opened again is refused", async () => {
    let openingCount = 0;
    const body = {
      size: 100_000,
      open: async function* () {
        yield new Uint8Array(100_000).fill(openingCount++);
      },
    };
    await expect(open().put("k", body)).rejects.toMatchObject({ code: "BODY_MISMATCH" });
    expect([...server.objects.keys()]).toEqual([]);
  });

  it.each(["throws", "ends early"])(
    "and %s when it is opened again stores nothing",
    async (how) => {
      const failure = new Error("the spool is broken");
      let openingCount = 0;
      const body = {
        size: 300_000,
        open: async function* () {
          openingCount++;
          yield new Uint8Array(100_000);
          if (openingCount === 1) yield new Uint8Array(200_000);
          else if (how === "throws") throw failure;
        },
      };
      const outcome = open().put("k", body);
      await (how === "throws"
        ? expect(outcome).rejects.toBe(failure)
        : expect(outcome).rejects.toMatchObject({ code: "BODY_MISMATCH" }));
      expect([...server.objects.keys()]).toEqual([]);
    },
  );
});

describe("create if absent", () => {
  const retrying = () => new RetryingStore(open(), { budgetMs: 5000, delayMsMin: 1 });
  const on = (operation: S3Operation, fault: S3Fault, times = 1) => ({
    match: { operation },
    fault,
    times,
  });

  it.each([
    ["a lost answer", { kind: "drop", when: "after" }],
    ["a 500 after the commit", { kind: "answer", status: 500, when: "after" }],
  ] satisfies [string, S3Fault][])("knows its own object after %s", async (_, fault) => {
    server.setFaults([on("PutObject", fault)]);
    expect(await retrying().putIfAbsent("k", text("nonce 1"))).toBe("created");
    expect(server.requests.map(({ status }) => status)).toEqual([
      fault.kind === "drop" ? undefined : 500,
      412,
      200,
    ]);
  });

  it("knows another's object after a lost answer", async () => {
    await open().put("k", text("nonce 2"));
    server.setFaults([on("PutObject", { kind: "drop", when: "after" })]);
    expect(await retrying().putIfAbsent("k", text("nonce 1"))).toBe("exists");
  });

  it("takes a 409 for nothing decided, and asks again", async () => {
    server.setFaults([on("PutObject", { kind: "answer", status: 409 }, 2)]);
    expect(await retrying().putIfAbsent("k", text("nonce 1"))).toBe("created");
    expect(server.requests).toHaveLength(3);
  });

  it("sends the request again if what was in the way is not there when it is read", async () => {
    server.setFaults([
      { match: { operation: "PutObject", nth: 1 }, fault: { kind: "drop", when: "before" } },
      { match: { operation: "PutObject", nth: 2 }, fault: { kind: "answer", status: 412 } },
    ]);
    expect(await retrying().putIfAbsent("k", text("nonce 1"))).toBe("created");
    expect(server.requests.map(({ status }) => status)).toEqual([undefined, 412, 404, 200]);
  });

  it("has no verdict where the store fails, within 25 requests", async () => {
    server.setFaults([on("PutObject", { kind: "answer", status: 500 }, 100)]);
    const report = await probeConditionalWrites(open(), { holdMs: 10 });
    expect(report).toMatchObject({ verdict: "no-verdict" });
    expect(server.requests.length).toBeLessThanOrEqual(25);
  });

  it("has a verdict where the store fails now and then", async () => {
    server.setFaults([
      {
        match: { operation: "PutObject" },
        fault: { kind: "answer", status: 503 },
        skip: 2,
        times: 1,
      },
    ]);
    const report = await probeConditionalWrites(open(), { holdMs: 10 });
    expect(report).toMatchObject({ verdict: "atomic" });
    expect(server.requests.length).toBeLessThanOrEqual(25);
  });

  it("has a verdict with credentials that may not delete, and says what is left", async () => {
    server.setFaults([on("DeleteObject", { kind: "answer", status: 403 }, 100)]);
    const report = await probeConditionalWrites(open(), { holdMs: 10 });
    expect(report).toMatchObject({ verdict: "atomic" });
    expect(report.leftKeys).toHaveLength(4);
  });

  it("is not judged where we may not write at all", async () => {
    server.setFaults([on("PutObject", { kind: "answer", status: 403 }, 100)]);
    await expect(probeConditionalWrites(open())).rejects.toMatchObject({ code: "FORBIDDEN" });
  });
});
