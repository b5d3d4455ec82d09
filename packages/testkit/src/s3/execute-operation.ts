import { listObjects, listUploads } from "./list-operations.ts";
import { abortUpload, completeUpload, createUpload, uploadPart } from "./multipart-operations.ts";
import {
  copyObject,
  deleteObject,
  deleteObjects,
  getObject,
  putObject,
} from "./object-operations.ts";
import { notImplemented } from "./s3-error.ts";
import type { S3Answer, S3Operating } from "./s3-operation.ts";
import type { S3Operation } from "./s3-request.ts";

/**
 * Does what the request asks for, in one step.
 *
 * @throws {S3Error} for every answer that is not a success.
 */
export function executeOperation(operating: S3Operating, region: string): S3Answer {
  const { request, personality } = operating;
  if (multipartOperations.includes(request.operation) && !personality.hasMultipart) {
    throw notImplemented("multipart upload");
  }
  switch (request.operation) {
    case "PutObject":
      return putObject(operating);
    case "CopyObject":
      return copyObject(operating);
    case "GetObject":
    case "HeadObject":
      return getObject(operating);
    case "DeleteObject":
      return deleteObject(operating);
    case "DeleteObjects":
      return deleteObjects(operating);
    case "ListObjects":
    case "ListObjectsV2":
      return listObjects(operating);
    case "HeadBucket":
      return { status: 200, headers: { "x-amz-bucket-region": region }, body: "" };
    case "CreateMultipartUpload":
      return createUpload(operating);
    case "UploadPart":
      return uploadPart(operating);
    case "CompleteMultipartUpload":
      return completeUpload(operating);
    case "AbortMultipartUpload":
      return abortUpload(operating);
    case "ListMultipartUploads":
      return listUploads(operating);
    case "Unknown":
      throw notImplemented(`${request.method} ${Object.keys(request.query).join("&")}`);
  }
}

const multipartOperations: readonly S3Operation[] = [
  "CreateMultipartUpload",
  "UploadPart",
  "CompleteMultipartUpload",
  "AbortMultipartUpload",
  "ListMultipartUploads",
];
