import type { Row } from "./pool.ts";
import { apiTimestamp } from "./vault.ts";

/** A row of `ciphers` as the API shows it. @param url - where its attachments are downloaded. */
export function cipherJson(
  cipher: Row,
  details: {
    readonly folderId: string | null;
    readonly favorite: boolean;
    readonly attachments: readonly Row[];
    readonly attachmentUrl: (attachment: Row) => string;
  },
): Record<string, unknown> {
  const data = parseJson(cipher["data"]);
  return {
    object: "cipherDetails",
    id: cipher["uuid"],
    type: cipher["atype"],
    creationDate: apiTimestamp(cipher["created_at"]),
    revisionDate: apiTimestamp(cipher["updated_at"]),
    deletedDate: apiTimestamp(cipher["deleted_at"]),
    reprompt: cipher["reprompt"] ?? 0,
    organizationId: cipher["organization_uuid"],
    key: cipher["key"],
    name: cipher["name"],
    notes: cipher["notes"],
    fields: parseJson(cipher["fields"]),
    passwordHistory: parseJson(cipher["password_history"]),
    login: cipher["atype"] === 1 ? data : null,
    secureNote: cipher["atype"] === 2 ? data : null,
    card: cipher["atype"] === 3 ? data : null,
    identity: cipher["atype"] === 4 ? data : null,
    sshKey: cipher["atype"] === 5 ? data : null,
    folderId: details.folderId,
    favorite: details.favorite,
    attachments:
      details.attachments.length === 0
        ? null
        : details.attachments.map((attachment) => ({
            object: "attachment",
            id: attachment["id"],
            url: details.attachmentUrl(attachment),
            fileName: attachment["file_name"],
            size: String(attachment["file_size"]),
            sizeName: `${attachment["file_size"]} bytes`,
            key: attachment["akey"],
          })),
    collectionIds: [],
    organizationUseTotp: true,
    edit: true,
    viewPassword: true,
    permissions: { delete: true, restore: true },
  };
}

/** The column for what a client sent as the part of its type. */
export function cipherData(body: Readonly<Record<string, unknown>>): string {
  const part = [
    undefined,
    body["login"],
    body["secureNote"],
    body["card"],
    body["identity"],
    body["sshKey"],
  ][Number(body["type"])];
  return JSON.stringify(part ?? {});
}

/** @returns null for NULL. */
export function parseJson(value: unknown): unknown {
  return typeof value === "string" ? JSON.parse(value) : null;
}
