import { noSuchKey, notImplemented, S3Error } from "./s3-error.ts";
import { readVisible, type S3Operating } from "./s3-operation.ts";

/**
 * Judges `If-None-Match` and `If-Match` of a write against the state of this moment (s3.md 6). Whether that is also the moment of the commit
 * is what tells a safe store from one that is not.
 *
 * @throws {S3Error} 412 if the condition does not hold, 404 for `If-Match` on a missing key, 501 for what S3 does not know.
 */
export function judgeConditions(operating: Omit<S3Operating, "body">): void {
  const { personality, request, note } = operating;
  const ifNoneMatch = request.headers["if-none-match"];
  const ifMatch = request.headers["if-match"];
  if (ifNoneMatch === undefined && ifMatch === undefined) return;
  if (personality.conditions === "refused") throw notImplemented("conditional write");
  if (personality.conditions === "ignored") {
    note("condition-ignored");
    return;
  }
  const object = readVisible(operating);
  if (ifNoneMatch !== undefined) {
    if (ifNoneMatch !== "*") throw notImplemented("If-None-Match with an ETag");
    const isInverted = personality.conditions === "inverted";
    if (isInverted) note("condition-inverted");
    if ((object !== undefined) !== isInverted) throw preconditionFailed("If-None-Match");
  }
  if (ifMatch !== undefined) {
    if (object === undefined) throw noSuchKey(request.key);
    if (ifMatch !== "*" && withQuotes(ifMatch) !== object.etag) {
      throw preconditionFailed("If-Match");
    }
  }
}

function preconditionFailed(condition: string): S3Error {
  return new S3Error(
    412,
    "PreconditionFailed",
    "At least one of the pre-conditions you specified did not hold",
    { fields: { Condition: condition } },
  );
}

function withQuotes(etag: string): string {
  return etag.startsWith('"') ? etag : `"${etag}"`;
}
