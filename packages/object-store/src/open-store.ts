import { fileURLToPath } from "node:url";
import { DirectoryStore } from "./directory-store.ts";
import { ObjectStoreError } from "./errors.ts";
import type { ObjectStore } from "./object-store.ts";

/**
 * Opens the store at a location: `file:///absolute/path` (percent-encoding is decoded), or a path, relative to the current directory.
 * Nothing is read or written yet.
 *
 * @throws {ObjectStoreError} `INVALID_ARGUMENT` for every other location.
 */
export function openObjectStore(location: string): ObjectStore {
  if (location === "") throw refuse(location, "the location is empty");
  // One letter is a drive of Windows.
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(location)?.[1]?.toLowerCase();
  if (scheme === undefined) return new DirectoryStore(location);
  if (scheme === "file") return new DirectoryStore(parseFileUrl(location));
  throw refuse(
    location,
    scheme === "s3" ? "s3:// is not supported yet" : `${scheme}: is not a store that is known`,
  );
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
    hint: "Use file:///absolute/path or a plain path (./name:with-colon if it has a colon). s3:// follows.",
    cause,
  });
}
