/** Attachments, v2: row, then file, then the revision date. */
import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { downloadUrl } from "./attachment-url.ts";
import { HttpProblem, type Route, readJson } from "./http.ts";
import type { Row } from "./pool.ts";
import { describeCipher, findCipher } from "./routes-ciphers.ts";
import { readToken } from "./signing-key.ts";
import { receiveUpload } from "./upload.ts";
import {
  authenticate,
  column,
  issuer,
  replaceRow,
  requiredText,
  touchUser,
  type Vault,
} from "./vault.ts";

/** The stored size may differ by so much from the announced one. */
const leewayBytes = 1024 * 1024;

export function attachmentRoutes(vault: Vault): Route[] {
  const filePath = (cipherUuid: string, id: string): string =>
    join(vault.settings.attachmentsFolder, cipherUuid, id);
  return [
    {
      method: "POST",
      path: "/api/ciphers/:id/attachment/v2",
      handle: async ({ request, parameter }) => {
        const user = await authenticate(vault, request);
        const cipher = await findCipher(vault, user, parameter("id"));
        const body = await readJson(request);
        const attachment: Row = {
          id: randomBytes(10).toString("hex"),
          cipher_uuid: parameter("id"),
          file_name: requiredText(body, "fileName"),
          file_size: Number(body["fileSize"]),
          akey: column(body["key"]),
        };
        await replaceRow(vault, "attachments", attachment);
        return {
          json: {
            object: "attachment-fileUpload",
            attachmentId: attachment["id"],
            url: `/ciphers/${parameter("id")}/attachment/${attachment["id"]}`,
            fileUploadType: 0,
            cipherResponse: await describeCipher(vault, cipher),
          },
        };
      },
    },
    {
      method: "POST",
      path: "/api/ciphers/:id/attachment/:attachmentId",
      handle: async ({ request, parameter }) => {
        const user = await authenticate(vault, request);
        const attachment = await findAttachment(
          vault,
          user,
          parameter("id"),
          parameter("attachmentId"),
        );
        await using upload = await receiveUpload(vault, request);
        const announced = Number(attachment["file_size"]);
        if (Math.abs(upload.size - announced) > leewayBytes) {
          throw new HttpProblem(`Attachment size mismatch: ${upload.size}, not ${announced}`, {
            status: 400,
          });
        }
        if (upload.size !== announced) {
          await replaceRow(vault, "attachments", { ...attachment, file_size: upload.size });
        }
        await upload.copyTo(filePath(parameter("id"), parameter("attachmentId")), "w");
        await touchUser(vault, user["uuid"] ?? null);
        return { json: {} };
      },
    },
    {
      method: "GET",
      path: "/api/ciphers/:id/attachment/:attachmentId",
      handle: async ({ request, parameter }) => {
        const user = await authenticate(vault, request);
        const attachment = await findAttachment(
          vault,
          user,
          parameter("id"),
          parameter("attachmentId"),
        );
        return {
          json: {
            object: "attachment",
            id: attachment["id"],
            url: downloadUrl(vault, attachment),
            fileName: attachment["file_name"],
            size: String(attachment["file_size"]),
            key: attachment["akey"],
          },
        };
      },
    },
    {
      method: "DELETE",
      path: "/api/ciphers/:id/attachment/:attachmentId",
      handle: async ({ request, parameter }) => {
        const user = await authenticate(vault, request);
        const id = parameter("attachmentId");
        await findAttachment(vault, user, parameter("id"), id);
        await vault.pool.write("DELETE FROM attachments WHERE id = ?", id);
        // The item's directory stays.
        await rm(filePath(parameter("id"), id), { force: true });
        await touchUser(vault, user["uuid"] ?? null);
        return { json: {} };
      },
    },
    {
      method: "GET",
      path: "/attachments/:id/:attachmentId",
      handle: async ({ url, parameter }) => {
        const token = url.searchParams.get("token") ?? "";
        const claims = readToken(
          vault.signingKey,
          issuer(vault, "file_download"),
          token,
          vault.nowMs(),
        );
        if (claims?.sub !== parameter("id") || claims.file_id !== parameter("attachmentId")) {
          throw new HttpProblem("Invalid token", { status: 404 });
        }
        return { filePath: filePath(parameter("id"), parameter("attachmentId")) };
      },
    },
  ];
}

async function findAttachment(
  vault: Vault,
  user: Row,
  cipherUuid: string,
  id: string,
): Promise<Row> {
  await findCipher(vault, user, cipherUuid);
  const attachment = await vault.pool.readOne(
    "SELECT * FROM attachments WHERE id = ? AND cipher_uuid = ?",
    id,
    cipherUuid,
  );
  if (attachment === undefined) throw new HttpProblem("Attachment doesn't exist", { status: 404 });
  return attachment;
}
