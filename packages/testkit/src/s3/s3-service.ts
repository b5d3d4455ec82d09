import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { executeOperation } from "./execute-operation.ts";
import { receiveBody } from "./receive-body.ts";
import { openRequestBody } from "./request-body.ts";
import { S3Bucket } from "./s3-bucket.ts";
import { renderError, S3Error } from "./s3-error.ts";
import {
  compileS3FaultPlan,
  type S3Fault,
  type S3FaultPlan,
  type S3FaultRequest,
} from "./s3-faults.ts";
import type { S3Answer, S3Operating } from "./s3-operation.ts";
import { type S3Personality, type S3PersonalityName, s3Personalities } from "./s3-personalities.ts";
import { parseS3Request, type S3Operation, type S3Request } from "./s3-request.ts";
import { faultError, flipBit, sendAnswer } from "./send-answer.ts";
import type { S3Credentials } from "./sigv4.ts";
import { checkSignature, type VerifiedSignature } from "./sigv4-check.ts";
import { judgeConditions } from "./write-conditions.ts";

/** What came in and what became of it. Entries are complete once the answer has been sent. */
export interface S3RequestLogEntry {
  /** From 0. */
  readonly index: number;
  readonly operation: S3Operation;
  readonly method: string;
  /** The object's key; of listings the prefix. */
  readonly key: string;
  readonly query: Readonly<Record<string, string>>;
  /** Names in lower case, without `authorization` and `x-amz-security-token`. */
  readonly headers: Readonly<Record<string, string>>;
  /** Of the answer; not there if there was none, or not yet. */
  status?: number;
  /** S3's code, if the answer is an error. */
  errorCode?: string;
  /** Of the bodies, on the wire. */
  requestBytes: number;
  responseBytes: number;
  fault?: S3Fault;
  /** What the personality changed: `condition-ignored`, `stale-read`, … */
  readonly effects: string[];
}

/** What does not change while a server lives. */
export interface S3ServiceOptions {
  readonly bucket: string;
  readonly region: string;
  readonly credentials: S3Credentials;
  readonly now: () => Date;
  readonly clockSkewMaxMs: number;
}

/** The store behind the server: what it holds, how it behaves at the moment, and the way of a request through it. */
export class S3Service {
  readonly bucket: S3Bucket = new S3Bucket();
  readonly requests: S3RequestLogEntry[] = [];
  readonly #options: S3ServiceOptions;
  #personality: S3Personality = s3Personalities.aws;
  #plan: (request: S3FaultRequest) => S3Fault | undefined = () => undefined;
  readonly #nthByIdentity = new Map<string, number>();
  #latencyMs = 0;
  #clockOffsetMs = 0;
  #requestCount = 0;
  #idCount = 0;

  constructor(options: S3ServiceOptions) {
    this.#options = options;
  }

  setFaults(plan?: S3FaultPlan): void {
    this.#plan = plan === undefined ? () => undefined : compileS3FaultPlan(plan);
    this.#nthByIdentity.clear();
  }

  setLatency(latencyMs: number): void {
    this.#latencyMs = latencyMs;
  }

  setPersonality(personality: S3PersonalityName | S3Personality): void {
    this.#personality =
      typeof personality === "string" ? s3Personalities[personality] : personality;
  }

  advanceClock(byMs: number): void {
    this.#clockOffsetMs += byMs;
  }

  /** Answers one request. An operation that fails by a mistake of ours is answered with 500 `TestkitFailure`. */
  async serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    // A client that goes away is no error of the store; without listeners it would end the process.
    message.on("error", () => {});
    response.on("error", () => {});
    const requestId = this.#nextId();
    let request: S3Request;
    try {
      request = parseS3Request(message, this.#options.bucket);
    } catch (error) {
      message.resume();
      sendAnswer(
        response,
        renderFailure(error, message.url ?? "", requestId),
        undefined,
        this.#clock(),
      );
      return;
    }
    const entry = this.#log(request);
    const { fault } = entry;

    const decided = await this.#decide(request, message, entry);
    if (decided === "gone") return;
    const { socket } = response;
    if (fault?.kind === "drop" && fault.when === "after") {
      socket?.destroy();
      return;
    }
    if (fault?.kind === "stall" && fault.during === "headers") return;
    const resource = `/${request.bucket}/${request.key}`;
    const answer = decided instanceof Error ? renderFailure(decided, resource, requestId) : decided;
    if (decided instanceof S3Error) entry.errorCode = decided.code;
    entry.status = answer.status;
    entry.responseBytes = sendAnswer(
      response,
      {
        ...answer,
        headers: { "x-amz-request-id": requestId, "x-amz-id-2": requestId, ...answer.headers },
      },
      fault,
      this.#clock(),
    );
  }

