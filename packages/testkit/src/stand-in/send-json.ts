import { parseJson } from "./cipher-json.ts";
import type { Row } from "./pool.ts";
import { apiTimestamp } from "./vault.ts";

/** A row of `sends` as its owner sees it. */
export function sendJson(send: Row): Record<string, unknown> {
  const data = parseJson(send["data"]);
  return {
    object: "send",
    id: send["uuid"],
    accessId: accessIdOf(send["uuid"] as string),
    type: send["atype"],
    name: send["name"],
    notes: send["notes"],
    text: send["atype"] === 0 ? data : null,
    file: send["atype"] === 1 ? data : null,
    key: send["akey"],
    maxAccessCount: send["max_access_count"],
    accessCount: send["access_count"],
    disabled: send["disabled"] === 1,
    hideEmail: send["hide_email"] === 1,
    revisionDate: apiTimestamp(send["revision_date"]),
    expirationDate: apiTimestamp(send["expiration_date"]),
    deletionDate: apiTimestamp(send["deletion_date"]),
  };
}

/** The id in a link: the UUID's bytes as base64url. */
function accessIdOf(uuid: string): string {
  return Buffer.from(uuid.replaceAll("-", ""), "hex").toString("base64url");
}

/** @returns undefined if it is no access id. */
export function uuidOfAccessId(accessId: string): string | undefined {
  const hex = Buffer.from(accessId, "base64url").toString("hex");
  return /^(.{8})(.{4})(.{4})(.{4})(.{12})$/.exec(hex)?.slice(1).join("-");
}
