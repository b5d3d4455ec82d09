/** A client of Vaultwarden and of its stand-in, by the same calls: it encrypts and decrypts as real clients do. */
import { randomBytes, randomUUID } from "node:crypto";
import {
  createAccountKeys,
  decryptBytes,
  decryptFile,
  decryptText,
  deriveMasterKeys,
  deriveSendKey,
  encryptBytes,
  encryptFile,
  encryptText,
  type SymmetricKey,
} from "./vault-crypto.ts";

export interface VaultAccount {
  /** Where the server answers, with its base path and without a slash at the end. */
  readonly url: string;
  readonly email: string;
  readonly password: string;
}

export interface VaultItem {
  readonly id: string;
  readonly name: string;
  readonly notes: string | null;
  readonly attachments: readonly VaultAttachment[];
}

export interface VaultAttachment {
  readonly id: string;
  readonly fileName: string;
  /** Bytes as they are stored, which are more than were uploaded. */
  readonly size: number;
}

export interface VaultSend {
  readonly id: string;
  readonly name: string;
  /** The text of a text Send. */
  readonly text: string | null;
  readonly fileName: string | null;
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

/** PBKDF2 rounds of new accounts: the least that the server takes. */
const kdfIterations = 100_000;
const day = 86_400_000;
type Json = Record<string, unknown>;

/** Registers the account, which must be new, and logs in. */
export async function registerAndLogin(account: VaultAccount): Promise<VaultClient> {
  const { passwordHash, stretched } = await deriveMasterKeys(
    account.email,
    account.password,
    kdfIterations,
  );
  const userKey = randomBytes(64);
  await send(account.url, "POST", "/identity/accounts/register", {
    email: account.email,
    name: account.email,
    masterPasswordHash: passwordHash,
    masterPasswordHint: null,
    key: encryptBytes(userKey, stretched),
    kdf: 0,
    kdfIterations,
    keys: await createAccountKeys(userKey),
  });
  return login(account);
}

/** Logs into an account that exists, also one that was restored elsewhere. */
export async function login(account: VaultAccount): Promise<VaultClient> {
  const prelogin = await send(account.url, "POST", "/identity/accounts/prelogin", {
    email: account.email,
  });
  const { passwordHash, stretched } = await deriveMasterKeys(
    account.email,
    account.password,
    Number(prelogin["kdfIterations"]),
  );
  const token = await send(
    account.url,
    "POST",
    "/identity/connect/token",
    new URLSearchParams({
      grant_type: "password",
      username: account.email,
      password: passwordHash,
      scope: "api offline_access",
      client_id: "cli",
      deviceType: "25",
      deviceIdentifier: randomUUID(),
      deviceName: "vaultwarden-stream testkit",
    }),
  );
  const userKey = decryptBytes(text(token, "Key"), stretched);
  return new VaultClient(account.url, userKey, {
    accessToken: text(token, "access_token"),
    refreshToken: text(token, "refresh_token"),
  });
}

export interface VaultTokens {
  readonly accessToken: string;
  readonly refreshToken: string;
}

/** A logged-in client. Every call throws `VaultClientError` for an answer that is not a success. */
export class VaultClient {
  readonly #userKey: SymmetricKey;
  /** May be pointed at another machine that has the same vault: then tokens hold only with the same key and `DOMAIN`. */
  url: string;
  tokens: VaultTokens;

  constructor(url: string, userKey: SymmetricKey, tokens: VaultTokens) {
    this.url = url;
    this.#userKey = userKey;
    this.tokens = tokens;
  }

  /** Asks for new tokens, which writes to the database. */
  async refresh(): Promise<void> {
    const token = await send(
      this.url,
      "POST",
      "/identity/connect/token",
      new URLSearchParams({
        grant_type: "refresh_token",
        refresh_token: this.tokens.refreshToken,
        client_id: "cli",
      }),
    );
    this.tokens = {
      accessToken: text(token, "access_token"),
      refreshToken: text(token, "refresh_token"),
    };
  }