  /** Everything up to the answer: it is an error if the request was refused, and `gone` if nobody waits for one any more. */
  async #decide(
    request: S3Request,
    message: IncomingMessage,
    entry: S3RequestLogEntry,
  ): Promise<S3Answer | Error | "gone"> {
    const { fault } = entry;
    const personality = this.#personality;
    const judged = this.#judgeHeaders(request, entry, personality);
    // The request is received in any case: an answer in the middle of an upload is a reset to many clients.
    let received = await receiveBody(message, entry, fault);
    if (received === "gone") return "gone";
    if (fault?.kind === "drop" && fault.when === "before") {
      message.socket.destroy();
      return "gone";
    }
    if (fault?.kind === "stall" && fault.during === "request") return "gone";
    const latencyMs = this.#latencyMs + (fault?.kind === "latency" ? fault.ms : 0);
    if (latencyMs > 0) await delay(latencyMs);
    if (judged instanceof Error) return judged;
    const { verified, isJudged } = judged;
    if (fault?.kind === "answer" && fault.when !== "after") return faultError(fault, request.key);
    if (fault?.kind === "garble" && fault.during === "request") {
      received = flipBit(received, fault.atByte);
    }
    try {
      const body = openRequestBody(request, received, verified, personality);
      const operating = { ...this.#operating(request, entry, personality, isJudged), body };
      const answer = executeOperation(operating, this.#options.region);
      return fault?.kind === "answer" ? faultError(fault, request.key) : answer;
    } catch (error) {
      return toError(error);
    }
  }

  /** What is decided before the body is read: the signature, and on some stores the conditions. */
  #judgeHeaders(
    request: S3Request,
    entry: S3RequestLogEntry,
    personality: S3Personality,
  ): { readonly verified: VerifiedSignature; readonly isJudged: boolean } | Error {
    try {
      const verified = this.#check(request, personality);
      const isJudged = personality.conditions === "early" && isWrite(request.operation);
      if (isJudged) {
        judgeConditions(this.#operating(request, entry, personality, false));
        entry.effects.push("judged-early");
      }
      return { verified, isJudged };
    } catch (error) {
      return toError(error);
    }
  }

  #check(request: S3Request, personality: S3Personality): VerifiedSignature {
    const refusedQuery = personality.refusedQuery.find((name) => name in request.query);
    if (refusedQuery !== undefined) {
      throw new S3Error(400, "InvalidArgument", `Invalid query parameter: ${refusedQuery}`);
    }
    const verified = checkSignature(request, {
      credentials: this.#options.credentials,
      region: this.#options.region,
      now: this.#clock(),
      clockSkewMaxMs: this.#options.clockSkewMaxMs,
    });
    const unsignable = verified.signedHeaders.find((name) =>
      personality.unsignableHeaders.includes(name),
    );
    if (unsignable !== undefined) {
      throw new S3Error(403, "SignatureDoesNotMatch", `${unsignable} was changed on the way`);
    }
    if (request.bucket !== this.#options.bucket) {
      throw new S3Error(404, "NoSuchBucket", "The specified bucket does not exist", {
        fields: { BucketName: request.bucket },
      });
    }
    return verified;
  }

  #operating(
    request: S3Request,
    entry: S3RequestLogEntry,
    personality: S3Personality,
    isJudged: boolean,
  ): Omit<S3Operating, "body"> {
    return {
      bucket: this.bucket,
      personality,
      now: this.#clock(),
      request,
      fault: entry.fault,
      hiddenListCount: entry.fault?.kind === "late-list" ? entry.fault.listCount : 0,
      isJudged,
      nextId: () => this.#nextId(),
      note: (effect) => entry.effects.push(effect),
    };
  }

  #log(request: S3Request): S3RequestLogEntry {
    const { operation, method, query, headers } = request;
    const key = request.key === "" ? (query["prefix"] ?? "") : request.key;
    const identity = `${operation} ${key}`;
    const nth = (this.#nthByIdentity.get(identity) ?? 0) + 1;
    this.#nthByIdentity.set(identity, nth);
    const index = this.#requestCount++;
    const fault = this.#plan({ operation, method, key, query, nth, index });
    const { authorization: _, "x-amz-security-token": __, ...shown } = headers;
    const entry: S3RequestLogEntry = {
      index,
      operation,
      method,
      key,
      query,
      headers: shown,
      requestBytes: 0,
      responseBytes: 0,
      ...(fault === undefined ? {} : { fault }),
      effects: [],
    };
    this.requests.push(entry);
    return entry;
  }

  #clock(): Date {
    return new Date(this.#options.now().getTime() + this.#clockOffsetMs);
  }

  #nextId(): string {
    this.#idCount += 1;
    return this.#idCount.toString(16).toUpperCase().padStart(16, "0");
  }
}

function renderFailure(error: unknown, resource: string, requestId: string): S3Answer {
  const failure =
    error instanceof S3Error
      ? error
      : new S3Error(500, "TestkitFailure", `the test server itself failed: ${String(error)}`);
  return {
    status: failure.status,
    headers: { "content-type": "application/xml", ...failure.headers },
    body: renderError(failure, resource, requestId),
  };
}

function isWrite(operation: S3Operation): boolean {
  return ["PutObject", "CopyObject", "CompleteMultipartUpload"].includes(operation);
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
