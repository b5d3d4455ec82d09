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
import {
  asBlob,
  describeContent,
  formWithFile,
  type Json,
  type SealedContent,
  send,
  text,
  VaultClientError,
} from "./vault-request.ts";

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

export interface NewItem {
  readonly name: string;
  readonly notes?: string;
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

export type StoredKind = "item" | "attachment" | "text-send" | "file-send";

export interface StoredObject {
  readonly kind: StoredKind;
  readonly id: string;
  /** Of an attachment: whose it is. */
  readonly itemId?: string;
  /** Undefined for a row without a file. */
  readonly content: SealedContent | undefined;
}

/** Called once the content of a call is encrypted and before it is sent, for who writes down what to expect. */
export type SealedListener = (content: SealedContent) => void;

export interface SendOptions {
  readonly deletionDate?: Date;
  readonly onSealed?: SealedListener;
}

/** PBKDF2 rounds of new accounts: the least that the server takes. */
const kdfIterations = 100_000;
const day = 86_400_000;

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

/** Logs into an account that exists, also one that was restored elsewhere. @param deviceIdentifier - a UUID; default: a new device. */
export async function login(
  account: VaultAccount,
  deviceIdentifier: string = randomUUID(),
): Promise<VaultClient> {
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
      deviceIdentifier,
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
  async createItem(item: NewItem, onSealed?: SealedListener): Promise<string> {
    const cipher = this.#cipher(item);
    onSealed?.(describeContent(text(cipher, "name")));
    return text(await this.#send("POST", "/api/ciphers", cipher), "id");
  }

  async updateItem(id: string, item: NewItem, onSealed?: SealedListener): Promise<void> {
    const stored = await this.#send("GET", `/api/ciphers/${id}`);
    const cipher = this.#cipher(item);
    onSealed?.(describeContent(text(cipher, "name")));
    await this.#send("PUT", `/api/ciphers/${id}`, {
      ...cipher,
      lastKnownRevisionDate: stored["revisionDate"],
    });
  }

  /** Deletes it for good, with its attachments. */
  async deleteItem(id: string): Promise<void> {
    await this.#send("DELETE", `/api/ciphers/${id}`);
  }

  /** Everything that the account has, as the server stores it: what to expect of a copy of its data directory. */
  async readStored(): Promise<StoredObject[]> {
    const sync = await this.#sync();
    const stored: StoredObject[] = [];
    for (const cipher of (sync["ciphers"] ?? []) as Json[]) {
      const id = text(cipher, "id");
      stored.push({ kind: "item", id, content: describeContent(text(cipher, "name")) });
      for (const attachment of (cipher["attachments"] ?? []) as Json[]) {
        const content = await this.#describeDownload(text(attachment, "url"));
        stored.push({ kind: "attachment", id: text(attachment, "id"), itemId: id, content });
      }
    }
    for (const found of (sync["sends"] ?? []) as Json[]) {
      const id = text(found, "id");
      stored.push(
        found["type"] === 1
          ? {
              kind: "file-send",
              id,
              content: await this.#describeDownload(await this.#sendUrl(found)),
            }
          : { kind: "text-send", id, content: describeContent(text(found, "name")) },
      );
    }
    return stored;
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
  async uploadAttachment(
    itemId: string,
    fileName: string,
    bytes: Uint8Array,
    onSealed?: SealedListener,
  ): Promise<string> {
    const fileKey = randomBytes(64);
    const file = encryptFile(bytes, fileKey);
    onSealed?.(describeContent(file));
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

  /** Sends other bytes under the same id, as a client may: the server rewrites the file in place. Its size may change by up to 1 MiB. */
  async replaceAttachment(
    itemId: string,
    attachmentId: string,
    bytes: Uint8Array,
    onSealed?: SealedListener,
  ): Promise<void> {
    const path = `/api/ciphers/${itemId}/attachment/${attachmentId}`;
    const stored = await this.#send("GET", path);
    const file = encryptFile(bytes, decryptBytes(text(stored, "key"), this.#userKey));
    onSealed?.(describeContent(file));
    await this.#send("POST", path, formWithFile(file, text(stored, "fileName")));
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

  /** A text Send, by default one that lives for seven days. @returns its id. */
  async createSend(name: string, content: string, options: SendOptions = {}): Promise<string> {
    const { fields, key } = this.#newSend(name, options.deletionDate);
    options.onSealed?.(describeContent(text(fields, "name")));
    const created = await this.#send("POST", "/api/sends", {
      ...fields,
      type: 0,
      text: { text: encryptText(content, key), hidden: false },
    });
    return text(created, "id");
  }

  /** A file Send, by default one that lives for seven days. @returns its id. */
  async createFileSend(
    name: string,
    fileName: string,
    bytes: Uint8Array,
    options: SendOptions = {},
  ): Promise<string> {
    const { fields, key } = this.#newSend(name, options.deletionDate);
    const file = encryptFile(bytes, key);
    options.onSealed?.(describeContent(file));
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

  /** A file Send by the deprecated call, which stores the file before its row. @returns its id. */
  async createLegacyFileSend(name: string, fileName: string, bytes: Uint8Array): Promise<string> {
    const { fields, key } = this.#newSend(name);
    const encryptedName = encryptText(fileName, key);
    const form = new FormData();
    form.set("model", JSON.stringify({ ...fields, type: 1, file: { fileName: encryptedName } }));
    form.set("data", asBlob(encryptFile(bytes, key)), encryptedName);
    return text(await this.#send("POST", "/api/sends/file", form), "id");
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
    const key = deriveSendKey(decryptBytes(text(stored, "key"), this.#userKey));
    return decryptFile(await this.#download(await this.#sendUrl(stored)), key);
  }

  async deleteSend(id: string): Promise<void> {
    await this.#send("DELETE", `/api/sends/${id}`);
  }

  #sync(): Promise<Json> {
    return this.#send("GET", "/api/sync?excludeDomains=true");
  }

  #cipher(item: NewItem): Json {
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

  #newSend(
    name: string,
    deletionDate: Date = new Date(Date.now() + 7 * day),
  ): { fields: Json; key: SymmetricKey } {
    const seed = randomBytes(16);
    const key = deriveSendKey(seed);
    const fields = {
      name: encryptText(name, key),
      notes: null,
      key: encryptBytes(seed, this.#userKey),
      deletionDate: deletionDate.toISOString(),
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

  async #sendUrl(stored: Json): Promise<string> {
    const path = `/api/sends/${text(stored, "id")}/access/file/${text(stored["file"] as Json, "id")}`;
    return text(await send(this.url, "POST", path, {}), "url");
  }

  /** @returns undefined for a row without a file, as an upload that was cut short leaves it. */
  async #describeDownload(url: string): Promise<SealedContent | undefined> {
    try {
      return describeContent(await this.#download(url));
    } catch (error) {
      if (error instanceof VaultClientError && error.status === 404) return undefined;
      throw error;
    }
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

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : Number(a.name > b.name);
}
