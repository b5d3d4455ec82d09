/**
 * The S3 server as a process of its own, steered over IPC: what two real writer processes and a test need, which must not wait for each
 * other in one event loop.
 */
import { fileURLToPath } from "node:url";
import { startTypeScriptChild } from "../child-process.ts";
import type { S3Object } from "./s3-bucket.ts";
import type { S3FaultPlanData } from "./s3-faults.ts";
import type { S3Personality, S3PersonalityName } from "./s3-personalities.ts";
import type { S3ServerOptions } from "./s3-server.ts";
import type { S3RequestLogEntry } from "./s3-service.ts";
import type { S3Target } from "./send-s3-request.ts";

/** Options that can be sent to another process as JSON: numbers are finite. */
export interface S3ServerProcessOptions extends Omit<S3ServerOptions, "now" | "faults"> {
  readonly faults?: S3FaultPlanData;
}

/** An `S3Server` elsewhere: the same, but one has to wait for it. */
export interface S3ServerProcess extends S3Target {
  readonly bucket: string;
  readonly pid: number;
  /** A copy of the log. */
  requests(): Promise<readonly S3RequestLogEntry[]>;
  clearRequests(): Promise<void>;
  /** A copy of all that is stored. */
  objects(): Promise<ReadonlyMap<string, S3Object>>;
  setFaults(plan?: S3FaultPlanData): Promise<void>;
  setLatency(latencyMs: number): Promise<void>;
  setPersonality(personality: S3PersonalityName | S3Personality): Promise<void>;
  advanceClock(byMs: number): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Ends the process, and what is stored with it. */
  stop(): Promise<void>;
}

/** What the test asks the process to do. */
export type S3ServerCommand =
  | { readonly name: "requests" | "clearRequests" | "objects" | "pause" | "resume" }
  | { readonly name: "setFaults"; readonly plan?: S3FaultPlanData }
  | { readonly name: "setLatency"; readonly latencyMs: number }
  | {
      readonly name: "setPersonality";
      readonly personality: S3PersonalityName | S3Personality;
    }
  | { readonly name: "advanceClock"; readonly byMs: number };

/** An object on its way through JSON. */
export interface SentS3Object extends Omit<S3Object, "body" | "lastModified"> {
  readonly key: string;
  readonly bodyBase64: string;
  readonly lastModifiedMs: number;
}

/** What the process sends: first that it is ready, then an answer to each command, in order. */
export type S3ServerMessage =
  | { readonly ready: S3Target & { readonly bucket: string } }
  | { readonly value: unknown }
  | { readonly failure: string };

const s3ServerEntry: string = fileURLToPath(new URL("./s3-server-main.ts", import.meta.url));

interface Waiting {
  readonly resolve: (message: S3ServerMessage) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Starts an S3 server in a process of its own. It ends with this process, whatever becomes of it.
 *
 * @throws {Error} with its output, if it ends before it is ready.
 */
export async function startS3ServerProcess(
  options: S3ServerProcessOptions = {},
): Promise<S3ServerProcess> {
  const child = startTypeScriptChild(s3ServerEntry, {
    ipc: true,
    arguments: [JSON.stringify(options)],
  });
  const waiting: Waiting[] = [];
  let ended: Error | undefined;
  const receive = (): Promise<S3ServerMessage> =>
    new Promise((resolve, reject) => {
      if (ended === undefined) waiting.push({ resolve, reject });
      else reject(ended);
    });
  child.process.on("message", (message) => waiting.shift()?.resolve(message as S3ServerMessage));
  const exited = child.exited.then((exit) => {
    ended = new Error(
      `the S3 server's process has ended with ${exit.signal ?? `code ${exit.code}`}: ${exit.stderr}`,
    );
    for (const { reject } of waiting.splice(0)) reject(ended);
  });

  const first = await receive();
  if (!("ready" in first)) throw new Error(`unexpected first message: ${JSON.stringify(first)}`);
  const ask = async (command: S3ServerCommand): Promise<unknown> => {
    const answer = receive();
    if (ended === undefined) child.process.send(command);
    const message = await answer;
    if ("failure" in message) throw new Error(`${command.name} failed: ${message.failure}`);
    return "value" in message ? message.value : undefined;
  };
  const tell = async (command: S3ServerCommand): Promise<void> => void (await ask(command));
  return {
    ...first.ready,
    pid: child.pid,
    requests: async () => (await ask({ name: "requests" })) as S3RequestLogEntry[],
    clearRequests: () => tell({ name: "clearRequests" }),
    objects: async () => readObjects((await ask({ name: "objects" })) as SentS3Object[]),
    setFaults: (plan) => tell({ name: "setFaults", ...(plan === undefined ? {} : { plan }) }),
    setLatency: (latencyMs) => tell({ name: "setLatency", latencyMs }),
    setPersonality: (personality) => tell({ name: "setPersonality", personality }),
    advanceClock: (byMs) => tell({ name: "advanceClock", byMs }),
    pause: () => tell({ name: "pause" }),
    resume: () => tell({ name: "resume" }),
    stop: async () => {
      child.process.kill("SIGTERM");
      await exited;
    },
  };
}

function readObjects(sent: readonly SentS3Object[]): Map<string, S3Object> {
  return new Map(
    sent.map(({ key, bodyBase64, lastModifiedMs, ...rest }) => [
      key,
      {
        ...rest,
        body: Buffer.from(bodyBase64, "base64"),
        lastModified: new Date(lastModifiedMs),
      },
    ]),
  );
}
