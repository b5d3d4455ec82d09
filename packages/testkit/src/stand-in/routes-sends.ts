/** Sends: text, file (v2: row, then file) and file by the deprecated call (file, then row). Deletion: directory, then row. */
import { randomBytes, randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { parseJson } from "./cipher-json.ts";
import { HttpProblem, type Route, readJson } from "./http.ts";
import type { Row } from "./pool.ts";
import { sendJson, uuidOfAccessId } from "./send-json.ts";
import { readToken, signToken } from "./signing-key.ts";
import { receiveUpload, type Upload } from "./upload.ts";
import {
  authenticate,
  column,
  formatTimestamp,
  issuer,
  replaceRow,
  requiredText,
  touchUser,
  type Vault,
} from "./vault.ts";

interface FileData {
  readonly fileName: string;
  readonly id: string;
  /** Bytes, exact. */
  readonly size: number;
}

export function sendRoutes(vault: Vault): Route[] {
  const filePath = (uuid: string, fileId: string): string =>
    join(vault.settings.sendsFolder, uuid, fileId);
  return [
    {
      method: "POST",
      path: "/api/sends",
      handle: async ({ request }) => {
        const user = await authenticate(vault, request);
        const body = await readJson(request);
        const send = newSend(vault, user, body, 0, body["text"] ?? {});
        await saveSend(vault, send);
        await touchUser(vault, send["user_uuid"] ?? null);
        return { json: sendJson(send) };
      },
    },
    {
      method: "POST",
      path: "/api/sends/file",
      handle: async ({ request }) => {
        const user = await authenticate(vault, request);
        await using upload = await receiveUpload(vault, request);
        const body = parseModel(upload);
        const data = newFileData(body, upload.size);
        const send = newSend(vault, user, body, 1, data);
        await upload.copyTo(filePath(send["uuid"] as string, data.id), "wx");
        await saveSend(vault, send);
        await touchUser(vault, send["user_uuid"] ?? null);
        return { json: sendJson(send) };
      },
    },
    {
      method: "POST",
      path: "/api/sends/file/v2",
      handle: async ({ request }) => {
        const user = await authenticate(vault, request);
        const body = await readJson(request);
        const data = newFileData(body, Number(body["fileLength"]));
        const send = newSend(vault, user, body, 1, data);
        await saveSend(vault, send);
        return {
          json: {
            object: "send-fileUpload",
            fileUploadType: 0,
            url: `/sends/${send["uuid"]}/file/${data.id}`,
            sendResponse: sendJson(send),
          },
        };
      },
    },
    {
      method: "POST",
      path: "/api/sends/:id/file/:fileId",
      handle: async ({ request, parameter }) => {
        const user = await authenticate(vault, request);
        const data = fileData(await findSend(vault, user, parameter("id")), parameter("fileId"));
        await using upload = await receiveUpload(vault, request);
        if (upload.size !== data.size || upload.name !== data.fileName) {
          throw new HttpProblem("Send file size or name does not match", { status: 400 });
        }
        try {
          await upload.copyTo(filePath(parameter("id"), data.id), "wx");
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
          throw new HttpProblem("Send file has already been uploaded.", {
            status: 400,
            cause: error,
          });
        }
        await touchUser(vault, user["uuid"] ?? null);
        return { json: {} };
      },
    },
    {
      method: "DELETE",
      path: "/api/sends/:id",
      handle: async ({ request, parameter }) => {
        const user = await authenticate(vault, request);
        await deleteSend(vault, await findSend(vault, user, parameter("id")));
        await touchUser(vault, user["uuid"] ?? null);
        return { json: {} };
      },
    },
    {
      method: "POST",
      path: "/api/sends/access/:accessId",
      handle: async ({ parameter }) => {
        const uuid = uuidOfAccessId(parameter("accessId"));
        const send = await accessSend(vault, uuid);
        if (send["atype"] === 0) await countAccess(vault, send);
        return { json: { ...sendJson(send), id: parameter("accessId"), object: "send-access" } };
      },
    },
    {
      method: "POST",
      path: "/api/sends/:id/access/file/:fileId",
      handle: async ({ parameter }) => {
        const uuid = parameter("id");
        const send = await accessSend(vault, uuid);
        const data = fileData(send, parameter("fileId"));
        await countAccess(vault, send);
        const token = signToken(vault.signingKey, {
          iss: issuer(vault, "send"),
          sub: `${uuid}/${data.id}`,
          exp: Math.floor(vault.nowMs() / 1000) + 120,
        });
        const { domainOrigin, basePath } = vault.settings;
        return {
          json: {
            object: "send-fileDownload",
            id: data.id,
            url: `${domainOrigin}${basePath}/api/sends/${uuid}/${data.id}?t=${token}`,
          },
        };
      },
    },
    {
      method: "GET",
      path: "/api/sends/:id/:fileId",
      handle: async ({ url, parameter }) => {
        const token = url.searchParams.get("t") ?? "";
        const claims = readToken(vault.signingKey, issuer(vault, "send"), token, vault.nowMs());
        if (claims?.sub !== `${parameter("id")}/${parameter("fileId")}`) {
          throw new HttpProblem("Invalid token", { status: 404 });
        }
        return { filePath: filePath(parameter("id"), parameter("fileId")) };
      },
    },
  ];
}

/**
 * Deletes what has passed its deletion date: the hourly job. All files of the tree can vanish so, lawfully.
 *
 * @returns how many Sends that were.
 */
export async function purgeSends(vault: Vault): Promise<number> {
  const expired = await vault.pool.read(
    "SELECT * FROM sends WHERE deletion_date < ?",
    formatTimestamp(vault.nowMs()),
  );
  for (const send of expired) await deleteSend(vault, send);
  return expired.length;
}

function newSend(
  vault: Vault,
  user: Row,
  body: Readonly<Record<string, unknown>>,
  type: 0 | 1,
  data: unknown,
): Row {
  const deletionMs = Date.parse(requiredText(body, "deletionDate"));
  if (!(deletionMs - vault.nowMs() <= 31 * 86_400_000)) {
    throw new HttpProblem("You cannot have a Send with a deletion date that far into the future.", {
      status: 400,
    });
  }
  const now = formatTimestamp(vault.nowMs());
  return {
    uuid: randomUUID(),
    user_uuid: user["uuid"] ?? null,
    organization_uuid: null,
    name: requiredText(body, "name"),
    notes: column(body["notes"]),
    atype: type,
    data: JSON.stringify(data),
    akey: requiredText(body, "key"),
    max_access_count: column(body["maxAccessCount"]),
    access_count: 0,
    creation_date: now,
    revision_date: now,
    expiration_date: column(body["expirationDate"]),
    deletion_date: new Date(deletionMs).toISOString().slice(0, 23).replace("T", " "),
    disabled: body["disabled"] === true ? 1 : 0,
    hide_email: body["hideEmail"] === true ? 1 : 0,
  };
}

function newFileData(
  body: Readonly<Record<string, unknown>>,
  size: number,
): FileData & { readonly sizeName: string } {
  return {
    fileName: requiredText((body["file"] ?? {}) as Record<string, unknown>, "fileName"),
    id: randomBytes(32).toString("hex"),
    size,
    sizeName: `${size} bytes`,
  };
}

/** @throws {HttpProblem} 400, if the form's field `model` is no JSON object. */
function parseModel(upload: Upload): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(upload.fields.get("model") ?? "");
    if (typeof parsed === "object" && parsed !== null) return parsed as Record<string, unknown>;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new HttpProblem("no JSON object in the field `model`", { status: 400 });
}

