import { type S3Server, startS3Server } from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ObjectBody } from "../object-store.ts";
import { planUpload } from "./plan-upload.ts";
import { S3Client } from "./s3-client.ts";
import { uploadInParts } from "./s3-multipart.ts";
import { resolveS3Location } from "./s3-settings.ts";

const mib = 1024 * 1024;
const limits = { partBytesMin: 5 * mib, partCountMax: 10_000, partConcurrencyMax: 4 };

describe("a plan", () => {
  it.each([
    [{}, 300 * mib, { partBytes: 5 * mib, concurrency: 2 }],
    [{ partBytesMin: 64 * mib }, 300 * mib, { partBytes: 64 * mib, concurrency: 1 }],
    [{ partConcurrencyMax: 1 }, 300 * mib, { partBytes: 5 * mib, concurrency: 1 }],
    [{ partCountMax: 30 }, 300 * mib, { partBytes: 10 * mib, concurrency: 1 }],
    [{ partBytesMin: 300 * mib }, 300 * mib, undefined],
    [{ partCountMax: 1 }, 300 * mib, undefined],
  ])("for %j and %i bytes", (special, size, plan) => {
    expect(planUpload(size, { ...limits, ...special })).toEqual(plan);
  });

  it("never has more parts than the store takes, and 10 MiB under way for usual sizes", () => {
    for (const gib of [0.3, 1, 5, 100, 500, 5000]) {
      const size = Math.ceil(gib * 1024 * mib);
      for (const partCountMax of [1000, 10_000]) {
        const plan = planUpload(size, { ...limits, partCountMax });
        if (plan === undefined) continue;
        expect(Math.ceil(size / plan.partBytes)).toBeLessThanOrEqual(partCountMax);
        if (gib <= 5) expect(plan.partBytes * plan.concurrency).toBeLessThanOrEqual(10 * mib);
      }
    }
  });
});

