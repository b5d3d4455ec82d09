/** The bytes of attachments and Sends: spooled to `TMP_FOLDER`, then copied to their final name in place. */
import { randomBytes } from "node:crypto";
import { mkdir, open, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Row } from "./pool.ts";
import { signToken } from "./signing-key.ts";
import { issuer, type Vault } from "./vault.ts";

const copyBytes = 65_536;

/**
 * Writes an upload as the server does: a scanner sees the file grow under its final name, from 0 bytes; it is synced when it is closed, its
 * directory is not. A kill leaves the spooled file and a part of the final one behind.
 *
 * @param flags - `w` truncates what was there (attachments), `wx` fails with EEXIST (v2 Sends).
 */
export async function storeUpload(
  vault: Vault,
  upload: File,
  path: string,
  flags: "w" | "wx",
): Promise<void> {
  const spoolPath = join(
    vault.settings.tmpFolder,
    `.tmp${randomBytes(4).toString("hex").slice(2)}`,
  );
  try {
    await copyTo(spoolPath, upload.stream(), "w");
    await mkdir(dirname(path), { recursive: true });
    const spool = await open(spoolPath, "r");
    await copyTo(path, spool.createReadStream({ highWaterMark: copyBytes }), flags, true);
  } finally {
    await rm(spoolPath, { force: true });
  }
}

/** Where an attachment is downloaded: valid for five minutes. */
export function downloadUrl(vault: Vault, attachment: Row): string {
  const cipherUuid = attachment["cipher_uuid"] as string;
  const id = attachment["id"] as string;
  const token = signToken(vault.signingKey, {
    iss: issuer(vault, "file_download"),
    sub: cipherUuid,
    exp: Math.floor(vault.nowMs() / 1000) + 300,
    file_id: id,
  });
  const { domainOrigin, basePath } = vault.settings;
  return `${domainOrigin}${basePath}/attachments/${cipherUuid}/${id}?token=${token}`;
}

async function copyTo(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  flags: "w" | "wx",
  synced = false,
): Promise<void> {
  const file = await open(path, flags);
  try {
    for await (const chunk of chunks) await file.writeFile(chunk);
    if (synced) await file.sync();
  } finally {
    await file.close();
  }
}
