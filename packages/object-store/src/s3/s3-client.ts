/**
 * The only file that sends by the AWS SDK: one method per request, each of which is sent once (s3.md 5).
 *
 * Its callers see plain data and `S3Failure`, never the SDK's own objects: these carry the request with its signature.
 */
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { finished } from "node:stream/promises";
import {
  type $Command,
  AbortMultipartUploadCommand,
  S3Client as AwsClient,
  type CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  type PutObjectCommandInput,
  type S3ClientResolvedConfig,
  type ServiceInputTypes,
  type ServiceOutputTypes,
  type UploadPartCommand,
  type UploadPartCommandInput,
} from "@aws-sdk/client-s3";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { type BulkDeleteAnswer, decodeBulkDelete, encodeBulkDelete } from "./bulk-delete.ts";
import {
  type DirectRequest,
  DirectRequests,
  parseError,
  type RawAnswer,
  readErrorAnswer,
  readText,
} from "./direct-request.ts";
import { type HashedBody, hashBytes } from "./hash-body.ts";
import { createAgents } from "./s3-agents.ts";
import { redact, S3Failure } from "./s3-failure.ts";
import type { S3Settings } from "./s3-settings.ts";

/** Time for a body is added to the time for an answer at this rate. */
const uploadBytesPerSecondMin = 64 * 1024;

/** Of the answer to a bulk delete: room for 1,000 keys of 1 KiB, each with a message. */
const bulkAnswerBytesMax = 4 * 1024 * 1024;

const metadataPrefix = "x-amz-meta-";
/** SHA-256 of no bytes. */
const sha256OfNothing = hashBytes(new Uint8Array()).sha256;

/** The SDK would write to the console otherwise. What it has to say is in the errors. */
const noLog = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };

export interface S3ObjectHead {
  readonly size: number;
  readonly lastModified: Date;
  /** `x-amz-meta-…`, names in lower case. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly storeTime: Date | undefined;
}

interface S3ListedObject {
  readonly key: string;
  readonly size: number;
  readonly lastModified: Date;
}

export interface S3ListPage {
  readonly objects: readonly S3ListedObject[];
  readonly isTruncated: boolean;
  /** Where to go on: a continuation token (LIST 2) or a marker (LIST 1), if the store gave one. */
  readonly next: string | undefined;
  readonly storeTime: Date | undefined;
}

/** By the names that the store knows. */
export interface S3BulkDeletion {
  readonly deleted: readonly string[];
  readonly failures: readonly { readonly key: string; readonly failure: S3Failure }[];
}

export interface S3PutRequest {
  readonly key: string;
  readonly body: HashedBody;
  readonly metadata: Readonly<Record<string, string>>;
  readonly isConditional: boolean;
  readonly signal: AbortSignal | undefined;
}

/** What an upload in parts sends. */
export type S3UploadCommand =
  | CreateMultipartUploadCommand
  | UploadPartCommand
  | CompleteMultipartUploadCommand;

/** What `Upload` reads of the answers. */
export interface S3UploadAnswer {
  readonly UploadId?: string | undefined;
  readonly ETag?: string | undefined;
  readonly ChecksumSHA256?: string | undefined;
}

interface Answered<Output> {
  readonly output: Output;
  readonly status: number;
  readonly storeTime: Date | undefined;
}

/** Of an answer, as the handler gave it; the SDK's types end before it. */
interface RawResponse {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
}

/** Every method rejects with `S3Failure`, with the reason of an aborted signal, or with the error of a body's own source. */
export class S3Client {
  readonly #settings: S3Settings;
  readonly #client: AwsClient;
  readonly #direct: DirectRequests;
  readonly #secrets: readonly string[];

