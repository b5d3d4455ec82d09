/** Items, folders, sync. Each statement is a commit: an item takes four, a restore point can lie between any two. */
import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { downloadUrl } from "./attachment-url.ts";
import { cipherData, cipherJson } from "./cipher-json.ts";
import { HttpProblem, type Route, readJson } from "./http.ts";
import type { Row, SqlValue } from "./pool.ts";
import { sendJson } from "./send-json.ts";
import {
  apiTimestamp,
  authenticate,
  column,
  formatTimestamp,
  replaceRow,
  requiredText,
  touchUser,
  type Vault,
} from "./vault.ts";

export function cipherRoutes(vault: Vault): Route[] {
  return [
    {
      method: "GET",
      path: "/api/sync",
      handle: async ({ request }) => {
        const user = await authenticate(vault, request);
        const ciphers = await rowsOf(vault, "ciphers", user);
        return {
          json: {
            object: "sync",
            profile: profileJson(user),
            folders: (await rowsOf(vault, "folders", user)).map(folderJson),
            ciphers: await Promise.all(ciphers.map((cipher) => describeCipher(vault, cipher))),
            sends: (await rowsOf(vault, "sends", user)).map(sendJson),
            collections: [],
            policies: [],
            domains: null,
          },
        };
      },
    },
    {
      method: "POST",
      path: "/api/ciphers",
      handle: async ({ request }) => {
        const user = await authenticate(vault, request);
        const now = formatTimestamp(vault.nowMs());
        const stored: Row = {
          uuid: randomUUID(),
          created_at: now,
          user_uuid: user["uuid"] ?? null,
        };
        return { json: await saveCipher(vault, user, stored, await readJson(request)) };
      },
    },
    {
      method: "POST",
      path: "/api/ciphers/import",
      handle: async ({ request }) => {
        const user = await authenticate(vault, request);
        const body = await readJson(request);
        for (const cipher of (body["ciphers"] ?? []) as Record<string, unknown>[]) {
          const now = formatTimestamp(vault.nowMs());
          const stored: Row = {
            uuid: randomUUID(),
            created_at: now,
            user_uuid: user["uuid"] ?? null,
          };
          await touchUser(vault, user["uuid"] ?? null);
          await writeCipher(vault, stored, cipher);
          await touchUser(vault, user["uuid"] ?? null);
        }
        await touchUser(vault, user["uuid"] ?? null);
        return { json: {} };
      },
    },
    {
      method: "GET",
      path: "/api/ciphers/:id",
      handle: async ({ request, parameter }) => {
        const user = await authenticate(vault, request);
        return {
          json: await describeCipher(vault, await findCipher(vault, user, parameter("id"))),
        };
      },
    },
    {
      method: "PUT",
      path: "/api/ciphers/:id",
      handle: async ({ request, parameter }) => {
        const user = await authenticate(vault, request);
        const stored = await findCipher(vault, user, parameter("id"));
        const body = await readJson(request);
        refuseOutdated(stored, body["lastKnownRevisionDate"]);
        return { json: await saveCipher(vault, user, stored, body) };
      },
    },
    {
      method: "PUT",
      path: "/api/ciphers/:id/delete",
      handle: async ({ request, parameter }) => {
        const user = await authenticate(vault, request);
        const stored = await findCipher(vault, user, parameter("id"));
        await touchUser(vault, user["uuid"] ?? null);
        const now = formatTimestamp(vault.nowMs());
        await replaceRow(vault, "ciphers", { ...stored, updated_at: now, deleted_at: now });
        return { json: {} };
      },
    },
    {
      method: "DELETE",
      path: "/api/ciphers/:id",
      handle: async ({ request, parameter }) => {
        const user = await authenticate(vault, request);
        const stored = await findCipher(vault, user, parameter("id"));
        await deleteCipher(vault, user, stored["uuid"] as string);
        return { json: {} };
      },
    },
    {
      method: "POST",
      path: "/api/folders",
      handle: async ({ request }) => {
        const user = await authenticate(vault, request);
        const now = formatTimestamp(vault.nowMs());
        const folder: Row = {
          uuid: randomUUID(),
          created_at: now,
          updated_at: now,
          user_uuid: user["uuid"] ?? null,
          name: requiredText(await readJson(request), "name"),
        };
        await touchUser(vault, user["uuid"] ?? null);
        await replaceRow(vault, "folders", folder);
        return { json: folderJson(folder) };
      },
    },
    {
      method: "DELETE",
      path: "/api/folders/:id",
      handle: async ({ request, parameter }) => {
        const user = await authenticate(vault, request);
        const folder = await vault.pool.readOne(
          "SELECT * FROM folders WHERE uuid = ? AND user_uuid = ?",
          parameter("id"),
          user["uuid"] ?? null,
        );
        if (folder === undefined) throw new HttpProblem("Invalid folder", { status: 400 });
        await touchUser(vault, user["uuid"] ?? null);
        await vault.pool.write(
          "DELETE FROM folders_ciphers WHERE folder_uuid = ?",
          parameter("id"),
        );
        await vault.pool.write("DELETE FROM folders WHERE uuid = ?", parameter("id"));
        return { json: {} };
      },
    },
  ];
}

/** @throws {HttpProblem} 404, if the user has no such item. */
export async function findCipher(vault: Vault, user: Row, uuid: string): Promise<Row> {
  const cipher = await vault.pool.readOne(
    "SELECT * FROM ciphers WHERE uuid = ? AND user_uuid = ?",
    uuid,
    user["uuid"] ?? null,
  );
  if (cipher === undefined) throw new HttpProblem("Cipher doesn't exist", { status: 404 });
  return cipher;
}

