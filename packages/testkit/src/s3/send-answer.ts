import type { ServerResponse } from "node:http";
import { S3Error } from "./s3-error.ts";
import type { S3Fault } from "./s3-faults.ts";
import type { S3Answer } from "./s3-operation.ts";

/** The error that a fault answers with. */
export function faultError(fault: Extract<S3Fault, { kind: "answer" }>, key: string): S3Error {
  const code = fault.code ?? codes[fault.status] ?? "InternalError";
  return new S3Error(fault.status, code, `A planned fault answers ${fault.status} ${code}.`, {
    ...(code === "NoSuchKey" ? { fields: { Key: key } } : {}),
    ...(fault.headers === undefined ? {} : { headers: fault.headers }),
  });
}

const codes: Readonly<Record<number, string>> = {
  301: "PermanentRedirect",
  307: "TemporaryRedirect",
  400: "InvalidRequest",
  403: "AccessDenied",
  404: "NoSuchKey",
  408: "RequestTimeout",
  409: "ConditionalRequestConflict",
  412: "PreconditionFailed",
  429: "TooManyRequests",
  500: "InternalError",
  501: "NotImplemented",
  502: "BadGateway",
  503: "SlowDown",
  504: "GatewayTimeout",
  507: "InsufficientStorage",
};

/**
 * Writes an answer to the connection, or as much of it as the fault lets through.
 *
 * @returns the bytes of the body that were written.
 */
export function sendAnswer(
  response: ServerResponse,
  answer: S3Answer,
  fault: S3Fault | undefined,
  now: Date,
): number {
  const dateOffsetMs = fault?.kind === "date" ? fault.offsetMs : 0;
  const body = damageBody(answer, fault);
  response.sendDate = false;
  response.writeHead(answer.status, {
    date: new Date(now.getTime() + dateOffsetMs).toUTCString(),
    server: "vaultwarden-stream-testkit",
    ...(answer.status === 204 ? {} : { "content-length": String(body.length) }),
    ...answer.headers,
  });
  const end = findCut(fault, body.length);
  if (end === undefined) {
    response.end(body);
    return body.length;
  }
  response.flushHeaders();
  const part = body.subarray(0, end);
  const { socket } = response;
  // The cut comes when the bytes before it have left: the client is to see them.
  const cut = (): void => {
    if (fault?.kind === "truncate") socket?.end();
    if (fault?.kind === "reset") socket?.resetAndDestroy();
  };
  if (part.length > 0) response.write(part, cut);
  else cut();
  return part.length;
}

function damageBody(answer: S3Answer, fault: S3Fault | undefined): Buffer {
  const body = Buffer.from(answer.body);
  if (fault?.kind === "garble" && fault.during === "response") {
    return flipBit(body, fault.atByte);
  }
  if (fault?.kind === "malformed-xml" && answer.headers["content-type"] === "application/xml") {
    return body.subarray(0, Math.floor(body.length / 2));
  }
  return body;
}

/** A copy with one bit flipped; the same bytes if the place lies behind them. */
export function flipBit(bytes: Buffer, atByte: number = Math.floor(bytes.length / 2)): Buffer {
  const flipped = Buffer.from(bytes);
  const byte = flipped[atByte];
  if (byte !== undefined) flipped[atByte] = byte ^ 1;
  return flipped;
}

function findCut(fault: S3Fault | undefined, size: number): number | undefined {
  if (fault?.kind === "truncate") return Math.min(fault.atByte, size);
  if (fault?.kind === "reset" && fault.during === "response") return Math.min(fault.atByte, size);
  if (fault?.kind === "stall" && fault.during === "body") {
    return Math.min(fault.atByte ?? Math.floor(size / 2), size);
  }
  return undefined;
}