describe.each(["AWS", "Other"])("an upload to %s", (provider) => {
  const size = 22 * mib;
  let server: S3Server;
  let client: S3Client;
  beforeEach(async () => {
    server = await startS3Server();
    const { bucket, endpoint, region, credentials } = server;
    client = new S3Client(
      resolveS3Location(
        { bucket, prefix: "p", endpoint, region, credentials, provider, forcePathStyle: true },
        {},
      ),
    );
  });
  afterEach(() => server.stop());

  const chunkBytes = 700_001;
  const content = Buffer.alloc(size);
  for (let index = 0; index < size; index += 1000)
    content.writeUInt32LE(index % 0xffff_ffff, index);
  const body = (end = size): ObjectBody => ({
    size,
    open: async function* () {
      const lent = new Uint8Array(chunkBytes);
      for (let position = 0; position < end; position += chunkBytes) {
        const chunk = content.subarray(position, Math.min(position + chunkBytes, end));
        lent.set(chunk);
        yield lent.subarray(0, chunk.length);
      }
    },
  });
  const upload = (of: ObjectBody, signal?: AbortSignal) =>
    uploadInParts(client, {
      key: "p/k",
      callerKey: "k",
      body: of,
      metadata: { nonce: "n" },
      plan: { partBytes: 5 * mib, concurrency: 2 },
      signal,
    });

  it.each(["stream", "bytes"])(
    "gives the whole body with its metadata, from a %s",
    async (form) => {
      await upload(form === "stream" ? body() : content);
      const stored = server.objects.get("p/k");
      expect(Buffer.compare(stored?.body ?? Buffer.alloc(0), content)).toBe(0);
      expect(stored?.metadata).toEqual({ nonce: "n" });
      const parts = server.requests.filter(({ operation }) => operation === "UploadPart");
      expect(parts).toHaveLength(5);
      for (const { headers } of parts) {
        const signed = headers["x-amz-content-sha256"] ?? "";
        expect(signed).toMatch(/^[0-9a-f]{64}$/);
        const checksums = Object.entries(headers).filter(([name]) => /checksum|crc/.test(name));
        const checksum = ["x-amz-checksum-sha256", Buffer.from(signed, "hex").toString("base64")];
        expect(checksums).toEqual(provider === "AWS" ? [checksum] : []);
      }
    },
  );

  it.each(["UploadPart", "CompleteMultipartUpload"] as const)(
    "whose %s fails leaves nothing",
    async (operation) => {
      server.setFaults([
        { match: { operation }, fault: { kind: "answer", status: 500 }, times: 1 },
      ]);
      await expect(upload(body())).rejects.toMatchObject({ status: 500 });
      expect([server.uploadCount, server.objects.size]).toEqual([0, 0]);
    },
  );

  it("that is aborted does not wait for the parts that are under way", async () => {
    const controller = new AbortController();
    const reason = new Error("shutting down");
    server.setFaults((request) => {
      if (request.operation !== "UploadPart") return undefined;
      if (request.nth === 2) controller.abort(reason);
      return { kind: "stall", during: "request" };
    });
    await expect(upload(body(), controller.signal)).rejects.toBe(reason);
    await expect(upload(content, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect([server.uploadCount, server.objects.size]).toEqual([0, 0]);
  });

  it("ends with the first part that fails, whatever the others and the body do", async () => {
    const stalling: ObjectBody = {
      size,
      open: async function* () {
        yield content.subarray(0, 11 * mib);
        await new Promise(() => {});
      },
    };
    for (const of of [content, body(), stalling]) {
      server.clearRequests();
      server.setFaults((request) => {
        if (request.operation !== "UploadPart") return undefined;
        if (request.nth > 1) return { kind: "stall", during: "request" };
        return { kind: "answer", status: 403, code: "AccessDenied" };
      });
      await expect(upload(of)).rejects.toMatchObject({ status: 403 });
      const names = server.requests.map(({ operation }) => operation);
      expect(names.filter((name) => name === "UploadPart").length).toBeLessThanOrEqual(3);
      expect([server.uploadCount, names.at(-1)]).toEqual([0, "AbortMultipartUpload"]);
    }
  });

  it("that cannot be removed says so beside the first failure", async () => {
    server.setFaults([
      { match: { operation: "UploadPart" }, fault: { kind: "answer", status: 500 } },
      { match: { operation: "AbortMultipartUpload" }, fault: { kind: "answer", status: 403 } },
    ]);
    await expect(upload(body())).rejects.toMatchObject({ status: 500, cause: { status: 403 } });
  });

  it("that is aborted leaves nothing, and rejects with the reason", async () => {
    const controller = new AbortController();
    const reason = new Error("shutting down");
    server.setFaults((request) => {
      if (request.operation === "UploadPart" && request.nth === 2) controller.abort(reason);
      return undefined;
    });
    await expect(upload(body(), controller.signal)).rejects.toBe(reason);
    expect([server.uploadCount, server.objects.size]).toEqual([0, 0]);
  });

  it("whose body ends early leaves nothing, and does not wait for its parts", async () => {
    const stall = { kind: "stall", during: "request" } as const;
    server.setFaults([{ match: { operation: "UploadPart", nth: 1 }, fault: stall }]);
    await expect(upload(body(12 * mib))).rejects.toMatchObject({ code: "BODY_MISMATCH", key: "k" });
    expect([server.uploadCount, server.objects.size]).toEqual([0, 0]);
  });

  it("is removed only when none of its parts is under way", async () => {
    const { bucket, endpoint, region, credentials } = server;
    const location = { bucket, prefix: "p", endpoint, region, credentials, forcePathStyle: true };
    let inFlightCount = 0;
    const seen: number[] = [];
    client = new (class extends S3Client {
      override async sendOfUpload(...request: Parameters<S3Client["sendOfUpload"]>) {
        inFlightCount++;
        try {
          return await super.sendOfUpload(...request);
        } finally {
          inFlightCount--;
        }
      }
      override async removeUpload(...request: Parameters<S3Client["removeUpload"]>) {
        seen.push(inFlightCount);
        await super.removeUpload(...request);
      }
    })(resolveS3Location(location, {}));
    server.setLatency(50);
    server.setFaults([
      { match: { operation: "UploadPart", nth: 1 }, fault: { kind: "drop", when: "before" } },
    ]);
    await expect(upload(body())).rejects.toMatchObject({ kind: "connection" });
    expect(seen).toEqual([0]);
  });

  it("has no more parts in flight than planned", async () => {
    let most = 0;
    server.setLatency(20);
    server.setFaults(() => {
      const parts = server.requests.filter(({ operation }) => operation === "UploadPart");
      most = Math.max(most, parts.filter(({ status }) => status === undefined).length + 1);
      return undefined;
    });
    await upload(body());
    expect(most).toBe(2);
  });
});
