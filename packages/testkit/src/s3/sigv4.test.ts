import { createHash } from "node:crypto";
import { request as openRequest } from "node:http";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type S3Server, startS3Server } from "./s3-server.ts";
import {
  receiveS3Answer,
  type S3RawAnswer,
  type S3RawRequest,
  sendS3Request,
} from "./send-s3-request.ts";
import { computeChunkSignature, computeSignature, sha256Hex } from "./sigv4.ts";

// The examples of "Authenticating Requests: Using the Authorization Header" in the S3 API reference.
const credentials = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
};
const host = "examplebucket.s3.amazonaws.com";
const amzDate = "20130524T000000Z";
const scope = { amzDate, region: "us-east-1", secretAccessKey: credentials.secretAccessKey };

interface Example {
  readonly name: string;
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly signature: string;
  readonly status: number;
}

const examples: readonly Example[] = [
  {
    name: "GET of a range",
    method: "GET",
    url: "/test.txt",
    headers: { range: "bytes=0-9" },
    body: "",
    signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    status: 404,
  },
  {
    name: "PUT with a $ in the key",
    method: "PUT",
    url: "/test$file.text",
    headers: {
      date: "Fri, 24 May 2013 00:00:00 GMT",
      "x-amz-storage-class": "REDUCED_REDUNDANCY",
    },
    body: "Welcome to Amazon S3.",
    signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    status: 200,
  },
  {
    name: "GET of a parameter without a value",
    method: "GET",
    url: "/?lifecycle",
    headers: {},
    body: "",
    signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    status: 501,
  },
  {
    name: "a listing",
    method: "GET",
    url: "/?max-keys=2&prefix=J",
    headers: {},
    body: "",
    signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    status: 200,
  },
];

function signedHeadersOf(example: Example): Record<string, string> {
  return {
    host,
    ...example.headers,
    "x-amz-content-sha256": sha256Hex(example.body),
    "x-amz-date": amzDate,
  };
}

describe("signatures", () => {
  test.each(examples)("AWS's example: $name", (example) => {
    const url = new URL(example.url, "http://host");
    const headers = signedHeadersOf(example);
    const request = {
      method: example.method,
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers,
      payloadHash: sha256Hex(example.body),
    };
    expect(computeSignature(request, Object.keys(headers), scope)).toBe(example.signature);
  });

  test("AWS's example of a body in signed chunks", () => {
    const seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    const first = computeChunkSignature(seed, Buffer.alloc(65_536, "a"), scope);
    expect(first).toBe("ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648");
    const second = computeChunkSignature(first, Buffer.alloc(1024, "a"), scope);
    expect(second).toBe("0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497");
    const last = computeChunkSignature(second, Buffer.alloc(0), scope);
    expect(last).toBe("b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9");
  });
});

describe("the server checks AWS's examples", () => {
  let server: S3Server;
  beforeEach(async () => {
    server = await startS3Server({
      bucket: "examplebucket",
      credentials,
      now: () => new Date("2013-05-24T00:10:00Z"),
    });
  });
  afterEach(() => server.stop());

  function send(
    example: Example,
    changes: Readonly<Record<string, string>>,
    url = example.url,
    body = example.body,
  ): Promise<S3RawAnswer> {
    const headers = signedHeadersOf(example);
    const request = openRequest(server.endpoint, {
      method: example.method,
      path: url,
      agent: false,
      headers: {
        ...headers,
        "content-length": String(body.length),
        authorization: `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/20130524/us-east-1/s3/aws4_request,SignedHeaders=${Object.keys(headers).sort().join(";")},Signature=${example.signature}`,
        ...changes,
      },
    });
    const answer = receiveS3Answer(request);
    request.end(body);
    return answer;
  }

  test.each(examples)("$name, by virtual host", async (example) => {
    expect((await send(example, {})).status).toBe(example.status);
  });

  test.each([
    { name: "another range", changes: { range: "bytes=0-8" } },
    { name: "another date", changes: { "x-amz-date": "20130524T000001Z" } },
    { name: "another host", changes: { host: "examplebucket.example.org" } },
    { name: "another path", changes: {}, url: "/test.tx" },
    { name: "another query", changes: {}, url: "/test.txt?x-id=GetObject" },
    { name: "another payload hash", changes: { "x-amz-content-sha256": sha256Hex("x") } },
  ])("refuses $name than the signed one", async ({ changes, url }) => {
    const answer = await send(examples[0] as Example, changes as Record<string, string>, url);
    expect(answer.status).toBe(403);
    expect(answer.body.toString()).toContain("<Code>SignatureDoesNotMatch</Code>");
  });

  test("refuses another body than the signed one, and stores nothing", async () => {
    const put = examples[1] as Example;
    const answer = await send(put, {}, put.url, "Welcome to Amazon S4.");
    expect(answer.body.toString()).toContain("<Code>XAmzContentSHA256Mismatch</Code>");
    expect(server.objects.size).toBe(0);
  });

  test("refuses x-amz headers that were not signed", async () => {
    const answer = await send(examples[1] as Example, { "x-amz-meta-nonce": "1" });
    expect(answer.status).toBe(403);
    expect(answer.body.toString()).toContain("not signed: x-amz-meta-nonce");
  });
});

