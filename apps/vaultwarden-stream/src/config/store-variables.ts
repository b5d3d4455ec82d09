import { detectProvider, parseEndpoint } from "@vaultwarden-stream/object-store";
import { z } from "zod";
import { uploadRateLeast } from "./upload-rate.ts";
import type { Variable } from "./variable.ts";
import {
  boolean,
  bytes,
  countOrOff,
  matching,
  oneOf,
  text,
  type VariableSchema,
} from "./variable-schemas.ts";

const group = "Store";

/** Canned ACLs of S3, and those of them that show the vault to everybody. */
const acls = [
  "private",
  "public-read",
  "public-read-write",
  "authenticated-read",
  "bucket-owner-read",
  "bucket-owner-full-control",
] as const;
export const publicAcls: readonly string[] = ["public-read", "public-read-write"];

/** Where everything is stored: the bucket, or a directory instead of it. */
export const storeVariables: readonly Variable[] = [
  {
    name: "S3_PROVIDER",
    group,
    defaultText: undefined,
    accepts: "a provider's name, like AWS, Cloudflare, Hetzner or Minio; Other for what has none",
    meaning: "Whose store it is, which decides how it is talked to. Without it the endpoint says.",
    schema: readableBy((given) => detectProvider(given, undefined)),
  },
  {
    name: "S3_BUCKET",
    group,
    defaultText: undefined,
    accepts: "the name of a bucket that exists",
    meaning: "The bucket. Required, unless STORE_DIR is set; it is never created by us.",
    schema: matching(/^[^\s/\p{Cc}]+$/u, "write the bucket's name alone; folders go to S3_PREFIX"),
  },
  {
    name: "S3_ENDPOINT",
    group,
    defaultText: undefined,
    accepts: "a URL; without a scheme https://, for loopback and private addresses http://",
    meaning: "Where the store is. Required, unless the store is AWS.",
    schema: readableBy(parseEndpoint),
  },
  {
    name: "S3_ACCESS_KEY_ID",
    group,
    isSecret: true,
    defaultText: undefined,
    accepts: "a key id of the provider",
    meaning: "The name of the key. Required with S3_BUCKET.",
    schema: text(),
  },
  {
    name: "S3_SECRET_ACCESS_KEY",
    group,
    isSecret: true,
    defaultText: undefined,
    accepts: "the secret of that key",
    meaning: "The key itself. Required with S3_BUCKET; best as S3_SECRET_ACCESS_KEY_FILE.",
    schema: text(),
  },
  {
    name: "S3_SESSION_TOKEN",
    group,
    isSecret: true,
    defaultText: undefined,
    accepts: "the token of temporary credentials",
    meaning: "Only with credentials that expire.",
    schema: text(),
  },
  {
    name: "S3_PREFIX",
    group,
    emptyIsSet: true,
    defaultText: "vaultwarden",
    accepts: "a folder in the bucket; set to nothing: the bucket's root",
    meaning: "Everything that we write is below it.",
    schema: prefix(),
  },
  {
    name: "S3_REGION",
    group,
    defaultText: "auto",
    accepts: "a region of the provider",
    meaning: "Where the bucket is; `auto` derives it from provider and endpoint.",
    schema: matching(/^[\w-]+$/, "write a region like eu-central-1, or auto"),
  },
  {
    name: "S3_ACL",
    group,
    defaultText: undefined,
    accepts: acls.join(", "),
    meaning: "Who may read each object, where the provider knows ACLs. Not sent unless set.",
    schema: oneOf(Object.fromEntries(acls.map((acl) => [acl, acl]))),
  },
  {
    name: "S3_NO_CHECK_BUCKET",
    group,
    defaultText: "true",
    accepts: "true, false",
    meaning: "With false the vault is not started while the bucket does not answer.",
    schema: boolean(),
  },
  {
    name: "S3_FORCE_PATH_STYLE",
    group,
    aliases: ["LITESTREAM_FORCE_PATH_STYLE"],
    defaultText: undefined,
    accepts: "true, false",
    meaning:
      "With true the bucket is always named in the path of the URL; false leaves it to the provider's profile.",
    schema: boolean(),
  },
  {
    name: "S3_SKIP_TLS_VERIFY",
    group,
    aliases: ["LITESTREAM_SKIP_VERIFY"],
    defaultText: "false",
    accepts: "true, false",
    meaning:
      "With true anybody on the way can read and change everything: the store's certificate is not checked.",
    schema: boolean(),
  },
  {
    name: "STORE_DIR",
    group,
    defaultText: undefined,
    accepts: "a path",
    meaning:
      "A directory instead of S3: a mounted disk of another machine, or for a trial. Not together with S3_BUCKET.",
    schema: matching(
      /^(?![a-z][a-z0-9+.-]+:\/\/)/i,
      "write the path of a directory; S3 is set by S3_BUCKET",
    ),
  },
  {
    name: "STORE_UPLOAD_RATE_MAX",
    group,
    defaultText: undefined,
    accepts: "bytes a second, like 10M or 512k, from 128k; off",
    meaning:
      "How fast is uploaded at most, database and files together; commits go first. Without it as fast as it goes. --bwlimit in RCLONE_FLAGS is another name for it.",
    schema: bytes(uploadRateLeast),
  },
  {
    name: "STORE_HOURLY_BYTES_MAX",
    group,
    defaultText: undefined,
    accepts: "bytes, like 50G; off",
    meaning:
      "How much may be uploaded within an hour. Beyond it uploads stop with an alarm until the hour is over, and nothing is lost: the alarm before a runaway bill. Without it 10 GB, or twenty times the database if that is more, and twice the files.",
    schema: bytes(0),
  },
  {
    name: "STORE_HOURLY_OBJECTS_MAX",
    group,
    defaultText: undefined,
    accepts: "a whole number; off",
    meaning:
      "How many objects may be stored within an hour, in the same way. Without it 20,000 and two for each file.",
    schema: countOrOff(),
  },
];

/** @returns the prefix as our keys have it: no slash at either end, none doubled. */
function prefix(): VariableSchema<string> {
  return z
    .string()
    .regex(/^[^\p{Cc}]*$/u, { message: "write it without control characters" })
    .transform(normalizePrefix);
}

export function normalizePrefix(given: string): string {
  return given
    .split("/")
    .filter((segment) => segment !== "")
    .join("/");
}

/** What the store's own reading accepts; the value stays as it was written. */
function readableBy(read: (given: string) => unknown): VariableSchema<string> {
  return z.string().transform((given, context) => {
    try {
      read(given);
      return given;
    } catch (error) {
      context.addIssue({ code: "custom", message: (error as Error).message });
      return z.NEVER;
    }
  });
}
