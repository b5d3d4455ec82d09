import { describe, expect, test } from "vitest";
import { describePeer } from "../find-peer.ts";
import { type RealS3Server, startMinio, startVersityGw } from "./real-s3-servers.ts";
import { startS3Server } from "./s3-server.ts";
import { findElements, findText } from "./s3-xml.ts";
import { type S3RawRequest, sendS3Request } from "./send-s3-request.ts";

// Goal: our fake answers what real servers answer, and they take our signatures. This is no place to insist on peers: `test/s3` does.
const environment = { ...process.env, CI: undefined };

interface Step {
  readonly name: string;
  readonly request: Omit<S3RawRequest, "path"> & { readonly key: string };
  /** What of the body has to be the same everywhere. */
  readonly show?: (body: string) => unknown;
}

const keys = (xml: string): unknown => [findElements(xml, "Key"), findText(xml, "IsTruncated")];
const code = (xml: string): unknown => findText(xml, "Code");
const create = { "if-none-match": "*" };

const steps: readonly Step[] = [
  {
    name: "a key of odd characters",
    request: {
      method: "PUT",
      key: "o/a!*'()b c+ä&=",
      body: "odd",
      headers: { "x-amz-meta-n": "a" },
    },
  },
  { name: "which is read", request: { method: "GET", key: "o/a!*'()b c+ä&=" }, show: String },
  { name: "a creation", request: { method: "PUT", key: "k", body: "0123456789", headers: create } },
  {
    name: "a second",
    request: { method: "PUT", key: "k", body: "2", headers: create },
    show: code,
  },
  {
    name: "a range",
    request: { method: "GET", key: "k", headers: { range: "bytes=2-4" } },
    show: String,
  },
  {
    name: "no range",
    request: { method: "GET", key: "k", headers: { range: "bytes=10-" } },
    show: code,
  },
  { name: "a missing key", request: { method: "GET", key: "none" }, show: code },
  { name: "its head", request: { method: "HEAD", key: "none" }, show: String },
  { name: "its deletion", request: { method: "DELETE", key: "none" }, show: String },
  { name: "another object", request: { method: "PUT", key: "p/a", body: "" } },
  { name: "and one more", request: { method: "PUT", key: "p/b", body: "" } },
  {
    name: "a page",
    request: { method: "GET", key: "", query: { "list-type": "2", prefix: "p/", "max-keys": "1" } },
    show: keys,
  },
  {
    name: "from a start",
    request: { method: "GET", key: "", query: { "list-type": "2", "start-after": "o/z" } },
    show: keys,
  },
  {
    name: "version 1",
    request: { method: "GET", key: "", query: { prefix: "p/", marker: "p/a" } },
    show: keys,
  },
  {
    name: "a wrong MD5",
    request: {
      method: "PUT",
      key: "x",
      body: "v",
      headers: { "content-md5": "1B2M2Y8AsgTpgAmY7PhCfg==" },
    },
    show: code,
  },
  {
    name: "an old signature",
    request: { method: "PUT", key: "x", body: "v", date: new Date(Date.now() - 3_600_000) },
    show: code,
  },
  {
    name: "another body than the signed one",
    request: { method: "PUT", key: "x", body: "v", payloadHash: "0".repeat(64) },
    show: code,
  },
];

function defineComparison(start: () => Promise<RealS3Server>): void {
  test("our server answers as it does, step by step", async () => {
    const real = await start();
    const ours = await startS3Server();
    try {
      for (const { name, request, show } of steps) {
        const { key, ...more } = request;
        const [expected, found] = await Promise.all(
          [real, ours].map(async (server) => {
            const path = `/${server.bucket}${key === "" ? "" : `/${key}`}`;
            const { status, headers, body } = await sendS3Request(server, { ...more, path });
            // MinIO adds an ETag to its refusals.
            const etag = status < 300 ? headers.etag : undefined;
            return { name, status, etag, shown: show?.(body.toString()) };
          }),
        );
        expect(found).toEqual(expected);
      }
      const stranger = {
        ...real,
        credentials: { ...real.credentials, secretAccessKey: "a-wrong-secret" },
      };
      const path = `/${real.bucket}/k`;
      expect((await sendS3Request(stranger, { method: "GET", path })).status).toBe(403);
    } finally {
      await real.stop();
      await ours.stop();
    }
  }, 60_000);
}

describePeer(describe, "minio", "MinIO", () => defineComparison(startMinio), environment);
describePeer(
  describe,
  "versitygw",
  "VersityGW",
  () => defineComparison(startVersityGw),
  environment,
);
