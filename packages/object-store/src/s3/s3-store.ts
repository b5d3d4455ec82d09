/**
 * The contract of a store over S3.
 *
 * Each request is sent once, with its body's SHA-256 in the signature. What was written is durable and visible when S3 says so; that is
 * the store's promise, and nothing here checks it. Listings come as the store gives them, without objects whose keys are not ours.
 */
import type { Readable } from "node:stream";
import { bodySize, releasableBody } from "../body.ts";
import { deleteOneByOne, deletingAll } from "../delete-all.ts";
import { ObjectStoreError } from "../errors.ts";
import { checkKey, checkPrefix, isObjectKey } from "../object-key.ts";
import type {
  GetOptions,
  ListOptions,
  ObjectBody,
  ObjectInfo,
  ObjectReading,
  ObjectStore,
  ObjectStoreProperties,
  PutOptions,
  RequestOptions,
} from "../object-store.ts";
import { checkPutOptions, resolveRange } from "../request-checks.ts";
import { bulkDeleteKeysMax } from "./bulk-delete.ts";
import { hashBody } from "./hash-body.ts";
import { planUpload } from "./plan-upload.ts";
import { readMessage } from "./read-message.ts";
import type { S3Client, S3ListPage, S3ObjectHead } from "./s3-client.ts";
import { explainS3Failure } from "./s3-errors.ts";
import { S3Failure } from "./s3-failure.ts";
import type { S3Settings } from "./s3-settings.ts";

/** Larger bodies go up in parts, since one that fails at its end is sent anew from its beginning. */
const singlePutBytesUsual = 256 * 1024 * 1024;
/** S3's own limit. */
const singlePutBytesMax = 5 * 1024 ** 3;
/** The entry in which Litestream keeps the time of a file's content. */
const timestampName = "litestream-timestamp";

export class S3Store implements ObjectStore {
  readonly properties: ObjectStoreProperties;
  readonly #settings: S3Settings;
  readonly #now: () => Date;
  #client: Promise<S3Client> | undefined;
  /** Until the store proves not to. */
  #deletesInBulk: boolean;

  /** @param now - this machine's clock, for messages about clocks that differ. */
  constructor(settings: S3Settings, now: () => Date = () => new Date()) {
    this.#settings = settings;
    this.#now = now;
    const { bucket, keyPrefix, endpoint, profile } = settings;
    this.#deletesInBulk = profile.bulkDelete;
    this.properties = {
      kind: "s3",
      location: `s3://${bucket}/${keyPrefix.slice(0, -1)}?endpoint=${endpoint}`,
      listingSorted: profile.listingSorted,
      createIfAbsent: "unproved",
    };
  }

