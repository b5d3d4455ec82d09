import { escapeXml, findElements, findText } from "./s3-xml.ts";

/** S3's own limit for one request. */
export const bulkDeleteKeysMax = 1000;

/** What the store says of each key of one request. Of some it may say nothing. */
export interface BulkDeleteAnswer {
  readonly deleted: readonly string[];
  readonly failures: readonly {
    readonly key: string;
    readonly code: string | undefined;
    readonly message: string;
  }[];
}

/**
 * The body of `POST ?delete`. It never asks for a quiet answer, which names failures only: a store that does nothing (litestream#976) would give
 * the same answer as one that has deleted everything.
 *
 * @param keys - as the store names them, 1 to 1,000.
 */
export function encodeBulkDelete(keys: readonly string[]): Uint8Array {
  const objects = keys.map((key) => `<Object><Key>${escapeXml(key)}</Key></Object>`).join("");
  return new TextEncoder().encode(
    `<?xml version="1.0" encoding="UTF-8"?>\n<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${objects}</Delete>`,
  );
}

/** @returns undefined if it is not a whole answer to a bulk delete. */
export function decodeBulkDelete(document: string): BulkDeleteAnswer | undefined {
  const result = /<DeleteResult(?:\s[^>]*)?(?:\/>|>([\s\S]*)<\/DeleteResult>)\s*$/.exec(document);
  if (result === null) return undefined;
  const [, content = ""] = result;
  return {
    deleted: findElements(content, "Deleted").flatMap((one) => findText(one, "Key") ?? []),
    failures: findElements(content, "Error").map((one) => ({
      key: findText(one, "Key") ?? "",
      code: findText(one, "Code"),
      message: findText(one, "Message") ?? "",
    })),
  };
}