  constructor(settings: S3Settings) {
    this.#settings = settings;
    const { accessKeyId, secretAccessKey, sessionToken = "" } = settings.credentials;
    this.#secrets = [secretAccessKey, sessionToken, accessKeyId];
    const handler = new NodeHttpHandler({
      ...createAgents(settings.connection),
      connectionTimeout: settings.timeouts.connectMs,
      requestTimeout: settings.timeouts.answerMs,
      throwOnRequestTimeout: true,
      socketTimeout: settings.timeouts.silenceMs,
      logger: noLog,
    });
    this.#client = new AwsClient({
      endpoint: settings.endpoint,
      region: settings.region,
      // The SDK writes into it.
      credentials: { ...settings.credentials },
      forcePathStyle: settings.isPathStyle,
      // Ours is in the signature; the SDK's own are refused by many stores, and turn streams into chunks.
      requestChecksumCalculation: "WHEN_REQUIRED",
      // Of no use with ranges, and the content has checksums of its own.
      responseChecksumValidation: "WHEN_REQUIRED",
      maxAttempts: 1,
      retryMode: "standard",
      expectContinueHeader: false,
      followRegionRedirects: false,
      // One answer with a wrong `Date` would spoil the signatures of the requests that follow.
      disableClockSkewCorrection: true,
      // All that follows would else be looked up in variables and files that are not ours.
      defaultsMode: "standard",
      disableS3ExpressSessionAuth: true,
      useArnRegion: false,
      useDualstackEndpoint: false,
      useFipsEndpoint: false,
      userAgentAppId: "vaultwarden-stream",
      logger: noLog,
      requestHandler: handler,
    });
    this.#direct = new DirectRequests(settings, handler, this.#client.config.sha256);
  }

  /** @returns `refused` if the condition did not hold. */
  async putObject(request: S3PutRequest): Promise<"stored" | "refused"> {
    const { key, body, metadata, isConditional, signal } = request;
    const { acl } = this.#settings;
    try {
      const { status, headers } = await this.#put(
        key,
        {},
        {
          "content-type": "application/octet-stream",
          ...Object.fromEntries(
            Object.entries(metadata).map(([name, value]) => [metadataPrefix + name, value]),
          ),
          ...(acl === undefined ? {} : { "x-amz-acl": acl }),
          ...(isConditional ? { "if-none-match": "*" } : {}),
        },
        body,
        signal,
      );
      // Whoever takes every friendly answer for success loses writes: this one is S3's own.
      if (status !== 200 || headers["etag"] === undefined)
        throw unusable("the answer to a PUT", status);
      return "stored";
    } catch (error) {
      if (isConditional && error instanceof S3Failure && error.status === 412) return "refused";
      throw error;
    }
  }

  async headObject(key: string, signal: AbortSignal | undefined): Promise<S3ObjectHead> {
    const answer = await this.#send(new HeadObjectCommand(this.#name(key)), signal);
    const { ContentLength: size, LastModified: lastModified } = answer.output;
    if (answer.status !== 200 || size === undefined || lastModified === undefined) {
      throw unusable("the answer to a HEAD", answer.status);
    }
    return toHead(answer, size, lastModified);
  }

  /**
   * @param range - first and last byte, both included.
   * @returns the object's head, and its bytes, which have to be read or destroyed.
   */
  async getObject(
    key: string,
    range: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<{ head: S3ObjectHead; bodySize: number; body: Readable }> {
    const { status, headers, body } = await this.#sendDirectly({
      method: "GET",
      key,
      headers: range === undefined ? {} : { range },
      sha256: sha256OfNothing,
      signal,
    });
    const bodySize = readSize(headers["content-length"]);
    const size = range === undefined ? bodySize : sizeInContentRange(headers["content-range"]);
    const lastModified = new Date(headers["last-modified"] ?? "");
    const isExpected = status === (range === undefined ? 200 : 206);
    if (
      !isExpected ||
      bodySize === undefined ||
      size === undefined ||
      Number.isNaN(lastModified.getTime())
    ) {
      body.destroy();
      throw unusable("the answer to a GET", status);
    }
    const metadata = metadataIn(headers);
    const head = { size, lastModified, metadata, storeTime: readDate(headers) };
    return { head, bodySize, body };
  }

  async deleteObject(key: string, signal: AbortSignal | undefined): Promise<void> {
    await this.#send(new DeleteObjectCommand(this.#name(key)), signal);
  }

  /**
   * Deletes by one request. Some stores take it with `Content-MD5` only.
   *
   * @param keys - 1 to 1,000.
   * @returns those that are gone and those that are not. Of some the store may have said nothing.
   */
  async deleteObjects(
    keys: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<S3BulkDeletion> {
    const bytes = encodeBulkDelete(keys);
    const answer = await this.#sendBody(
      { method: "POST", key: "", query: { delete: "" }, signal },
      {
        "content-type": "application/xml",
        "content-md5": createHash("md5").update(bytes).digest("base64"),
      },
      hashBytes(bytes),
    );
    const { deleted, failures } = await this.#readBulkDelete(answer, signal);
    return {
      deleted,
      failures: failures.map(({ key, ...reason }) => ({
        key,
        failure: toRefusal(answer, reason, this.#secrets),
      })),
    };
  }

  async #readBulkDelete(
    { status, headers, body }: RawAnswer,
    signal: AbortSignal | undefined,
  ): Promise<BulkDeleteAnswer> {
    let document: string;
    try {
      document = await readText(body, bulkAnswerBytesMax);
    } catch (error) {
      signal?.throwIfAborted();
      throw toFailure(error, undefined, this.#secrets);
    }
    const result = status === 200 ? decodeBulkDelete(document) : undefined;
    if (result !== undefined) return result;
    const reason = parseError(document);
    if (reason.code === undefined) throw unusable("the answer to a bulk delete", status);
    // An error inside of a success is a failure of the store.
    throw toRefusal({ status: 500, headers }, reason, this.#secrets);
  }

  /** @param from - `next` of the page before, or where to begin (LIST 2: behind it), as `isContinued` says. */
  async listObjects(
    prefix: string,
    from: { readonly text: string; readonly isContinued: boolean } | undefined,
    signal: AbortSignal | undefined,
  ): Promise<S3ListPage> {
    const { bucket, profile } = this.#settings;
    const common = { Bucket: bucket, Prefix: prefix };
    if (profile.listVersion === 1) {
      const command = new ListObjectsCommand({
        ...common,
        ...(from === undefined ? {} : { Marker: from.text }),
      });
      const answer = await this.#send(command, signal);
      return toPage(answer, answer.output.NextMarker);
    }
    const start = from?.isContinued === true ? "ContinuationToken" : "StartAfter";
    const command = new ListObjectsV2Command({
      ...common,
      ...(from === undefined ? {} : { [start]: from.text }),
    });
    const answer = await this.#send(command, signal);
    return toPage(answer, answer.output.NextContinuationToken);
  }

  /** What all requests of an upload have in common, as the SDK's `Upload` wants it. */
  paramsOfUpload(key: string, metadata: Readonly<Record<string, string>>): PutObjectCommandInput {
    return { ...this.#name(key), ...this.#acl(), Metadata: { ...metadata } };
  }

  get configOfUpload(): S3ClientResolvedConfig {
    return this.#client.config;
  }

  async sendPart(
    { Key = "", PartNumber, UploadId = "" }: UploadPartCommandInput,
    bytes: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<S3UploadAnswer> {
    const body = hashBytes(bytes);
    const query = { partNumber: String(PartNumber), uploadId: UploadId };
    const { status, headers } = await this.#put(Key, query, {}, body, signal);
    const { etag } = headers;
    if (etag === undefined) throw unusable("the answer to a part", status);
    return { ETag: etag, ...this.#checksum(body.sha256) };
  }

  /** Sends what the SDK's `Upload` built, as all other requests are sent. */
  async sendOfUpload(
    command: Exclude<S3UploadCommand, UploadPartCommand>,
    signal: AbortSignal | undefined,
  ): Promise<S3UploadAnswer> {
    if (command instanceof CreateMultipartUploadCommand) {
      if (this.#sendsChecksums) command.input.ChecksumAlgorithm = "SHA256";
      const { output, status } = await this.#send(command, signal);
      if (output.UploadId === undefined) throw unusable("the answer to a new upload", status);
      return output;
    }
    const { output, status } = await this.#send(command, signal);
    if (output.ETag === undefined) throw unusable("the answer to a completed upload", status);
    return output;
  }

  async removeUpload(key: string, uploadId: string): Promise<void> {
    const command = new AbortMultipartUploadCommand({ ...this.#name(key), UploadId: uploadId });
    await this.#send(command, undefined);
  }

  #name(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#settings.bucket, Key: key };
  }

  get #sendsChecksums(): boolean {
    return this.#settings.profile.requestChecksums === "always";
  }

  #checksum(sha256: string): { readonly ChecksumSHA256?: string } {
    if (!this.#sendsChecksums) return {};
    return { ChecksumSHA256: Buffer.from(sha256, "hex").toString("base64") };
  }

  #acl(): { readonly ACL?: "private" } {
    const { acl } = this.#settings;
    // The SDK sends what it is given; its type only lists what AWS knows.
    return acl === undefined ? {} : { ACL: acl as "private" };
  }

  async #put(
    key: string,
    query: Readonly<Record<string, string>>,
    headers: Readonly<Record<string, string>>,
    body: HashedBody,
    signal: AbortSignal | undefined,
  ): Promise<Pick<RawAnswer, "status" | "headers">> {
    const answer = await this.#sendBody({ method: "PUT", key, query, signal }, headers, body);
    // The headers have said all; the rest is read so that the next request finds the connection free.
    await finished(answer.body.resume()).catch(() => {});
    return answer;
  }

  #sendBody(
    request: Pick<DirectRequest, "method" | "key" | "query"> & {
      readonly signal: AbortSignal | undefined;
    },
    headers: Readonly<Record<string, string>>,
    body: HashedBody,
  ): Promise<RawAnswer> {
    const { ChecksumSHA256: checksum } = this.#checksum(body.sha256);
    return this.#sendDirectly({
      ...request,
      headers: {
        ...headers,
        "content-length": String(body.size),
        ...(checksum === undefined ? {} : { "x-amz-checksum-sha256": checksum }),
      },
      content: body,
      sha256: body.sha256,
    });
  }

  async #sendDirectly(
    request: Omit<DirectRequest, "body" | "signal" | "timeoutMs"> & {
      readonly content?: HashedBody;
      readonly signal: AbortSignal | undefined;
    },
  ): Promise<RawAnswer> {
    const { content, signal } = request;
    signal?.throwIfAborted();
    // Ends a request whose body fails, and one whose answer came before its body was sent.
    const ending = new AbortController();
    const stream = content === undefined ? undefined : openStream(content);
    let bodyError: unknown;
    stream?.on("error", (error) => {
      bodyError = error;
      ending.abort();
    });
    const either =
      signal === undefined || stream === undefined
        ? (signal ?? ending.signal)
        : AbortSignal.any([signal, ending.signal]);
    try {
      const answer = await this.#direct.send({
        ...request,
        body: stream ?? content?.bytes,
        signal: either,
        timeoutMs:
          this.#settings.timeouts.answerMs +
          Math.round(((content?.size ?? 0) / uploadBytesPerSecondMin) * 1000),
      });
      if (answer.status < 300) return answer;
      throw toRefusal(answer, await readErrorAnswer(answer.body), this.#secrets);
    } catch (error) {
      signal?.throwIfAborted();
      if (bodyError !== undefined) throw bodyError;
      throw error instanceof S3Failure ? error : toFailure(error, undefined, this.#secrets);
    } finally {
      if (stream !== undefined && !stream.readableEnded) {
        stream.destroy();
        ending.abort();
      }
    }
  }

  async #send<Input extends ServiceInputTypes, Output extends ServiceOutputTypes>(
    command: $Command<Input, Output, S3ClientResolvedConfig>,
    signal: AbortSignal | undefined,
  ): Promise<Answered<Output>> {
    signal?.throwIfAborted();
    let response: RawResponse | undefined;
    command.middlewareStack.add(
      (next) => async (args) => {
        const result = await next(args);
        response = result.response as RawResponse;
        // The SDK changes the status of a success that is an error.
        response = { statusCode: response.statusCode, headers: { ...response.headers } };
        return result;
      },
      { step: "deserialize", name: "keepAnswer", priority: "low" },
    );
    command.middlewareStack.add(
      (next) => (args) => {
        const request = args.request as {
          headers: Record<string, string>;
          query: Record<string, unknown>;
        };
        Object.assign(request.headers, this.#settings.profile.extraHeaders);
        // The SDK's own, for its statistics; GCS refuses it, and nobody needs it.
        delete request.query["x-id"];
        return next(args);
      },
      { step: "build", name: "completeRequest", priority: "low" },
    );
    try {
      const output = await this.#client.send(command, {
        ...(signal === undefined ? {} : { abortSignal: signal }),
      });
      const storeTime = response && readDate(response.headers);
      return { output, status: response?.statusCode ?? 0, storeTime };
    } catch (error) {
      signal?.throwIfAborted();
      throw toFailure(error, response, this.#secrets);
    }
  }
}