  async put(key: string, body: ObjectBody, options: PutOptions = {}): Promise<void> {
    const { signal } = options;
    signal?.throwIfAborted();
    checkKey("put", key);
    checkPutOptions("put", key, options);
    const size = bodySize(body);
    const plan = size > singlePutBytesUsual ? planUpload(size, this.#settings.profile) : undefined;
    if (plan === undefined) {
      await this.#putWhole("put", key, body, options);
      return;
    }
    await this.#ask("put", key, async (client) => {
      const { uploadInParts } = await import("./s3-multipart.ts");
      await uploadInParts(client, {
        key: this.#fullKey(key),
        callerKey: key,
        body,
        metadata: toMetadata(options),
        plan,
        signal,
      });
    });
  }

  async putIfAbsent(
    key: string,
    body: ObjectBody,
    options: PutOptions = {},
  ): Promise<"created" | "exists"> {
    options.signal?.throwIfAborted();
    checkKey("putIfAbsent", key);
    checkPutOptions("putIfAbsent", key, options);
    const outcome = await this.#putWhole("putIfAbsent", key, body, options);
    return outcome === "stored" ? "created" : "exists";
  }

  async get(key: string, options: GetOptions = {}): Promise<ObjectReading> {
    const { signal, range } = options;
    signal?.throwIfAborted();
    checkKey("get", key);
    // What is wrong whatever the size is; the store judges the rest.
    resolveRange(key, Number.MAX_SAFE_INTEGER, range);
    const { head, body, bodySize } = await this.#ask("get", key, (client) =>
      client.getObject(this.#fullKey(key), toRangeHeader(range), signal),
    );
    const chunks = this.#readBody(key, body, bodySize, signal);
    return { info: toInfo(key, head), body: releasableBody(chunks, () => body.destroy()) };
  }

  async head(key: string, options: RequestOptions = {}): Promise<ObjectInfo> {
    const { signal } = options;
    signal?.throwIfAborted();
    checkKey("head", key);
    const head = await this.#ask("head", key, async (client) => {
      try {
        return await client.headObject(this.#fullKey(key), signal);
      } catch (error) {
        if (!(error instanceof S3Failure) || error.status !== 404) throw error;
        // It has no body, so it does not say what is missing: the object, the bucket, or S3 itself. A GET does.
        const { head: found, body } = await client.getObject(this.#fullKey(key), undefined, signal);
        body.destroy();
        return found;
      }
    });
    return toInfo(key, head);
  }

  async *list(
    prefix: string,
    options: ListOptions = {},
  ): AsyncGenerator<readonly ObjectInfo[], void, undefined> {
    const { signal, startAfter = "" } = options;
    signal?.throwIfAborted();
    checkPrefix("list", prefix);
    if (startAfter !== "" && !this.properties.listingSorted) {
      throw this.#listingError(
        prefix,
        "INVALID_ARGUMENT",
        "this store lists in no order, so there is no place to start",
      );
    }
    let from =
      startAfter === "" ? undefined : { text: this.#fullKey(startAfter), isContinued: false };
    for (;;) {
      const page = await this.#ask("list", prefix, (client) =>
        client.listObjects(this.#fullKey(prefix), from, signal),
      );
      const infos = this.#toInfos(prefix, page);
      if (infos.length > 0) yield infos;
      if (!page.isTruncated) return;
      const next = page.next ?? this.#nextMarker(page);
      if (next === undefined || next === from?.text) {
        throw this.#listingError(
          prefix,
          "STORE_FAILED",
          "the listing says that there is more, and does not go on",
        );
      }
      from = { text: next, isContinued: true };
    }
  }

  async delete(key: string, options: RequestOptions = {}): Promise<void> {
    const { signal } = options;
    signal?.throwIfAborted();
    checkKey("delete", key);
    await this.#ask("delete", key, async (client) => {
      try {
        await client.deleteObject(this.#fullKey(key), signal);
      } catch (error) {
        // Most stores have no objection to deleting what is not there.
        if (error instanceof S3Failure && error.status === 404 && error.s3Code === "NoSuchKey") {
          return;
        }
        throw error;
      }
    });
  }

  deleteAll(keys: readonly string[], options: RequestOptions = {}): Promise<void> {
    return deletingAll(keys, options, async (left) => {
      const all = [...left];
      for (let start = 0; start < all.length; start += bulkDeleteKeysMax) {
        const some = all.slice(start, start + bulkDeleteKeysMax);
        if (this.#deletesInBulk) await this.#deleteInBulk(some, left, options);
        const rest = some.filter((key) => left.has(key));
        if (rest.length === 0) continue;
        // Where it fails one by one as well, that says why.
        await deleteOneByOne(this, rest, left, options);
        this.#deletesInBulk = false;
      }
    });
  }

  /** Takes out of `left` what the store says is gone: nothing, where it does not take such a request. */
  async #deleteInBulk(
    keys: readonly string[],
    left: Set<string>,
    { signal }: RequestOptions,
  ): Promise<void> {
    const [first = ""] = keys;
    const asked = new Map(keys.map((key) => [this.#fullKey(key), key]));
    const { deleted, failures } = await this.#ask("delete", first, (client) =>
      client.deleteObjects([...asked.keys()], signal),
    ).catch((error: unknown) => {
      if (refusesBulk(error)) return { deleted: [], failures: [] };
      throw error;
    });
    for (const fullKey of deleted) left.delete(asked.get(fullKey) ?? "");
    const errors: ObjectStoreError[] = [];
    for (const { key: fullKey, failure } of failures) {
      const key = asked.get(fullKey);
      if (key === undefined) continue;
      if (failure.s3Code === "NoSuchKey") left.delete(key);
      else errors.push(this.#explain(failure, "delete", key));
    }
    // As long as something may come of it, the request for what is left is worth another attempt.
    const error = errors.find(({ retryable }) => retryable) ?? errors[0];
    if (error !== undefined) throw error;
  }

  async #putWhole(
    operation: "put" | "putIfAbsent",
    key: string,
    body: ObjectBody,
    options: PutOptions,
  ): Promise<"stored" | "refused"> {
    const { signal } = options;
    if (bodySize(body) > singlePutBytesMax) {
      throw new ObjectStoreError("INVALID_ARGUMENT", "S3 takes 5 GiB in one request at most", {
        operation,
        key,
      });
    }
    const hashed = await hashBody(operation, key, body, signal);
    return await this.#ask(operation, key, (client) =>
      client.putObject({
        key: this.#fullKey(key),
        body: hashed,
        metadata: toMetadata(options),
        isConditional: operation === "putIfAbsent",
        signal,
      }),
    );
  }

  async *#readBody(
    key: string,
    body: Readable,
    size: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    let position = 0;
    try {
      for await (const chunk of readMessage(body)) {
        signal?.throwIfAborted();
        position += chunk.length;
        yield chunk;
      }
    } catch (error) {
      signal?.throwIfAborted();
      const { message, code } = error as NodeJS.ErrnoException;
      const failure = new S3Failure(`the answer broke at byte ${position} of ${size}: ${message}`, {
        kind: "connection",
        networkCode: code,
      });
      throw this.#explain(failure, "get", key);
    } finally {
      body.destroy();
    }
    if (position === size) return;
    throw new ObjectStoreError("BODY_MISMATCH", `the body ended at byte ${position} of ${size}`, {
      operation: "get",
      key,
    });
  }

  #toInfos(prefix: string, { objects, storeTime }: S3ListPage): ObjectInfo[] {
    const { keyPrefix } = this.#settings;
    const infos: ObjectInfo[] = [];
    for (const { key: fullKey, size, lastModified } of objects) {
      if (!fullKey.startsWith(this.#fullKey(prefix))) {
        throw this.#listingError(
          prefix,
          "STORE_FAILED",
          "the listing has a key that was not asked for",
        );
      }
      const key = fullKey.slice(keyPrefix.length);
      // Other tools keep objects here too, and none of ours has such a name.
      if (!isObjectKey(key)) continue;
      infos.push({ key, size, lastModified, ...(storeTime === undefined ? {} : { storeTime }) });
    }
    return infos;
  }

  /** LIST 1 names no place to go on without a delimiter: it is the last key. */
  #nextMarker({ objects }: S3ListPage): string | undefined {
    return this.#settings.profile.listVersion === 1 ? objects.at(-1)?.key : undefined;
  }

  #listingError(
    prefix: string,
    code: "STORE_FAILED" | "INVALID_ARGUMENT",
    reason: string,
  ): ObjectStoreError {
    return new ObjectStoreError(code, reason, {
      operation: "list",
      key: prefix,
      hint: `Look at the provider's profile (${this.#settings.profile.name}, LIST ${this.#settings.profile.listVersion}).`,
    });
  }

  #fullKey(key: string): string {
    return this.#settings.keyPrefix + key;
  }

  async #ask<T>(
    operation: string,
    key: string,
    request: (client: S3Client) => Promise<T>,
  ): Promise<T> {
    // The SDK is large: who keeps objects in a directory never loads it.
    this.#client ??= import("./s3-client.ts").then(({ S3Client }) => new S3Client(this.#settings));
    const client = await this.#client;
    try {
      return await request(client);
    } catch (error) {
      throw error instanceof S3Failure ? this.#explain(error, operation, key) : error;
    }
  }

  #explain(failure: S3Failure, operation: string, key: string): ObjectStoreError {
    const { bucket, endpoint, region, profile } = this.#settings;
    const { extraRetryStatuses } = profile;
    const now = this.#now();
    return explainS3Failure(failure, {
      operation,
      key,
      bucket,
      endpoint,
      region,
      extraRetryStatuses,
      now,
    });
  }
}

