import { ObjectStoreError } from "../errors.ts";
import { detectProvider } from "./detect-provider.ts";
import { parseEndpoint } from "./parse-endpoint.ts";
import type { ProviderProfile } from "./provider-profiles.ts";
import { type ConnectionSettings, type Environment, readConnectionSettings } from "./s3-agents.ts";

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of temporary credentials. */
  readonly sessionToken?: string;
}

/** After which a request without an answer is given up, in milliseconds. */
export interface S3Timeouts {
  /** Until there is a connection. Default 5,000. */
  readonly connectMs: number;
  /** Until the headers of the answer, from the beginning of the request; a body has a second more for each 64 KiB. Default 30,000. */
  readonly answerMs: number;
  /** Without a byte in either direction. Default 20,000. */
  readonly silenceMs: number;
}

const usualTimeouts: S3Timeouts = { connectMs: 5000, answerMs: 30_000, silenceMs: 20_000 };

/** Fields of the profile that a location overrides. */
export type ProfileOverrides = Partial<Omit<ProviderProfile, "name" | "region">>;

/** Where objects are kept in S3: plain data, which can cross the border of a process. It has secrets in it, so it is never shown. */
export interface S3Location {
  readonly bucket: string;
  /** Everything is below it. Slashes at its ends are trimmed, doubled ones joined; empty is the bucket's root. */
  readonly prefix: string;
  /** A URL, or a host (`parseEndpoint`). Without it AWS's own for the region. */
  readonly endpoint?: string;
  /** Empty or `auto`: from the endpoint's host, else from the provider's profile. */
  readonly region?: string;
  /** A name in `provider-profiles.ts`, in any case. Without it the endpoint's host decides. */
  readonly provider?: string;
  /** Default: as the profile says. */
  readonly forcePathStyle?: boolean;
  /** Without them `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` of the environment. */
  readonly credentials?: S3Credentials;
  /** A canned ACL, sent with every write if the profile knows ACLs. Default: none is sent. */
  readonly acl?: string;
  /** Accepts every certificate. Default: false. */
  readonly skipTlsVerify?: boolean;
  readonly profile?: ProfileOverrides;
  readonly timeouts?: Partial<S3Timeouts>;
}

/** What a client needs, all of it decided. Has secrets in it. */
export interface S3Settings {
  readonly bucket: string;
  /** Empty, or ends with a slash. */
  readonly keyPrefix: string;
  /** Without credentials and final slash. */
  readonly endpoint: string;
  readonly region: string;
  readonly isPathStyle: boolean;
  readonly credentials: S3Credentials;
  readonly acl: string | undefined;
  readonly connection: ConnectionSettings;
  readonly timeouts: S3Timeouts;
  readonly profile: ProviderProfile;
  /** What somebody should look at. */
  readonly warning: string | undefined;
}

/**
 * Decides everything about a location before the first request.
 *
 * @throws {ObjectStoreError} `INVALID_ARGUMENT` with a hint, and without a secret.
 */
export function resolveS3Location(location: S3Location, environment: Environment): S3Settings {
  const fail = failAt(location);
  const { bucket } = location;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$/.test(bucket)) {
    throw fail(
      `${JSON.stringify(bucket)} is not a bucket's name`,
      "Write the name alone: without quotes, s3:// and path.",
    );
  }
  const keyPrefix = normalizePrefix(location.prefix, fail);
  const credentials = checkCredentials(
    location.credentials ?? readCredentials(environment, fail),
    fail,
  );
  try {
    const given = location.endpoint ?? "";
    const endpoint = given === "" ? undefined : parseEndpoint(given);
    const choice = detectProvider(location.provider, endpoint);
    const region = /^(auto)?$/i.test(location.region ?? "") ? choice.region : location.region;
    const profile = { ...choice.profile, ...location.profile };
    if (endpoint === undefined && choice.profile.name !== "AWS") {
      throw new TypeError(
        `the provider is ${choice.profile.name}, and only AWS is found without an endpoint`,
      );
    }
    return {
      bucket,
      keyPrefix,
      endpoint:
        endpoint === undefined ? awsEndpoint(region ?? "") : endpoint.href.replace(/\/+$/, ""),
      region: region ?? choice.region,
      isPathStyle: location.forcePathStyle ?? profile.addressing === "path",
      credentials,
      acl: profile.aclSupported && location.acl !== "" ? location.acl : undefined,
      connection: readConnectionSettings(environment, location.skipTlsVerify ?? false),
      timeouts: { ...usualTimeouts, ...location.timeouts },
      // Directory buckets list in no order.
      profile: bucket.endsWith("--x-s3") ? { ...profile, listingSorted: false } : profile,
      warning: choice.warning,
    };
  } catch (error) {
    throw fail((error as Error).message, "Correct the setting.", error);
  }
}

/** @returns empty, or the prefix with a slash at its end. */
function normalizePrefix(prefix: string, fail: Fail): string {
  const segments = prefix.split("/").filter((segment) => segment !== "");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\x00-\x1f\x7f]/.test(prefix) || segments.some((segment) => /^\.\.?$/.test(segment))) {
    throw fail(
      "the prefix has control characters, or a segment that is a dot or two",
      "Write a prefix of letters, digits, hyphens and slashes.",
    );
  }
  return segments.map((segment) => `${segment}/`).join("");
}

function readCredentials(environment: Environment, fail: Fail): S3Credentials {
  const accessKeyId = environment["AWS_ACCESS_KEY_ID"] ?? "";
  const secretAccessKey = environment["AWS_SECRET_ACCESS_KEY"] ?? "";
  const sessionToken = environment["AWS_SESSION_TOKEN"] ?? "";
  const missing = [
    accessKeyId === "" ? "AWS_ACCESS_KEY_ID" : "",
    secretAccessKey === "" ? "AWS_SECRET_ACCESS_KEY" : "",
  ].filter((name) => name !== "");
  if (missing.length > 0) {
    throw fail(
      `there are no credentials: ${missing.join(" and ")} ${missing.length > 1 ? "are" : "is"} not set`,
      "Set them in the environment; AWS_SESSION_TOKEN too, if they are temporary.",
    );
  }
  return { accessKeyId, secretAccessKey, ...(sessionToken === "" ? {} : { sessionToken }) };
}

/** They become headers, and what fails there would show them in its message. */
function checkCredentials(credentials: S3Credentials, fail: Fail): S3Credentials {
  const { accessKeyId, secretAccessKey, sessionToken } = credentials;
  const given = {
    accessKeyId,
    secretAccessKey,
    ...(sessionToken === undefined || sessionToken === "" ? {} : { sessionToken }),
  };
  for (const [name, value] of Object.entries(given)) {
    if (/^[\x21-\x7e]+$/.test(value)) continue;
    throw fail(
      `the credential ${name} is empty, or has characters that no credential has`,
      "Copy it again, without spaces and line breaks.",
    );
  }
  return given;
}

function awsEndpoint(region: string): string {
  return `https://s3.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`;
}

type Fail = (reason: string, hint: string, cause?: unknown) => ObjectStoreError;

function failAt({ bucket, prefix }: S3Location): Fail {
  return (reason, hint, cause) =>
    new ObjectStoreError("INVALID_ARGUMENT", reason, {
      operation: "open",
      key: `s3://${bucket}/${prefix}`,
      hint,
      ...(cause === undefined ? {} : { cause }),
    });
}
