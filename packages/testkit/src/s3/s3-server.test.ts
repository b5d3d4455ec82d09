import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { s3Personalities } from "./s3-personalities.ts";
import { type S3Server, startS3Server } from "./s3-server.ts";
import { findElements, findText } from "./s3-xml.ts";
import {
  openS3Request,
  receiveS3Answer,
  type S3RawAnswer,
  type S3RawRequest,
  sendS3Request,
} from "./send-s3-request.ts";
import { computeChunkSignature, computeSignature, formatAmzDate } from "./sigv4.ts";

let server: S3Server;
beforeEach(async () => {
  server = await startS3Server({ personality: { ...s3Personalities.aws, partBytesMin: 3 } });
});
afterEach(() => server.stop());

function send(
  method: string,
  key: string,
  more: Omit<Partial<S3RawRequest>, "method" | "path"> = {},
): Promise<S3RawAnswer> {
  return sendS3Request(server, { method, path: `/${server.bucket}/${key}`, ...more });
}

async function list(query: Readonly<Record<string, string>>): Promise<string> {
  return (await send("GET", "", { query })).body.toString();
}

const codeOf = (answer: S3RawAnswer): string | undefined =>
  findText(answer.body.toString(), "Code");
const keysOf = (xml: string): string[] => findElements(xml, "Key");

describe("objects", () => {
  test("come back as they were put", async () => {
    const headers = { "x-amz-meta-nonce": 'a "b"', "x-amz-meta-none": "", "content-type": "x/y" };
    const put = await send("PUT", "a/b", { body: "hello", headers });
    const etag = `"${createHash("md5").update("hello").digest("hex")}"`;
    expect(put).toMatchObject({ status: 200, headers: { etag } });
    const get = await send("GET", "a/b");
    expect(get.body.toString()).toBe("hello");
    expect(get.headers).toMatchObject({ ...headers, etag, "content-length": "5" });
    const head = await send("HEAD", "a/b");
    expect(head.headers).toMatchObject({ ...headers, etag, "content-length": "5" });
    expect(Date.parse(get.headers["last-modified"] ?? "")).toBe(
      server.objects.get("a/b")?.lastModified.getTime(),
    );
    expect(get.headers["x-amz-request-id"]).not.toBe(head.headers["x-amz-request-id"]);
  });

  test("are replaced with their metadata, and deleted, once or twice", async () => {
    await send("PUT", "k", { body: "long", headers: { "x-amz-meta-n": "1" } });
    await send("PUT", "k", { body: "s" });
    expect(server.objects.get("k")).toMatchObject({ metadata: {}, body: Buffer.from("s") });
    expect((await send("DELETE", "k")).status).toBe(204);
    expect((await send("DELETE", "k")).status).toBe(204);
    const missing = await send("GET", "k");
    expect([missing.status, codeOf(missing)]).toEqual([404, "NoSuchKey"]);
    const head = await send("HEAD", "k");
    expect([head.status, head.body.length]).toEqual([404, 0]);
  });

  test("are not found in a bucket that is not there, by another code", async () => {
    const answer = await sendS3Request(server, { method: "GET", path: "/other-bucket/k" });
    expect([answer.status, codeOf(answer)]).toEqual([404, "NoSuchBucket"]);
    expect((await send("HEAD", "")).headers["x-amz-bucket-region"]).toBe(server.region);
  });

  test.each([
    ["bytes=0-0", 206, "0", "bytes 0-0/10"],
    ["bytes=3-5", 206, "345", "bytes 3-5/10"],
    ["bytes=8-", 206, "89", "bytes 8-9/10"],
    ["bytes=8-99", 206, "89", "bytes 8-9/10"],
    ["bytes=-3", 206, "789", "bytes 7-9/10"],
    ["bytes=-99", 206, "0123456789", "bytes 0-9/10"],
    ["bytes=10-", 416, undefined, "bytes */10"],
    ["bytes=-0", 416, undefined, "bytes */10"],
    ["lines=1-2", 200, "0123456789", undefined],
  ])("are read by range: %s", async (range, status, body, contentRange) => {
    await send("PUT", "k", { body: "0123456789" });
    const answer = await send("GET", "k", { headers: { range } });
    expect(answer.status).toBe(status);
    expect(answer.headers["content-range"]).toBe(contentRange);
    if (body === undefined) expect(codeOf(answer)).toBe("InvalidRange");
    else expect(answer.body.toString()).toBe(body);
  });

  test("are copied with their metadata or with new ones", async () => {
    await send("PUT", "a b", { body: "v", headers: { "x-amz-meta-n": "1" } });
    const source = { "x-amz-copy-source": `/${server.bucket}/a%20b` };
    expect((await send("PUT", "same", { headers: source })).status).toBe(200);
    await send("PUT", "new", {
      headers: { ...source, "x-amz-metadata-directive": "REPLACE", "x-amz-meta-m": "2" },
    });
    expect(server.objects.get("same")).toMatchObject({ metadata: { n: "1" } });
    expect(server.objects.get("new")).toMatchObject({ metadata: { m: "2" } });
    const none = { "x-amz-copy-source": `/${server.bucket}/none` };
    expect((await send("PUT", "x", { headers: none })).status).toBe(404);
  });

  test("are deleted by the batch", async () => {
    for (const key of ["a", "b&<>", "c"]) await send("PUT", key, { body: "v" });
    const body =
      "<Delete><Object><Key>a</Key></Object><Object><Key>b&amp;&lt;&gt;</Key></Object></Delete>";
    const request = { query: { delete: "" }, body };
    expect(codeOf(await send("POST", "", request))).toBe("InvalidRequest");
    const md5 = createHash("md5").update(body).digest("base64");
    const answer = await send("POST", "", { ...request, headers: { "content-md5": md5 } });
    expect(findElements(answer.body.toString(), "Deleted")).toHaveLength(2);
    expect([...server.objects.keys()]).toEqual(["c"]);
  });

  test("of unknown length are refused", async () => {
    const request = openS3Request(server, {
      method: "PUT",
      path: `/${server.bucket}/k`,
      headers: { "transfer-encoding": "chunked" },
      payloadHash: "UNSIGNED-PAYLOAD",
    });
    const answer = receiveS3Answer(request);
    request.end("body");
    const received = await answer;
    expect([received.status, codeOf(received)]).toEqual([411, "MissingContentLength"]);
  });
});