  /** @returns the new item's id. */
  async createItem(item: { readonly name: string; readonly notes?: string }): Promise<string> {
    return text(await this.#send("POST", "/api/ciphers", this.#cipher(item)), "id");
  }

  async updateItem(
    id: string,
    item: { readonly name: string; readonly notes?: string },
  ): Promise<void> {
    const stored = await this.#send("GET", `/api/ciphers/${id}`);
    await this.#send("PUT", `/api/ciphers/${id}`, {
      ...this.#cipher(item),
      lastKnownRevisionDate: stored["revisionDate"],
    });
  }

  /** Deletes it for good, with its attachments. */
  async deleteItem(id: string): Promise<void> {
    await this.#send("DELETE", `/api/ciphers/${id}`);
  }

  /** All items, sorted by name. */
  async listItems(): Promise<VaultItem[]> {
    const ciphers = ((await this.#sync())["ciphers"] ?? []) as Json[];
    const items = ciphers.map((cipher) => ({
      id: text(cipher, "id"),
      name: decryptText(text(cipher, "name"), this.#userKey),
      notes:
        typeof cipher["notes"] === "string" ? decryptText(cipher["notes"], this.#userKey) : null,
      attachments: ((cipher["attachments"] ?? []) as Json[]).map((attachment) => ({
        id: text(attachment, "id"),
        fileName: decryptText(text(attachment, "fileName"), this.#userKey),
        size: Number(attachment["size"]),
      })),
    }));
    return items.sort(byName);
  }

  /** @returns the folder's id. */
  async createFolder(name: string): Promise<string> {
    const folder = await this.#send("POST", "/api/folders", {
      name: encryptText(name, this.#userKey),
    });
    return text(folder, "id");
  }

  /** @returns the attachment's id. */
  async uploadAttachment(itemId: string, fileName: string, bytes: Uint8Array): Promise<string> {
    const fileKey = randomBytes(64);
    const file = encryptFile(bytes, fileKey);
    const encryptedName = encryptText(fileName, this.#userKey);
    const created = await this.#send("POST", `/api/ciphers/${itemId}/attachment/v2`, {
      key: encryptBytes(fileKey, this.#userKey),
      fileName: encryptedName,
      fileSize: file.length,
    });
    const id = text(created, "attachmentId");
    const path = `/api/ciphers/${itemId}/attachment/${id}`;
    await this.#send("POST", path, formWithFile(file, encryptedName));
    return id;
  }

  /** The bytes that were uploaded. @throws {Error} if what the server has is not what was encrypted. */
  async downloadAttachment(itemId: string, attachmentId: string): Promise<Uint8Array> {
    const attachment = await this.#send("GET", `/api/ciphers/${itemId}/attachment/${attachmentId}`);
    const fileKey = decryptBytes(text(attachment, "key"), this.#userKey);
    return decryptFile(await this.#download(text(attachment, "url")), fileKey);
  }

  async deleteAttachment(itemId: string, attachmentId: string): Promise<void> {
    await this.#send("DELETE", `/api/ciphers/${itemId}/attachment/${attachmentId}`);
  }

  /** A text Send that lives for seven days. @returns its id. */
  async createSend(name: string, content: string): Promise<string> {
    const { fields, key } = this.#newSend(name);
    const created = await this.#send("POST", "/api/sends", {
      ...fields,
      type: 0,
      text: { text: encryptText(content, key), hidden: false },
    });
    return text(created, "id");
  }

  /** A file Send that lives for seven days. @returns its id. */
  async createFileSend(name: string, fileName: string, bytes: Uint8Array): Promise<string> {
    const { fields, key } = this.#newSend(name);
    const file = encryptFile(bytes, key);
    const encryptedName = encryptText(fileName, key);
    const created = await this.#send("POST", "/api/sends/file/v2", {
      ...fields,
      type: 1,
      file: { fileName: encryptedName },
      fileLength: file.length,
    });
    await this.#send("POST", `/api${text(created, "url")}`, formWithFile(file, encryptedName));
    return text(created["sendResponse"] as Json, "id");
  }

  /** All Sends, sorted by name. */
  async listSends(): Promise<VaultSend[]> {
    const sends = ((await this.#sync())["sends"] ?? []) as Json[];
    return sends.map((stored) => this.#readSend(stored)).sort(byName);
  }

  /** The bytes of a file Send, by the way of its receiver, which writes to the database. */
  async downloadSend(id: string): Promise<Uint8Array> {
    const stored = (((await this.#sync())["sends"] ?? []) as Json[]).find(
      ({ id: other }) => other === id,
    );
    if (stored === undefined) throw new VaultClientError(404, `there is no Send ${id}`);
    const fileId = text(stored["file"] as Json, "id");
    const access = await send(this.url, "POST", `/api/sends/${id}/access/file/${fileId}`, {});
    const key = deriveSendKey(decryptBytes(text(stored, "key"), this.#userKey));
    return decryptFile(await this.#download(text(access, "url")), key);
  }

  async deleteSend(id: string): Promise<void> {
    await this.#send("DELETE", `/api/sends/${id}`);
  }

  #sync(): Promise<Json> {
    return this.#send("GET", "/api/sync?excludeDomains=true");
  }

  #cipher(item: { readonly name: string; readonly notes?: string }): Json {
    const encrypted = (value: string): string => encryptText(value, this.#userKey);
    return {
      type: 1,
      name: encrypted(item.name),
      notes: item.notes === undefined ? null : encrypted(item.notes),
      folderId: null,
      organizationId: null,
      favorite: false,
      reprompt: 0,
      fields: null,
      passwordHistory: null,
      login: { username: encrypted("user"), password: encrypted("secret"), totp: null, uris: null },
    };
  }

  #newSend(name: string): { fields: Json; key: SymmetricKey } {
    const seed = randomBytes(16);
    const key = deriveSendKey(seed);
    const fields = {
      name: encryptText(name, key),
      notes: null,
      key: encryptBytes(seed, this.#userKey),
      deletionDate: new Date(Date.now() + 7 * day).toISOString(),
      disabled: false,
      hideEmail: false,
    };
    return { fields, key };
  }

  #readSend(stored: Json): VaultSend {
    const key = deriveSendKey(decryptBytes(text(stored, "key"), this.#userKey));
    const decrypted = (part: unknown, field: string): string | null =>
      part === null || part === undefined ? null : decryptText(text(part as Json, field), key);
    return {
      id: text(stored, "id"),
      name: decryptText(text(stored, "name"), key),
      text: decrypted(stored["text"], "text"),
      fileName: decrypted(stored["file"], "fileName"),
    };
  }

  #send(method: string, path: string, body?: Json | FormData): Promise<Json> {
    return send(this.url, method, path, body, this.tokens.accessToken);
  }

  /** A download URL names the `DOMAIN`, which in tests is seldom where the server listens: its path is what counts. */
  async #download(url: string): Promise<Uint8Array> {
    const { pathname, search } = new URL(url);
    const response = await fetch(new URL(this.url).origin + pathname + search);
    if (!response.ok) throw new VaultClientError(response.status, `GET ${pathname}`);
    return new Uint8Array(await response.arrayBuffer());
  }
}

async function send(
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

function formWithFile(file: Uint8Array<ArrayBuffer>, name: string): FormData {
  const form = new FormData();
  form.set("data", new Blob([file], { type: "application/octet-stream" }), name);
  return form;
}

/** @throws {Error} naming the field, if the answer lacks it. */
function text(json: Json, field: string): string {
  const value = json[field];
  if (typeof value !== "string") throw new Error(`the server's answer has no ${field}`);
  return value;
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : Number(a.name > b.name);
}
