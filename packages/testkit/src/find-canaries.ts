/** Looks for secrets where none may be: in names and bytes of files, packed or not. */
import { createReadStream } from "node:fs";
import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";

/** A secret, and what it is called in a message. */
export interface Canary {
  readonly name: string;
  /** At least 8 bytes of UTF-8: what is shorter is found by chance. */
  readonly secret: string;
}

export interface CanarySighting {
  readonly canary: string;
  readonly path: string;
  /** `gzip`: in what a gzip file unpacks to. */
  readonly where: "name" | "bytes" | "gzip";
  /** Of the first one, in bytes. */
  readonly offset: number;
}

/**
 * Searches all files below the directories for the secrets as they are, and as base64 carries them at any place of a longer text. Every file is
 * searched raw, LTX and archives as well; a gzip file also unpacked. Links are not followed. Nobody may write there meanwhile.
 *
 * @throws {Error} if a directory is missing or something cannot be read: that is no clean bill.
 */
export async function findCanaries(
  directories: readonly string[],
  canaries: readonly Canary[],
): Promise<CanarySighting[]> {
  const needles = canaries.flatMap(({ name, secret }) => {
    const bytes = Buffer.from(secret);
    if (bytes.length < 8) throw new RangeError(`canary ${name} is shorter than 8 bytes`);
    return [bytes, ...base64Forms(bytes)].map((needle) => ({ name, needle }));
  });
  const sightings: CanarySighting[] = [];
  for (const directory of directories) {
    for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      const search = async (where: CanarySighting["where"], chunks: AsyncIterable<Buffer>) => {
        for (const [canary, offset] of await searchChunks(chunks, needles)) {
          sightings.push({ canary, path, where, offset });
        }
      };
      await search("name", asChunks(Buffer.from(entry.name)));
      if (!entry.isFile()) continue;
      await search("bytes", createReadStream(path));
      if (await isGzip(path)) {
        await pipeline(createReadStream(path), createGunzip(), (chunks) => search("gzip", chunks));
      }
    }
  }
  return sightings;
}

type Needle = { readonly name: string; readonly needle: Buffer };

/** @returns the first place of each canary. */
async function searchChunks(
  chunks: AsyncIterable<Buffer>,
  needles: readonly Needle[],
): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  const overlap = Math.max(0, ...needles.map(({ needle }) => needle.length)) - 1;
  let tail: Buffer = Buffer.alloc(0);
  let tailOffset = 0;
  for await (const chunk of chunks) {
    const window = Buffer.concat([tail, chunk]);
    for (const { name, needle } of needles) {
      const index = found.has(name) ? -1 : window.indexOf(needle);
      if (index >= 0) found.set(name, tailOffset + index);
    }
    const kept = Math.min(overlap, window.length);
    tailOffset += window.length - kept;
    tail = window.subarray(window.length - kept);
  }
  return found;
}

/** By where the secret begins in a group of three bytes; the characters that its neighbours have a part in are left off. */
function base64Forms(secret: Buffer): Buffer[] {
  return [0, 1, 2].flatMap((shift) => {
    const shifted = Buffer.concat([Buffer.alloc(shift), secret]);
    const range = [Math.ceil((shift * 8) / 6), Math.floor((shifted.length * 8) / 6)] as const;
    return (["base64", "base64url"] as const).map((encoding) =>
      Buffer.from(shifted.toString(encoding).slice(...range)),
    );
  });
}

async function* asChunks(bytes: Buffer): AsyncIterable<Buffer> {
  yield bytes;
}

async function isGzip(path: string): Promise<boolean> {
  await using file = await open(path, "r");
  const { bytesRead, buffer } = await file.read(Buffer.alloc(2), 0, 2, 0);
  return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
}