/** An item with its folder, mark and attachments, as the API shows it. */
export async function describeCipher(vault: Vault, cipher: Row): Promise<Record<string, unknown>> {
  const uuid = cipher["uuid"] as string;
  const folder = await vault.pool.readOne(
    "SELECT folder_uuid FROM folders_ciphers WHERE cipher_uuid = ?",
    uuid,
  );
  const favorite = await vault.pool.readOne("SELECT 1 FROM favorites WHERE cipher_uuid = ?", uuid);
  return cipherJson(cipher, {
    folderId: (folder?.["folder_uuid"] as string | undefined) ?? null,
    favorite: favorite !== undefined,
    attachments: await vault.pool.read("SELECT * FROM attachments WHERE cipher_uuid = ?", uuid),
    attachmentUrl: (attachment) => downloadUrl(vault, attachment),
  });
}

/** Four commits: the account's revision, the item, and the revision again for folder and mark, whether they change or not. */
async function saveCipher(
  vault: Vault,
  user: Row,
  stored: Row,
  body: Readonly<Record<string, unknown>>,
): Promise<Record<string, unknown>> {
  const userUuid = user["uuid"] as SqlValue;
  await touchUser(vault, userUuid);
  const cipher = await writeCipher(vault, stored, body);
  await touchUser(vault, userUuid);
  await moveToFolder(vault, cipher["uuid"] as SqlValue, column(body["folderId"]));
  await touchUser(vault, userUuid);
  await markFavorite(vault, cipher["uuid"] as SqlValue, userUuid, body["favorite"] === true);
  return describeCipher(vault, cipher);
}

async function writeCipher(
  vault: Vault,
  stored: Row,
  body: Readonly<Record<string, unknown>>,
): Promise<Row> {
  const cipher: Row = {
    uuid: stored["uuid"] ?? null,
    created_at: stored["created_at"] ?? null,
    updated_at: formatTimestamp(vault.nowMs()),
    user_uuid: stored["user_uuid"] ?? null,
    organization_uuid: null,
    atype: Number(body["type"] ?? 1),
    name: requiredText(body, "name"),
    notes: column(body["notes"]),
    fields: column(body["fields"]),
    data: cipherData(body),
    password_history: column(body["passwordHistory"]),
    deleted_at: stored["deleted_at"] ?? null,
    reprompt: column(body["reprompt"]) ?? 0,
    key: column(body["key"]),
  };
  await replaceRow(vault, "ciphers", cipher);
  return cipher;
}

async function moveToFolder(vault: Vault, cipher: SqlValue, folder: SqlValue): Promise<void> {
  const stored = await vault.pool.readOne(
    "SELECT folder_uuid FROM folders_ciphers WHERE cipher_uuid = ?",
    cipher,
  );
  const current = stored?.["folder_uuid"] ?? null;
  if (current === folder) return;
  if (current !== null) {
    await vault.pool.write("DELETE FROM folders_ciphers WHERE cipher_uuid = ?", cipher);
  }
  if (folder !== null) {
    await replaceRow(vault, "folders_ciphers", { cipher_uuid: cipher, folder_uuid: folder });
  }
}

async function markFavorite(
  vault: Vault,
  cipher: SqlValue,
  user: SqlValue,
  favorite: boolean,
): Promise<void> {
  if (favorite) {
    await vault.pool.write("INSERT OR IGNORE INTO favorites VALUES (?, ?)", user, cipher);
  } else {
    await vault.pool.write("DELETE FROM favorites WHERE cipher_uuid = ?", cipher);
  }
}

async function deleteCipher(vault: Vault, user: Row, uuid: string): Promise<void> {
  await touchUser(vault, user["uuid"] ?? null);
  await vault.pool.write("DELETE FROM folders_ciphers WHERE cipher_uuid = ?", uuid);
  for (const attachment of await vault.pool.read(
    "SELECT * FROM attachments WHERE cipher_uuid = ?",
    uuid,
  )) {
    const id = attachment["id"] as string;
    await vault.pool.write("DELETE FROM attachments WHERE id = ?", id);
    await rm(join(vault.settings.attachmentsFolder, uuid, id), { force: true });
  }
  await vault.pool.write("DELETE FROM favorites WHERE cipher_uuid = ?", uuid);
  await vault.pool.write("DELETE FROM ciphers WHERE uuid = ?", uuid);
  await touchUser(vault, user["uuid"] ?? null);
}

/** A client that changes an older state than the stored one is refused; half a second is allowed for rounding. */
function refuseOutdated(stored: Row, lastKnown: unknown): void {
  if (typeof lastKnown !== "string") return;
  const storedMs = Date.parse(apiTimestamp(stored["updated_at"]) as string);
  if (storedMs - Date.parse(lastKnown) > 1000) {
    throw new HttpProblem("The client copy of this cipher is out of date", { status: 400 });
  }
}

function rowsOf(vault: Vault, table: "ciphers" | "folders" | "sends", user: Row): Promise<Row[]> {
  return vault.pool.read(`SELECT * FROM ${table} WHERE user_uuid = ?`, user["uuid"] ?? null);
}

function folderJson(folder: Row): Record<string, unknown> {
  return {
    object: "folder",
    id: folder["uuid"],
    name: folder["name"],
    revisionDate: apiTimestamp(folder["updated_at"]),
  };
}

function profileJson(user: Row): Record<string, unknown> {
  return {
    object: "profile",
    id: user["uuid"],
    email: user["email"],
    name: user["name"],
    key: user["akey"],
    privateKey: user["private_key"],
    securityStamp: user["security_stamp"],
    premium: true,
    organizations: [],
  };
}
