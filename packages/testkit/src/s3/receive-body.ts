import type { IncomingMessage } from "node:http";
import type { S3Fault } from "./s3-faults.ts";
import type { S3RequestLogEntry } from "./s3-service.ts";

/** Reads the body to its end, or to where the fault or the client ends the connection. */
export async function receiveBody(
  message: IncomingMessage,
  entry: S3RequestLogEntry,
  fault: S3Fault | undefined,
): Promise<Buffer | "gone"> {
  const cutAt = fault?.kind === "reset" && fault.during === "request" ? fault.atByte : undefined;
  const { socket } = message;
  if (cutAt === 0) {
    socket.resetAndDestroy();
    return "gone";
  }
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of message as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      entry.requestBytes += chunk.length;
      if (cutAt !== undefined && entry.requestBytes >= cutAt) break;
    }
  } catch {
    // The client is gone in the middle of its request, so nothing has been asked for.
    return "gone";
  }
  if (cutAt === undefined) return Buffer.concat(chunks);
  socket.resetAndDestroy();
  return "gone";
}
