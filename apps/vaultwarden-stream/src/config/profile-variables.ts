import type { ProfileOverrides } from "@vaultwarden-stream/object-store";
import { z } from "zod";
import type { Variable } from "./variable.ts";
import { boolean, integer, list, oneOf, type VariableSchema } from "./variable-schemas.ts";

type ProfileField = keyof ProfileOverrides;

/** A field of the provider's profile (s3.md 1) that a variable overrides. */
export interface ProfileVariable extends Variable {
  readonly field: ProfileField;
}

const flag = { accepts: "true, false", schema: boolean() };

/** Complete by its type: a field that is new in the profile does not compile without its variable. */
const fields: {
  readonly [Field in ProfileField]-?: {
    readonly accepts: string;
    readonly meaning: string;
    readonly isSecret?: true;
    readonly schema: VariableSchema<NonNullable<ProfileOverrides[Field]>>;
  };
} = {
  addressing: {
    accepts: "path, virtual-host",
    meaning: "Where a URL names the bucket: in its path, or as the first label of its host.",
    schema: oneOf({ path: "path", "virtual-host": "virtual-host" }),
  },
  listVersion: {
    accepts: "1, 2",
    meaning: "The version of the LIST request.",
    schema: oneOf({ "1": 1, "2": 2 }),
  },
  listUrlEncoding: { ...flag, meaning: "Whether LIST can encode keys as in URLs." },
  listingSorted: { ...flag, meaning: "Whether LIST answers in the order of the keys." },
  multipartEtagTrusted: {
    ...flag,
    meaning: "Whether ETags of multipart uploads are as AWS has them.",
  },
  etagIsMd5: { ...flag, meaning: "Whether the ETag of a single upload is the MD5 of its content." },
  requestChecksums: {
    accepts: "always, when-required",
    meaning: "When a checksum of the SDK's own is sent; many stores refuse it.",
    schema: oneOf({ always: "always", "when-required": "when-required" }),
  },
  aclSupported: { ...flag, meaning: "Whether S3_ACL may be sent." },
  partBytesMin: {
    accepts: "a number of bytes from 5242880 (5 MiB) to 5368709120 (5 GiB)",
    meaning: "The smallest part of a multipart upload.",
    schema: integer(5 * 2 ** 20, 5 * 2 ** 30),
  },
  partCountMax: {
    accepts: "a whole number from 1 to 10000",
    meaning: "Into how many parts an upload may be cut; 1: it never is.",
    schema: integer(1, 10_000),
  },
  partConcurrencyMax: {
    accepts: "a whole number from 1 to 64",
    meaning: "How many parts are uploaded at once; each takes memory.",
    schema: integer(1, 64),
  },
  sameKeyWritesPerSecondMax: {
    accepts: "a whole number from 1 to 10000",
    meaning: "How often one object may be written.",
    schema: integer(1, 10_000),
  },
  bulkDelete: {
    ...flag,
    meaning:
      "Whether many objects are deleted by one request. A store that refuses it is asked for each by itself; one that only says that it did needs false.",
  },
  extraHeaders: {
    accepts: "name: value, several with commas between",
    meaning: "Headers that every request carries.",
    isSecret: true,
    schema: headers(),
  },
  extraRetryStatuses: {
    accepts: "HTTP status codes from 400 to 599, with commas between",
    meaning: "Answers after which the same request is sent again, besides the usual ones.",
    schema: list(integer(400, 599)),
  },
  conditionalHint: {
    accepts: "yes, refused, ignored, unknown",
    meaning:
      "What is known of conditional writes; it only words messages, for the store is tried at each start.",
    schema: oneOf({ yes: "yes", refused: "refused", ignored: "ignored", unknown: "unknown" }),
  },
};

export const profileVariables: readonly ProfileVariable[] = (
  Object.keys(fields) as ProfileField[]
).map((field) => ({
  name: `S3_${field.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`,
  group: "Store: single fields of the provider's profile, for a store that is not as it says",
  field,
  defaultText: undefined,
  ...fields[field],
}));

function headers(): VariableSchema<Readonly<Record<string, string>>> {
  return z.string().transform((given, context) => {
    const pairs: [string, string][] = [];
    for (const item of given.split(",")) {
      const [, name, value] =
        /^\s*([\w!#$%&'*+.^`|~-]+)\s*:\s*([\x20-\x7e]*?)\s*$/.exec(item) ?? [];
      if (name === undefined || value === undefined) {
        context.addIssue({ code: "custom", message: "write it as name: value, name: value" });
        return z.NEVER;
      }
      pairs.push([name, value]);
    }
    return Object.fromEntries(pairs);
  });
}