describe("conditions", () => {
  const create = { "if-none-match": "*" };

  test("create once", async () => {
    expect((await send("PUT", "k", { body: "1", headers: create })).status).toBe(200);
    const second = await send("PUT", "k", { body: "2", headers: create });
    expect([second.status, codeOf(second)]).toEqual([412, "PreconditionFailed"]);
    expect(server.objects.get("k")?.body).toEqual(Buffer.from("1"));
  });

  test("replace what matches", async () => {
    const { headers } = await send("PUT", "k", { body: "1" });
    const wrong = await send("PUT", "k", { body: "2", headers: { "if-match": '"0"' } });
    expect(wrong.status).toBe(412);
    const right = { "if-match": headers.etag ?? "" };
    expect((await send("PUT", "k", { body: "3", headers: right })).status).toBe(200);
    expect((await send("PUT", "none", { body: "4", headers: right })).status).toBe(404);
    expect((await send("DELETE", "k", { headers: right })).status).toBe(412);
    expect((await send("PUT", "x", { body: "", headers: { "if-none-match": '"0"' } })).status).toBe(
      501,
    );
  });

  test("let exactly one of two writers win whose bodies end last", async () => {
    const open = ["first", "other"].map((body) => {
      const path = `/${server.bucket}/k`;
      const request = openS3Request(server, { method: "PUT", path, body, headers: create });
      return { request, body, answer: receiveS3Answer(request) };
    });
    for (const { request, body } of open) request.write(body.slice(0, -1));
    for (const { request, body } of open) request.end(body.slice(-1));
    const statuses = await Promise.all(open.map(async ({ answer }) => (await answer).status));
    expect(statuses.toSorted()).toEqual([200, 412]);
    const winner = open[statuses.indexOf(200)]?.body;
    expect(server.objects.get("k")?.body).toEqual(Buffer.from(winner ?? ""));
  });
});