describe("the server refuses", () => {
  let server: S3Server;
  beforeEach(async () => {
    server = await startS3Server();
  });
  afterEach(() => server.stop());

  const put = (more: Partial<S3RawRequest> = {}): S3RawRequest => ({
    method: "PUT",
    path: "/test-bucket/k",
    body: "v",
    ...more,
  });

  test.each([
    { minutes: 14, status: 200 },
    { minutes: -14, status: 200 },
    { minutes: 16, status: 403 },
    { minutes: -16, status: 403 },
  ])("a clock that is off by more than 15 minutes: $minutes", async ({ minutes, status }) => {
    const date = new Date(Date.now() + minutes * 60_000);
    const answer = await sendS3Request(server, put({ date }));
    expect(answer.status).toBe(status);
    if (status !== 200) expect(answer.body.toString()).toContain("RequestTimeTooSkewed");
  });

  test("unknown keys, wrong secrets, wrong regions, and requests that are not signed", async () => {
    const { accessKeyId, secretAccessKey } = server.credentials;
    const codeOf = async (target: Partial<S3Server>): Promise<string | undefined> => {
      await sendS3Request({ ...pickTarget(server), ...target }, put());
      return server.requests.at(-1)?.errorCode;
    };
    expect(await codeOf({ credentials: { accessKeyId: "OTHER", secretAccessKey } })).toBe(
      "InvalidAccessKeyId",
    );
    expect(await codeOf({ credentials: { accessKeyId, secretAccessKey: "other" } })).toBe(
      "SignatureDoesNotMatch",
    );
    expect(await codeOf({ credentials: { accessKeyId, secretAccessKey, sessionToken: "t" } })).toBe(
      "InvalidToken",
    );
    expect(await codeOf({ region: "eu-central-1" })).toBe("AuthorizationHeaderMalformed");
    const unsigned = await fetch(`${server.endpoint}/test-bucket/k`, { method: "PUT", body: "v" });
    expect(unsigned.status).toBe(403);
    expect(server.objects.size).toBe(0);
  });

  test("a session token that is missing or wrong, and takes the right one", async () => {
    const credentials = { accessKeyId: "A", secretAccessKey: "s", sessionToken: "token" };
    const temporary = await startS3Server({ credentials });
    expect((await sendS3Request(temporary, put())).status).toBe(200);
    const { sessionToken: _, ...lasting } = credentials;
    const answer = await sendS3Request({ ...pickTarget(temporary), credentials: lasting }, put());
    expect(answer.status).toBe(400);
    await temporary.stop();
  });

  test("damaged digests", async () => {
    const right = createHash("md5").update("v").digest("base64");
    expect((await sendS3Request(server, put({ headers: { "content-md5": right } }))).status).toBe(
      200,
    );
    for (const name of ["content-md5", "x-amz-checksum-crc32", "x-amz-checksum-sha256"]) {
      const answer = await sendS3Request(server, put({ headers: { [name]: "AAAAAA==" } }));
      expect(answer.body.toString()).toContain("<Code>BadDigest</Code>");
    }
  });

  test("keeps keys of every character apart, whatever their encoding", async () => {
    const keys = ["a b", "a+b", "a%20b", "ä/€", "a!*'()b", "a//b", "a/../b", "=&?#"];
    for (const key of keys) {
      const path = `/test-bucket/${key}`;
      expect((await sendS3Request(server, put({ path, body: key }))).status).toBe(200);
    }
    expect([...server.objects.keys()]).toEqual(keys);
  });

  test("shows no authorization in its log", async () => {
    await sendS3Request(server, put());
    expect(JSON.stringify(server.requests)).not.toMatch(/AWS4-HMAC|Signature=/);
  });
});

function pickTarget(server: S3Server): Pick<S3Server, "endpoint" | "region" | "credentials"> {
  const { endpoint, region, credentials } = server;
  return { endpoint, region, credentials };
}
