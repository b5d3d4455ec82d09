import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";

/** @returns the SHA-256 of its bytes, in hex. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest("hex");
}