/** Two commits: the account's revision date, then the row. */
async function saveSend(vault: Vault, send: Row): Promise<void> {
  await touchUser(vault, send["user_uuid"] ?? null);
  await replaceRow(vault, "sends", send);
}

/** Three commits of one frame each: of the statements that change a Send, this one updates its row instead of replacing it. */
async function countAccess(vault: Vault, send: Row): Promise<void> {
  await touchUser(vault, send["user_uuid"] ?? null);
  await vault.pool.write(
    "UPDATE sends SET access_count = access_count + 1, revision_date = ? WHERE uuid = ?",
    formatTimestamp(vault.nowMs()),
    send["uuid"] as string,
  );
  await touchUser(vault, send["user_uuid"] ?? null);
}

async function deleteSend(vault: Vault, send: Row): Promise<void> {
  const uuid = send["uuid"] as string;
  await touchUser(vault, send["user_uuid"] ?? null);
  if (send["atype"] === 1) {
    await rm(join(vault.settings.sendsFolder, uuid), { recursive: true, force: true });
  }
  await vault.pool.write("DELETE FROM sends WHERE uuid = ?", uuid);
}

async function findSend(vault: Vault, user: Row, uuid: string): Promise<Row> {
  const send = await vault.pool.readOne(
    "SELECT * FROM sends WHERE uuid = ? AND user_uuid = ?",
    uuid,
    user["uuid"] ?? null,
  );
  if (send === undefined) throw new HttpProblem("Send not found", { status: 404 });
  return send;
}

/** @throws {HttpProblem} 404 also for a Send that is disabled, expired or used up: nobody shall know which. */
async function accessSend(vault: Vault, uuid: string | undefined): Promise<Row> {
  const send = await vault.pool.readOne("SELECT * FROM sends WHERE uuid = ?", uuid ?? "");
  const now = formatTimestamp(vault.nowMs());
  if (
    send === undefined ||
    send["disabled"] === 1 ||
    String(send["deletion_date"]) < now ||
    ((send["max_access_count"] ?? null) !== null &&
      Number(send["access_count"]) >= Number(send["max_access_count"]))
  ) {
    throw new HttpProblem("Send does not exist or is no longer available", { status: 404 });
  }
  return send;
}

function fileData(send: Row, fileId: string): FileData {
  const data = parseJson(send["data"]) as Partial<FileData> | null;
  if (send["atype"] !== 1 || data?.id !== fileId)
    throw new HttpProblem("No such file", { status: 404 });
  return data as FileData;
}
