/**
 * Uploads in parts: the SDK's own `Upload` cuts the body and keeps parts under way, and our client sends them.
 *
 * Between the two is a thin client, for what `Upload` leaves out: it passes no signal on, waits for all other parts when one has
 * failed, and when it is aborted itself, it waits for none of them. So it never is, and ends when its last request has ended.
 */
import {
  type S3Client as AwsClient,
  CompleteMultipartUploadCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { bodySize, readBody } from "../body.ts";
import type { ObjectBody } from "../object-store.ts";
import { type BodyPart, BodyParts } from "./body-parts.ts";
import type { UploadPlan } from "./plan-upload.ts";
import type { S3Client, S3UploadAnswer, S3UploadCommand } from "./s3-client.ts";
import { S3Failure } from "./s3-failure.ts";

export interface UploadRequest {
  /** As the store names it. */
  readonly key: string;
  /** For the body's own errors. */
  readonly callerKey: string;
  readonly body: ObjectBody;
  readonly metadata: Readonly<Record<string, string>>;
  readonly plan: UploadPlan;
  readonly signal: AbortSignal | undefined;
}

/**
 * Stores a body in parts, each in memory and signed. Nothing is visible before the last request; an upload that fails or is aborted
 * is removed, once none of its parts is under way. A killed process leaves its parts behind, invisible and paid for: a lifecycle
 * rule of the bucket removes these.
 *
 * @throws as the client's methods. If the upload could not be removed, the `cause` of an `S3Failure` says why; an abort reason and
 *   an error of the body are the caller's own and stay as they are.
 */
export async function uploadInParts(client: S3Client, request: UploadRequest): Promise<void> {
  const { key, callerKey, body, metadata, plan, signal } = request;
  const failing = new AbortController();
  const anySignal =
    signal === undefined ? failing.signal : AbortSignal.any([signal, failing.signal]);
  const size = bodySize(body);
  const chunks = readBody("put", callerKey, body, anySignal);
  const parts = new BodyParts(chunks, size, plan.partBytes);
  let uploadId: string | undefined;
  const send = async (command: S3UploadCommand): Promise<S3UploadAnswer> => {
    try {
      if (command instanceof UploadPartCommand) {
        const part = command.input.Body as unknown as BodyPart;
        return await parts.with(part, (bytes) => client.sendPart(command.input, bytes, anySignal));
      }
      // The end of the body is read too: whether it has as many bytes as it said is known only there.
      if (command instanceof CompleteMultipartUploadCommand) await chunks.next();
      const answer = await client.sendOfUpload(command, anySignal);
      uploadId ??= answer.UploadId;
      return answer;
    } catch (error) {
      // The other parts are of no use any more: they end, all with this error.
      failing.abort(error);
      throw error;
    }
  };
  const upload = new Upload({
    // `Upload` asks for no more of it.
    client: { config: client.configOfUpload, send } as unknown as AwsClient,
    params: {
      ...client.paramsOfUpload(key, metadata),
      ContentLength: size,
      Body: parts.asBytes,
    },
    partSize: plan.partBytes,
    queueSize: plan.concurrency,
    // It is removed below, where a failure of that does not take the place of the first one.
    leavePartsOnError: true,
  });
  try {
    await upload.done();
  } catch (error) {
    if (uploadId !== undefined) await removeUpload(client, key, uploadId, error);
    throw error;
  } finally {
    // Not awaited: a source that stalls answers only when it is done stalling.
    chunks.return().catch(() => {});
  }
}

/** The failure of the upload is the one to tell, and that of its removal is noted in it. */
async function removeUpload(
  client: S3Client,
  key: string,
  uploadId: string,
  failure: unknown,
): Promise<void> {
  try {
    await client.removeUpload(key, uploadId);
  } catch (error) {
    // After a completion whose answer was lost there is nothing to remove.
    if (error instanceof S3Failure && error.s3Code === "NoSuchUpload") return;
    if (failure instanceof S3Failure) failure.cause = error;
  }
}
