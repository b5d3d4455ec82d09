import type { Row } from "./pool.ts";
import { signToken } from "./signing-key.ts";
import { issuer, type Vault } from "./vault.ts";

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
