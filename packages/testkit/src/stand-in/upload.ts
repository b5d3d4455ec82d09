/** A file on its way from a multipart body into the vault: spooled to `TMP_FOLDER` as it arrives, then copied to its final name in place. */
import { randomBytes } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, open, rm } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleepMs } from "node:timers/promises";
import { Busboy, type BusboyFileStream } from "@fastify/busboy";
import { HttpProblem } from "./http.ts";
import type { Vault } from "./vault.ts";

/** Disposing of it removes the spooled file; a kill leaves it, and nobody cleans it. */
export interface Upload extends AsyncDisposable {
  /** As the client gave it, not decoded. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** The body's other fields. */
  readonly fields: ReadonlyMap<string, string>;
  /**
   * Copies the file to its final path: it is seen to grow under this name, from 0 bytes, and is synced when it is closed; its directory is
   * not. A kill leaves a part of it behind.
   *
   * @param flags - `w` truncates what was there (attachments), `wx` fails with EEXIST (Sends).
   */
  copyTo(path: string, flags: "w" | "wx"): Promise<void>;
}

/**
 * Spools the file of a multipart body's field `data`; resolves when all of it has arrived.
 *
 * @throws {HttpProblem} 413 for a body that was cut short or is none of that kind, 400 without a file.
 */
export async function receiveUpload(vault: Vault, request: IncomingMessage): Promise<Upload> {
  const spoolPath = join(vault.settings.tmpFolder, `.tmp${randomBytes(3).toString("hex")}`);
  const remove = () => rm(spoolPath, { force: true });
  try {
    const received = await spool(request, spoolPath);
    if (received.name === undefined) {
      throw new HttpProblem("no file in the field `data`", { status: 400 });
    }
    return {
      name: received.name,
      size: received.size(),
      fields: received.fields,
      copyTo: (path, flags) => copySlowly(vault, spoolPath, path, flags),
      [Symbol.asyncDispose]: remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function spool(request: IncomingMessage, spoolPath: string) {
  const fields = new Map<string, string>();
  let name: string | undefined;
  let file: BusboyFileStream | undefined;
  let written: Promise<void> | undefined;
  const cut = new AbortController();
  try {
    const parser = new Busboy({
      headers: { ...request.headers, "content-type": request.headers["content-type"] ?? "" },
      // An encrypted name is base64, in which a slash separates nothing.
      preservePath: true,
    });
    parser.on("field", (field, value) => fields.set(field, value));
    parser.on("file", (field, stream, fileName) => {
      if (field !== "data" || written !== undefined) {
        stream.resume();
        return;
      }
      name = fileName;
      file = stream;
      const target = createWriteStream(spoolPath, { flags: "wx", mode: 0o600 });
      written = pipeline(stream, target, { signal: cut.signal });
      written.catch((error) => parser.destroy(error));
    });
    await pipeline(request, parser);
    await written;
  } catch (cause) {
    cut.abort();
    await written?.catch(() => {}); // `cause` is what ended it
    throw new HttpProblem("the upload was cut short, or is no multipart body", {
      status: 413,
      cause,
    });
  }
  return { name, fields, size: () => file?.bytesRead ?? 0 };
}

async function copySlowly(
  vault: Vault,
  spoolPath: string,
  path: string,
  flags: "w" | "wx",
): Promise<void> {
  const { uploadChunkBytes, uploadChunkMs } = vault.settings;
  await mkdir(dirname(path), { recursive: true });
  await using source = await open(spoolPath, "r");
  await using target = await open(path, flags);
  const chunks = source.createReadStream({ highWaterMark: uploadChunkBytes, autoClose: false });
  for await (const chunk of chunks) {
    if (uploadChunkMs > 0) await sleepMs(uploadChunkMs);
    await target.writeFile(chunk as Buffer);
  }
  await target.sync();
}
