import { describeObject, malformedXml, md5, storeObject } from "./object-operations.ts";
import type { S3Upload } from "./s3-bucket.ts";
import { S3Error } from "./s3-error.ts";
import { answerXml, type S3Answer, type S3Operating } from "./s3-operation.ts";
import { findElements, findText, renderXml } from "./s3-xml.ts";

/** CreateMultipartUpload. */
export function createUpload(operating: S3Operating): S3Answer {
  const { bucket, request, now } = operating;
  const id = `upload-${operating.nextId()}`;
  bucket.uploads.set(id, {
    id,
    key: request.key,
    ...describeObject(request.headers),
    initiated: now,
    parts: new Map(),
  });
  return answerXml(
    renderXml("InitiateMultipartUploadResult", {
      Bucket: request.bucket,
      Key: request.key,
      UploadId: id,
    }),
  );
}

/** UploadPart. A part that comes again replaces the first one. */
export function uploadPart(operating: S3Operating): S3Answer {
  const { request, body } = operating;
  const upload = findUpload(operating);
  const number = Number(request.query["partNumber"]);
  if (!Number.isInteger(number) || number < 1 || number > 10_000) {
    throw new S3Error(
      400,
      "InvalidArgument",
      "Part number must be an integer between 1 and 10000, inclusive",
    );
  }
  const etag = `"${md5(body).toString("hex")}"`;
  upload.parts.set(number, { body, etag });
  return { status: 200, headers: { etag }, body: "" };
}

/** CompleteMultipartUpload: the parts become an object, under the same conditions as a PUT. If they do not hold, the upload stays. */
export function completeUpload(operating: S3Operating): S3Answer {
  const { bucket, personality, request, body } = operating;
  const upload = findUpload(operating);
  const named = findElements(body.toString("utf8"), "Part").map((part) => ({
    number: Number(findText(part, "PartNumber")),
    etag: findText(part, "ETag")?.replaceAll('"', ""),
  }));
  if (named.length === 0) throw malformedXml();
  if (named.some(({ number }, index) => index > 0 && number <= (named[index - 1]?.number ?? 0))) {
    throw new S3Error(
      400,
      "InvalidPartOrder",
      "The list of parts was not in ascending order. Parts must be ordered by part number.",
    );
  }
  const parts = named.map(({ number, etag }, index) => {
    const part = upload.parts.get(number);
    if (part === undefined || part.etag !== `"${etag}"`) {
      throw new S3Error(
        400,
        "InvalidPart",
        "One or more of the specified parts could not be found.",
      );
    }
    if (index < named.length - 1 && part.body.length < personality.partBytesMin) {
      throw new S3Error(
        400,
        "EntityTooSmall",
        "Your proposed upload is smaller than the minimum allowed size",
      );
    }
    return part;
  });
  const digests = Buffer.concat(parts.map((part) => md5(part.body)));
  const multipartEtag = `"${md5(digests).toString("hex")}-${parts.length}"`;
  const whole = Buffer.concat(parts.map((part) => part.body));
  const { etag } = storeObject(operating, whole, upload, multipartEtag);
  bucket.uploads.delete(upload.id);
  return answerXml(
    renderXml("CompleteMultipartUploadResult", {
      Location: `/${request.bucket}/${request.key}`,
      Bucket: request.bucket,
      Key: request.key,
      ETag: etag,
    }),
  );
}

/** AbortMultipartUpload. */
export function abortUpload(operating: S3Operating): S3Answer {
  operating.bucket.uploads.delete(findUpload(operating).id);
  return { status: 204, headers: {}, body: "" };
}

function findUpload({ bucket, request }: S3Operating): S3Upload {
  const upload = bucket.uploads.get(request.query["uploadId"] ?? "");
  if (upload === undefined || upload.key !== request.key) {
    throw new S3Error(
      404,
      "NoSuchUpload",
      "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
    );
  }
  return upload;
}
