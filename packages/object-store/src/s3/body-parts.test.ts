import { Upload } from "@aws-sdk/lib-storage";
import { createPrng } from "@vaultwarden-stream/testkit";
import { describe, expect, it } from "vitest";
import { type BodyPart, BodyParts } from "./body-parts.ts";

/** Chunks as a store gets them: one buffer, lent again and again. */
async function* lend(body: Uint8Array, chunkBytes: () => number): AsyncGenerator<Uint8Array, void> {
  const buffer = new Uint8Array(body.length);
  for (let position = 0; position < body.length; ) {
    const piece = body.subarray(position, position + chunkBytes());
    buffer.fill(0xff);
    buffer.set(piece);
    position += piece.length;
    yield buffer.subarray(0, piece.length);
  }
}

const mebibyte = 1024 * 1024;

describe("BodyParts", () => {
  it("gives the SDK's Upload all bytes in parts, from as many buffers as parts are under way", async () => {
    const prng = createPrng(7);
    const body = prng.bytes(23 * mebibyte + 17);
    const partBytes = 5 * mebibyte;
    const chunks = lend(body, () => prng.integer(1, 3 * mebibyte));
    const parts = new BodyParts(chunks, body.length, partBytes);
    const sent = new Map<number, Buffer>();
    const buffers = new Set<ArrayBufferLike>();
    const send = async ({ input }: { input: { PartNumber?: number; Body?: unknown } }) => {
      const { PartNumber: number } = input;
      if (number === undefined) return { UploadId: "upload" };
      await parts.with(input.Body as BodyPart, async (bytes) => {
        buffers.add(bytes.buffer);
        await new Promise((resolve) => setTimeout(resolve, prng.integer(0, 20)));
        sent.set(number, Buffer.from(bytes));
      });
      return { ETag: `${number}` };
    };
    const config = {
      requestChecksumCalculation: async () => "WHEN_REQUIRED",
      endpoint: async () => ({ hostname: "localhost", protocol: "http:" }),
    };
    const upload = new Upload({
      client: { config, send } as never,
      params: { Bucket: "b", Key: "k", Body: parts.asBytes, ContentLength: body.length },
      partSize: partBytes,
      queueSize: 2,
    });
    await upload.done();
    const numbers = [...sent.keys()].sort((a, b) => a - b);
    expect(numbers).toEqual([1, 2, 3, 4, 5]);
    const whole = Buffer.concat(numbers.map((number) => sent.get(number) as Buffer));
    expect(whole.equals(body)).toBe(true);
    expect(buffers.size).toBe(2);
  });

  it("refuses a part that is not the next one", async () => {
    const parts = new BodyParts(
      lend(new Uint8Array(30), () => 7),
      30,
      10,
    );
    const cut = (start: number, end: number) =>
      parts.asBytes.subarray(start, end) as unknown as BodyPart;
    await parts.with(cut(0, 10), async () => {});
    await expect(parts.with(cut(20, 30), async () => {})).rejects.toThrow("does not follow");
    const larger = new BodyParts(
      lend(new Uint8Array(30), () => 7),
      30,
      10,
    );
    const whole = larger.asBytes.subarray(0) as unknown as BodyPart;
    await expect(larger.with(whole, async () => {})).rejects.toThrow("does not follow");
  });
});
