/** The requests of a client of Vaultwarden, and the parts that they are made of. */
import { createHash } from "node:crypto";

export type Json = Record<string, unknown>;

/** What a call makes the server store: a file as it will lie on its disk, or, of a row without a file, its column `name`. */
export interface SealedContent {
  readonly sha256: string;
  /** Bytes. */
  readonly size: number;
}

/** The server's refusal. */
export class VaultClientError extends Error {
  override readonly name = "VaultClientError";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** One call. @returns the answer's JSON, `{}` for an empty one. @throws {VaultClientError} for an answer that is not a success. */
export async function send(
  url: string,
  method: string,
  path: string,
  body?: Json | URLSearchParams | FormData,
  accessToken?: string,
): Promise<Json> {
  const isForm = body instanceof URLSearchParams || body instanceof FormData;
  const response = await fetch(url + path, {
    method,
    headers: {
      "bitwarden-client-version": "2026.6.0",
      ...(accessToken === undefined ? {} : { authorization: `Bearer ${accessToken}` }),
      ...(isForm || body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: isForm ? body : JSON.stringify(body) }),
  });
  const answer = await response.text();
  if (!response.ok) {
    throw new VaultClientError(response.status, `${method} ${path}: ${response.status} ${answer}`);
  }
  return (answer === "" ? {} : JSON.parse(answer)) as Json;
}

export function formWithFile(file: Uint8Array<ArrayBuffer>, name: string): FormData {
  const form = new FormData();
  form.set("data", asBlob(file), name);
  return form;
}

export function asBlob(file: Uint8Array<ArrayBuffer>): Blob {
  return new Blob([file], { type: "application/octet-stream" });
}

export function describeContent(stored: string | Uint8Array): SealedContent {
  const bytes = Buffer.from(stored);
  return { sha256: createHash("sha256").update(bytes).digest("hex"), size: bytes.length };
}

/** @throws {Error} naming the field, if the answer lacks it. */
export function text(json: Json, field: string): string {
  const value = json[field];
  if (typeof value !== "string") throw new Error(`the server's answer has no ${field}`);
  return value;
}
