import { fileURLToPath } from "node:url";
import { DirectoryStore } from "./directory-store.ts";
import { ObjectStoreError } from "./errors.ts";
import type { ObjectStore } from "./object-store.ts";
import { parseS3Url } from "./s3/parse-s3-url.ts";
import type { Environment } from "./s3/s3-agents.ts";
import { resolveS3Location, type S3Location } from "./s3/s3-settings.ts";
import { S3Store } from "./s3/s3-store.ts";

/** A directory's path, a `file:` or `s3:` URL, or a bucket with its credentials: plain data, which can cross the border of a process. */
export type StoreLocation = string | S3Location;

/**
 * Opens the store at a location: `s3://bucket/prefix?endpoint=…` (`parseS3Url`), an `S3Location`, `file:///absolute/path`
 * (percent-encoding is decoded), or a path, relative to the current directory. Of the store nothing is read or written yet.
 *
 * @param environment - where an `s3:` URL finds credentials and defaults, and where proxies and certificates are set
 *   (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`, `SSL_CERT_FILE`, `SSL_CERT_DIR`).
 * @throws {ObjectStoreError} `INVALID_ARGUMENT` for every other location, and for one that lacks something.
 */
export function openObjectStore(
  location: StoreLocation,
  environment: Environment = process.env,
): ObjectStore {
  if (typeof location !== "string") {
    return new S3Store(resolveS3Location(location, environment));
  }
  if (location === "") throw refuse(location, "the location is empty");
  // One letter is a drive of Windows.
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(location)?.[1]?.toLowerCase();
  if (scheme === undefined) return new DirectoryStore(location);
  if (scheme === "file") return new DirectoryStore(parseFileUrl(location));
  if (scheme === "s3") {
    return new S3Store(resolveS3Location(parseS3Url(location, environment), environment));
  }
  throw refuse(location, `${scheme}: is not a store that is known`);
}

function parseFileUrl(location: string): string {
  let url: URL;
  try {
    url = new URL(location);
    // Without a host, `file:backup` would quietly become /backup.
    if (!/^file:\/\/\//i.test(location)) throw new TypeError("a file URL has three slashes");
    if (url.search !== "" || url.hash !== "") {
      throw new TypeError("in a file URL, ? is written %3F and # is written %23");
    }
    return fileURLToPath(url);
  } catch (error) {
    throw refuse(location, (error as Error).message, error);
  }
}

function refuse(location: string, reason: string, cause?: unknown): ObjectStoreError {
  return new ObjectStoreError("INVALID_ARGUMENT", reason, {
    operation: "open",
    // A URL may carry credentials, and errors are shown.
    key: location.replace(/\/\/[^/@]*@/, "//"),
    hint: "Use s3://bucket/prefix, file:///absolute/path or a plain path (./name:with-colon if it has a colon).",
    cause,
  });
}