/** Whether the store may not take the request as such, whatever it says to single deletes. Some know no `POST`, some are against the MD5. */
function refusesBulk(error: unknown): boolean {
  if (!(error instanceof ObjectStoreError) || !(error.cause instanceof S3Failure)) return false;
  const { status } = error.cause;
  return !error.retryable || status === 404 || error.code === "BODY_MISMATCH";
}

function toRangeHeader(range: GetOptions["range"]): string | undefined {
  if (range === undefined) return undefined;
  const { start, length } = range;
  return `bytes=${start}-${length === undefined ? "" : start + length - 1}`;
}

function toMetadata({ metadata, timestamp }: PutOptions): Readonly<Record<string, string>> {
  return {
    ...metadata,
    ...(timestamp === undefined ? {} : { [timestampName]: timestamp.toISOString() }),
  };
}

function toInfo(key: string, head: S3ObjectHead): ObjectInfo {
  const { size, lastModified, storeTime } = head;
  const { [timestampName]: stamp, ...metadata } = head.metadata;
  const timestamp = new Date(stamp ?? "");
  return {
    key,
    size,
    lastModified,
    ...(storeTime === undefined ? {} : { storeTime }),
    ...(Number.isNaN(timestamp.getTime()) ? {} : { timestamp }),
    ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
  };
}