describe("listings", () => {
  const keys = ["-", "B", "a", "a-b/c", "a/1", "a/2/x", "a/2/y", "a/3", "b"];
  beforeEach(async () => {
    for (const key of keys.toReversed()) await send("PUT", key, { body: key });
  });

  test("come in the order of bytes, with what HEAD says", async () => {
    const xml = await list({ "list-type": "2" });
    expect(keysOf(xml)).toEqual(keys);
    const head = await send("HEAD", "-");
    const first = findElements(xml, "Contents")[0] ?? "";
    expect(findText(first, "ETag")).toBe(head.headers.etag);
    expect(Date.parse(findText(first, "LastModified") ?? "")).toBe(
      Date.parse(head.headers["last-modified"] ?? ""),
    );
  });

  test("come in pages of version 2, from a start and below a prefix", async () => {
    const listed: string[] = [];
    let token: string | undefined;
    do {
      const query = { "list-type": "2", prefix: "a", "max-keys": "2", "start-after": "a" };
      const xml = await list({ ...query, ...(token && { "continuation-token": token }) });
      listed.push(...keysOf(xml));
      token = findText(xml, "NextContinuationToken");
      expect(findText(xml, "IsTruncated")).toBe(String(token !== undefined));
    } while (token !== undefined);
    expect(listed).toEqual(["a-b/c", "a/1", "a/2/x", "a/2/y", "a/3"]);
  });

  test("come in pages of version 1, which names no next marker", async () => {
    const first = await list({ "max-keys": "4" });
    expect(keysOf(first)).toEqual(keys.slice(0, 4));
    expect(findText(first, "NextMarker")).toBeUndefined();
    expect(keysOf(await list({ marker: "a-b/c" }))).toEqual(keys.slice(4));
  });

  test.each(["1", "2"])(
    "gather what is below a delimiter, over pages: version %s",
    async (type) => {
      const seen: string[] = [];
      let position: Record<string, string> = {};
      for (;;) {
        const xml = await list({ "list-type": type, delimiter: "/", "max-keys": "1", ...position });
        seen.push(...keysOf(xml), ...findElements(xml, "CommonPrefixes"));
        if (findText(xml, "IsTruncated") === "false") break;
        position =
          type === "2"
            ? { "continuation-token": findText(xml, "NextContinuationToken") ?? "" }
            : { marker: findText(xml, "NextMarker") ?? "" };
      }
      const prefix = (text: string): string => `<Prefix>${text}</Prefix>`;
      expect(seen).toEqual(["-", "B", "a", prefix("a-b/"), prefix("a/"), "b"]);
    },
  );

  test("encode keys if asked to", async () => {
    await send("PUT", "z/ü &", { body: "" });
    expect(keysOf(await list({ prefix: "z", "encoding-type": "url" }))).toEqual(["z/%C3%BC%20%26"]);
    expect(findText(await list({ prefix: "z" }), "Key")).toBe("z/ü &");
  });

  test("are empty where nothing is, and not what another question gets", async () => {
    expect(keysOf(await list({ "list-type": "2", prefix: "none" }))).toEqual([]);
    expect((await send("GET", "", { query: { policy: "" } })).status).toBe(501);
  });
});

describe("multipart uploads", () => {
  async function create(key: string): Promise<string> {
    const headers = { "x-amz-meta-n": "1" };
    const answer = await send("POST", key, { query: { uploads: "" }, headers });
    return findText(answer.body.toString(), "UploadId") ?? "";
  }

  async function uploadPart(key: string, uploadId: string, number: number, body: string) {
    const query = { partNumber: String(number), uploadId };
    return (await send("PUT", key, { query, body })).headers.etag ?? "";
  }

  function complete(
    key: string,
    uploadId: string,
    parts: readonly (readonly [number, string])[],
    headers: Readonly<Record<string, string>> = {},
  ): Promise<S3RawAnswer> {
    const xml = parts.map(
      ([number, etag]) =>
        `<Part><ETag>${etag.replaceAll('"', "&quot;")}</ETag><PartNumber>${number}</PartNumber></Part>`,
    );
    const body = `<CompleteMultipartUpload>${xml.join("")}</CompleteMultipartUpload>`;
    return send("POST", key, { query: { uploadId }, body, headers });
  }

  test("become an object when they are complete, not before", async () => {
    const id = await create("k");
    const second = await uploadPart("k", id, 2, "end");
    await uploadPart("k", id, 1, "lost");
    const first = await uploadPart("k", id, 1, "start-");
    expect(server.objects.size).toBe(0);
    expect(await list({ uploads: "" })).toContain(`<UploadId>${id}</UploadId>`);
    const answer = await complete("k", id, [
      [1, first],
      [2, second],
    ]);
    expect(answer.status).toBe(200);
    expect(server.objects.get("k")).toMatchObject({
      body: Buffer.from("start-end"),
      metadata: { n: "1" },
    });
    expect(server.objects.get("k")?.etag).toMatch(/^"[0-9a-f]{32}-2"$/);
    expect(server.uploadCount).toBe(0);
    expect(codeOf(await complete("k", id, [[1, first]]))).toBe("NoSuchUpload");
  });

  test("refuse parts that are wrong, out of order or too small", async () => {
    const id = await create("k");
    const first = await uploadPart("k", id, 1, "ab");
    const second = await uploadPart("k", id, 2, "cd");
    const code = async (parts: [number, string][]) => codeOf(await complete("k", id, parts));
    expect(
      await code([
        [2, second],
        [1, first],
      ]),
    ).toBe("InvalidPartOrder");
    expect(await code([[1, second]])).toBe("InvalidPart");
    expect(
      await code([
        [1, first],
        [2, second],
      ]),
    ).toBe("EntityTooSmall");
    expect(await code([])).toBe("MalformedXML");
    expect(server.objects.size).toBe(0);
  });

  test("obey conditions when they are completed, and can be aborted", async () => {
    await send("PUT", "k", { body: "there" });
    const id = await create("k");
    const etag = await uploadPart("k", id, 1, "part");
    expect((await complete("k", id, [[1, etag]], { "if-none-match": "*" })).status).toBe(412);
    expect(server.objects.get("k")?.body).toEqual(Buffer.from("there"));
    expect(server.uploadCount).toBe(1);
    expect((await send("DELETE", "k", { query: { uploadId: id } })).status).toBe(204);
    expect(server.uploadCount).toBe(0);
  });
});