/** @returns undefined for bytes in memory. The source's chunks are only lent, so each is copied. */
function openStream(body: HashedBody): Readable | undefined {
  if (body.bytes !== undefined) return undefined;
  const chunks = body.open();
  const copies = async function* () {
    for await (const chunk of chunks) yield Buffer.from(chunk);
  };
  return Readable.from(copies(), { objectMode: false, highWaterMark: 16 * 1024 });
}

function toHead(
  { output, storeTime }: Answered<{ readonly Metadata?: Record<string, string> | undefined }>,
  size: number,
  lastModified: Date,
): S3ObjectHead {
  return { size, lastModified, metadata: output.Metadata ?? {}, storeTime };
}

/** Entries of metadata, names in lower case and without what S3 puts before them. */
function metadataIn(headers: RawAnswer["headers"]): Readonly<Record<string, string>> {
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(metadataPrefix)) metadata[name.slice(metadataPrefix.length)] = value;
  }
  return metadata;
}

function readSize(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** The size of the whole object in `bytes 0-9/100`. */
function sizeInContentRange(contentRange: string | undefined): number | undefined {
  const size = /^bytes \d+-\d+\/(\d+)$/.exec(contentRange ?? "")?.[1];
  return size === undefined ? undefined : Number(size);
}

interface ListOutput {
  readonly Contents?:
    | readonly {
        readonly Key?: string | undefined;
        readonly Size?: number | undefined;
        readonly LastModified?: Date | undefined;
      }[]
    | undefined;
  readonly IsTruncated?: boolean | undefined;
}

function toPage(answer: Answered<ListOutput>, next: string | undefined): S3ListPage {
  const { output, status, storeTime } = answer;
  // An empty body and the page of a proxy have no objects either, and are no proof of that.
  if (status !== 200 || output.IsTruncated === undefined) throw unusable("the listing", status);
  const objects = (output.Contents ?? []).map(({ Key: key, Size: size, LastModified }) => {
    if (key === undefined || size === undefined || LastModified === undefined) {
      throw unusable("an object of the listing", status);
    }
    // GET and HEAD tell whole seconds, and one object has one time.
    const lastModified = new Date(Math.floor(LastModified.getTime() / 1000) * 1000);
    return { key, size, lastModified };
  });
  return { objects, isTruncated: output.IsTruncated, next, storeTime };
}

function unusable(what: string, status: number): S3Failure {
  return new S3Failure(`${what} is not S3's (status ${status})`, { kind: "unusable", status });
}

function toFailure(
  error: unknown,
  response: RawResponse | undefined,
  secrets: readonly string[],
): S3Failure {
  const failed = error as {
    readonly message?: unknown;
    readonly name?: unknown;
    readonly code?: unknown;
    readonly Code?: unknown;
    readonly cause?: unknown;
    readonly errors?: unknown;
  };
  const given = typeof failed.message === "string" ? failed.message : "";
  const message = redact(given.replace(/^@\S+ - (\[ERROR\] )?/, ""), secrets);
  const networkCode = typeof failed.code === "string" ? failed.code : undefined;
  if (response === undefined || networkCode !== undefined || failed.name === "TimeoutError") {
    // Several addresses were tried, and Node's error for all of them says nothing.
    const tried = Array.isArray(failed.errors) ? failed.errors.map(String).join("; ") : "";
    return new S3Failure(message || redact(tried, secrets) || "the connection failed", {
      kind: "connection",
      networkCode,
    });
  }
  const s3Code = typeof failed.Code === "string" ? failed.Code : undefined;
  const { statusCode, headers } = response;
  if (statusCode < 300 && s3Code === undefined) {
    return new S3Failure(message, { kind: "unusable", status: 500, ...facts(headers) });
  }
  const reason = { code: s3Code, message: message === "UnknownError" ? "" : message };
  // An error inside of a success is a failure of the store.
  return toRefusal({ status: statusCode >= 300 ? statusCode : 500, headers }, reason, secrets);
}

function toRefusal(
  { status, headers }: Pick<RawAnswer, "status" | "headers">,
  { code, message }: { readonly code: string | undefined; readonly message: string },
  secrets: readonly string[],
): S3Failure {
  return new S3Failure(redact(message, secrets), {
    kind: "answer",
    status,
    s3Code: code === undefined ? undefined : redact(code, secrets),
    ...facts(headers),
  });
}

/** What a failure keeps of the headers. */
function facts(headers: RawAnswer["headers"]) {
  const storeTime = readDate(headers);
  return {
    requestId: headers["x-amz-request-id"],
    storeTime,
    retryAfterMs: readRetryAfterMs(headers["retry-after"], storeTime),
    bucketRegion: headers["x-amz-bucket-region"],
  };
}

function readDate(headers: RawAnswer["headers"]): Date | undefined {
  const date = new Date(headers["date"] ?? "");
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/** Given in seconds, or as a time of the store's clock. */
function readRetryAfterMs(
  text: string | undefined,
  storeTime: Date | undefined,
): number | undefined {
  if (text === undefined) return undefined;
  if (/^\s*\d+\s*$/.test(text)) return Number(text) * 1000;
  const untilMs = Date.parse(text) - (storeTime?.getTime() ?? Number.NaN);
  return Number.isNaN(untilMs) ? undefined : Math.max(0, untilMs);
}
