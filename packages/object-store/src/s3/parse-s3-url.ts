import { closest } from "fastest-levenshtein";
import { ObjectStoreError } from "../errors.ts";
import type { Environment } from "./s3-agents.ts";
import type { S3Location } from "./s3-settings.ts";

const parameters = ["endpoint", "region", "forcePathStyle", "provider"];

/**
 * Reads `s3://bucket/prefix?endpoint=…&region=…&forcePathStyle=…&provider=…` (cli.md 2); `AWS_ENDPOINT_URL_S3` and `AWS_REGION` are the
 * defaults of the first two. The prefix is percent-decoded, and required: a bucket's root is everybody's.
 *
 * @throws {ObjectStoreError} `INVALID_ARGUMENT`. What the URL has besides bucket and prefix is not shown: it may be a secret.
 */
export function parseS3Url(text: string, environment: Environment): S3Location {
  const form =
    "Write s3://bucket/prefix, with ?endpoint=, region=, forcePathStyle=, provider= if needed.";
  const shown = text.replace(/[?#].*$/s, "").replace(/\/\/[^/@]*@/, "//");
  const fail = (reason: string, hint = form) =>
    new ObjectStoreError("INVALID_ARGUMENT", reason, { operation: "open", key: shown, hint });
  if (!/^s3:\/\/[^/]/i.test(text) || !URL.canParse(text)) throw fail("this is no s3:// URL");
  const url = new URL(text);
  if (url.username !== "" || url.password !== "") {
    throw fail(
      "the URL has credentials in it, and URLs are shown in messages and process lists",
      "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment instead.",
    );
  }
  if (url.hash !== "") throw fail("the URL has a #", "In a URL, # is written %23.");
  if (url.port !== "")
    throw fail(
      "the URL has a port",
      "The port belongs to the endpoint: ?endpoint=https://host:port",
    );
  for (const name of new Set(url.searchParams.keys())) {
    if (!parameters.includes(name)) {
      throw fail(
        `there is no parameter ${JSON.stringify(name)}`,
        `Did you mean ${closest(name, parameters)}? Known are ${parameters.join(", ")}.`,
      );
    }
    if (url.searchParams.getAll(name).length > 1)
      throw fail(`the parameter ${name} is given twice`);
  }
  // Not the parsed path: it has lost its dots, and with them another place.
  const prefix = decode(/^s3:\/\/[^/?#]+([^?#]*)/i.exec(text)?.[1] ?? "");
  if (prefix === undefined)
    throw fail("the prefix is not percent-encoded text", "In a URL, % is written %25.");
  if (!/[^/]/.test(prefix)) {
    throw fail(
      "there is no prefix",
      `Name a place in the bucket of its own: s3://${url.hostname}/some-name`,
    );
  }
  const value = (name: string, variable?: string): string | undefined =>
    url.searchParams.get(name) || (variable && environment[variable]) || undefined;
  const endpoint = value("endpoint", "AWS_ENDPOINT_URL_S3");
  const region = value("region", "AWS_REGION");
  const provider = value("provider");
  const forcePathStyle = value("forcePathStyle")?.toLowerCase();
  if (forcePathStyle !== undefined && !["true", "false"].includes(forcePathStyle)) {
    throw fail("forcePathStyle is neither true nor false");
  }
  return {
    bucket: url.hostname,
    prefix,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(provider === undefined ? {} : { provider }),
    ...(forcePathStyle === undefined ? {} : { forcePathStyle: forcePathStyle === "true" }),
  };
}

function decode(path: string): string | undefined {
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}