describe("bodies in aws-chunked", () => {
  const decoded = "x-amz-decoded-content-length";

  test("are taken off, with a checksum behind", async () => {
    const put = (crc: string): Promise<S3RawAnswer> =>
      send("PUT", "k", {
        payloadHash: "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        body: `3\r\nabc\r\n2\r\nde\r\n0\r\nx-amz-checksum-crc32:${crc}\r\n\r\n`,
        headers: { "content-encoding": "aws-chunked", [decoded]: "5" },
      });
    const crc = Buffer.alloc(4);
    crc.writeUInt32BE(crc32("abcde"));
    expect((await put(crc.toString("base64"))).status).toBe(200);
    expect(server.objects.get("k")?.body).toEqual(Buffer.from("abcde"));
    expect(codeOf(await put("AAAAAA=="))).toBe("BadDigest");
  });

  test("have a signature for each chunk", async () => {
    const date = new Date();
    const payloadHash = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    const { accessKeyId: _, secretAccessKey } = server.credentials;
    const scope = { amzDate: formatAmzDate(date), region: server.region, secretAccessKey };
    const put = (damage: string): Promise<S3RawAnswer> => {
      const headers = { [decoded]: "5" };
      const path = `/${server.bucket}/k`;
      const all = {
        host: new URL(server.endpoint).host,
        ...headers,
        "x-amz-date": scope.amzDate,
        "x-amz-content-sha256": payloadHash,
      };
      const request = { method: "PUT", path, query: {}, headers: all, payloadHash };
      let previous = computeSignature(request, Object.keys(all), scope);
      const chunks = ["abcde", ""].map((chunk) => {
        previous = computeChunkSignature(previous, Buffer.from(chunk), scope);
        const sent = chunk === "" ? "" : damage;
        return `${chunk.length.toString(16)};chunk-signature=${previous}\r\n${sent}\r\n`;
      });
      return send("PUT", "k", { body: chunks.join(""), payloadHash, date, headers });
    };
    expect((await put("abcde")).status).toBe(200);
    expect(codeOf(await put("abcdE"))).toBe("SignatureDoesNotMatch");
  });
});

describe("the server", () => {
  test("goes away and comes back with what it holds, at the same address", async () => {
    await send("PUT", "k", { body: "v" });
    const { endpoint } = server;
    await server.pause();
    await expect(send("GET", "k")).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await server.resume();
    expect(server.endpoint).toBe(endpoint);
    expect((await send("GET", "k")).body.toString()).toBe("v");
  });

  test("logs what came and what became of it", async () => {
    await send("PUT", "k", { body: "value" });
    await send("GET", "", { query: { prefix: "p/" } });
    await send("GET", "none");
    expect(server.requests).toMatchObject([
      { index: 0, operation: "PutObject", key: "k", status: 200, requestBytes: 5 },
      { index: 1, operation: "ListObjects", key: "p/", query: { prefix: "p/" }, status: 200 },
      { index: 2, operation: "GetObject", key: "none", status: 404, errorCode: "NoSuchKey" },
    ]);
    server.clearRequests();
    expect(server.requests).toEqual([]);
  });

  test("has a clock of its own", async () => {
    const other = await startS3Server({
      now: () => new Date("2030-01-01T00:00:00.900Z"),
      clockSkewMaxMs: Number.POSITIVE_INFINITY,
    });
    other.advanceClock(60_000);
    const path = `/${other.bucket}/k`;
    const put = await sendS3Request(other, { method: "PUT", path });
    expect(put.headers.date).toBe("Tue, 01 Jan 2030 00:01:00 GMT");
    const get = await sendS3Request(other, { method: "GET", path });
    expect(get.headers["last-modified"]).toBe("Tue, 01 Jan 2030 00:01:00 GMT");
    await other.stop();
  });
});
