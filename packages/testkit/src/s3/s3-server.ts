/**
 * An S3 store for tests: one HTTP server on 127.0.0.1, everything in memory, every signature checked, and as faulty as a test wants it.
 *
 * An operation is judged and committed in one synchronous step once its body is complete, so the `aws` personality is atomic and strongly
 * consistent by construction. Not in it: versions, ACLs, encryption, presigned URLs, more than one bucket, parts that are copied.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { S3Object } from "./s3-bucket.ts";
import type { S3FaultPlan } from "./s3-faults.ts";
import type { S3Personality, S3PersonalityName } from "./s3-personalities.ts";
import { type S3RequestLogEntry, S3Service } from "./s3-service.ts";
import type { S3Credentials } from "./sigv4.ts";

export interface S3ServerOptions {
  /** Default: `aws`. */
  readonly personality?: S3PersonalityName | S3Personality;
  /** Before each operation is done. Default: 0. */
  readonly latencyMs?: number;
  readonly faults?: S3FaultPlan;
  /** The only bucket there is. Default: `test-bucket`. */
  readonly bucket?: string;
  /** Default: `us-east-1`. */
  readonly region?: string;
  readonly credentials?: S3Credentials;
  /** The store's clock: `Date`, `Last-Modified`, write rates, and the age of signatures. Default: the machine's. */
  readonly now?: () => Date;
  /** How far a request's date may be off. Default: 15 minutes, as on AWS. A test that moves the store's clock needs more. */
  readonly clockSkewMaxMs?: number;
}

export interface S3Server {
  /** `http://127.0.0.1:<port>`. */
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  readonly credentials: S3Credentials;
  readonly requests: readonly S3RequestLogEntry[];
  clearRequests(): void;
  /** What is stored now, whatever listings and lagging reads show. */
  readonly objects: ReadonlyMap<string, S3Object>;
  /** Multipart uploads that were neither completed nor aborted. */
  readonly uploadCount: number;
  /** Replaces the plan, and counts `nth` from 1 again. Without a plan nothing goes wrong. */
  setFaults(plan?: S3FaultPlan): void;
  setLatency(latencyMs: number): void;
  setPersonality(personality: S3PersonalityName | S3Personality): void;
  /** Moves the store's clock, on top of `now`. */
  advanceClock(byMs: number): void;
  /** Ends all connections and refuses new ones; what is stored stays. */
  pause(): Promise<void>;
  /** Listens at the same address again. */
  resume(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a server of its own for this test. It does not keep the process alive. */
export async function startS3Server(options: S3ServerOptions = {}): Promise<S3Server> {
  const server = new FakeS3Server(options);
  await server.resume();
  return server;
}

const defaultCredentials: S3Credentials = {
  accessKeyId: "TESTKITACCESSKEYID00",
  secretAccessKey: "testkit-secret-access-key-of-no-value-00",
};

class FakeS3Server implements S3Server {
  readonly region: string;
  readonly bucket: string;
  readonly credentials: S3Credentials;
  readonly #service: S3Service;
  readonly #http = createServer();
  #port = 0;

  constructor(options: S3ServerOptions) {
    this.region = options.region ?? "us-east-1";
    this.bucket = options.bucket ?? "test-bucket";
    this.credentials = options.credentials ?? defaultCredentials;
    const { region, bucket, credentials } = this;
    const now = options.now ?? (() => new Date());
    const clockSkewMaxMs = options.clockSkewMaxMs ?? 15 * 60_000;
    this.#service = new S3Service({ region, bucket, credentials, now, clockSkewMaxMs });
    this.setPersonality(options.personality ?? "aws");
    this.setLatency(options.latencyMs ?? 0);
    this.setFaults(options.faults);
    // What stalls does so on purpose, and only a test ends it.
    this.#http.requestTimeout = 0;
    this.#http.on("request", (message, response) => void this.#service.serve(message, response));
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get requests(): readonly S3RequestLogEntry[] {
    return this.#service.requests;
  }

  get objects(): ReadonlyMap<string, S3Object> {
    return this.#service.bucket.objects;
  }

  get uploadCount(): number {
    return this.#service.bucket.uploads.size;
  }

  clearRequests(): void {
    this.#service.requests.length = 0;
  }

  setFaults(plan?: S3FaultPlan): void {
    this.#service.setFaults(plan);
  }

  setLatency(latencyMs: number): void {
    this.#service.setLatency(latencyMs);
  }

  setPersonality(personality: S3PersonalityName | S3Personality): void {
    this.#service.setPersonality(personality);
  }

  advanceClock(byMs: number): void {
    this.#service.advanceClock(byMs);
  }

  async pause(): Promise<void> {
    if (!this.#http.listening) return;
    const closed = new Promise<void>((resolve) => this.#http.close(() => resolve()));
    this.#http.closeAllConnections();
    await closed;
  }

  async resume(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#http.once("error", reject);
      this.#http.listen(this.#port, "127.0.0.1", () => {
        this.#http.off("error", reject);
        resolve();
      });
    });
    this.#port = (this.#http.address() as AddressInfo).port;
    this.#http.unref();
  }

  async stop(): Promise<void> {
    await this.pause();
  }
}
