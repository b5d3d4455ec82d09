import {
  openSealedJson,
  type SealedJson,
  sealJson,
  sealProblem,
} from "@vaultwarden-stream/object-store";
import { isDigest } from "./blob-key.ts";
import { FileSyncError } from "./errors.ts";
import { type ManifestRef, manifestKey, parseManifestKey } from "./manifest-key.ts";

/** The state of all roots at one moment, and the point of commit: a file is stored once a manifest names it. */
export interface Manifest extends ManifestRef {
  /** By path, in the order of UTF-16 code units, each path once; a directory before what is in it. */
  readonly entries: readonly ManifestEntry[];
  /** Key of the manifest that was the newest when this one was written, as its writer knows. Who misses that one knows that something removed it. */
  readonly previous?: string;
}

export type ManifestEntry = FileEntry | DirectoryEntry;

export interface FileEntry {
  readonly kind: "file";
  /** The root's name, then for a directory's files the path below it, with `/` between. As the file system has it, in no normal form. */
  readonly path: string;
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number;
  /** Milliseconds since 1970. */
  readonly mtimeMs: number;
  /** Bytes. */
  readonly size: number;
  readonly sha256: string;
}

/** Every directory, the root's own included: an empty one comes back as well. */
export interface DirectoryEntry {
  readonly kind: "directory";
  readonly path: string;
  readonly mode: number;
}

const version = 1;
/** A million files and more. Beyond it is a mistake, or an attack on our memory. */
export const manifestBytesMax: number = 256 * 1024 * 1024;
const tooLarge = `it has more than ${manifestBytesMax} bytes`;
/** A path is at most 4,096 bytes for Linux. Characters are never more than bytes. */
const pathLengthMax = 4096;

/** @throws {FileSyncError} `MANIFEST_INVALID` for one that could not be read again: it must not come into being. */
export function encodeManifest(manifest: Manifest): Uint8Array {
  const { timeline, epoch, sequence, txid, time, entries, previous } = manifest;
  const key = manifestKey(manifest);
  if (parseManifestKey(key) === undefined) throw invalid(key, "no manifest has such a key");
  decodeEntries(key, entries);
  // One entry a line, for people and their tools.
  const lines = entries.map((entry) => JSON.stringify(entry)).join(",\n");
  // Without one it is left out.
  const head = JSON.stringify({ version, timeline, epoch, sequence, txid, time, previous });
  const bytes = sealJson(`${head.slice(0, -1)},"entries":[\n${lines}\n]}`);
  if (bytes.length > manifestBytesMax) throw invalid(key, tooLarge);
  return bytes;
}

/**
 * @param key - where the bytes were found; what they say of themselves must agree with it.
 * @throws {FileSyncError} `MANIFEST_INVALID`, with the key and the entry that is wrong.
 */
export function decodeManifest(key: string, bytes: Uint8Array): Manifest {
  const ref = parseManifestKey(key);
  if (ref === undefined) throw invalid(key, "no manifest has such a key");
  const opened = parse(key, bytes);
  const json = opened.value;
  if (!isRecord(json)) throw invalid(key, "it is not a JSON object");
  if (json["version"] !== version) {
    throw invalid(
      key,
      `it is of version ${JSON.stringify(json["version"])}, and this program knows ${version}`,
    );
  }
  if (!says(json, ref, key)) throw invalid(key, "it is another manifest than its key says");
  const { entries, previous } = json;
  if (!Array.isArray(entries)) throw invalid(key, "it has no list of entries");
  const decoded = decodeEntries(key, entries);
  const problem = sealProblem(opened, unsealedFields);
  if (problem !== undefined) throw invalid(key, problem);
  if (previous === undefined) return { ...ref, entries: decoded };
  const isKey = typeof previous === "string" && parseManifestKey(previous) !== undefined;
  if (!isKey) throw invalid(key, "what it says of the manifest before it is no key of one");
  return { ...ref, entries: decoded, previous };
}

/** What manifests had before they were sealed. */
const unsealedFields = ["version", "timeline", "epoch", "sequence", "txid", "time", "entries"];

function decodeEntries(key: string, entries: readonly unknown[]): ManifestEntry[] {
  const decoded: ManifestEntry[] = [];
  let last = "";
  for (const [index, value] of entries.entries()) {
    const entry = decodeEntry(value);
    if (entry === undefined) throw invalid(key, `its entry ${index} is not one of ours`);
    if (entry.path <= last) throw invalid(key, `its entry ${index} is out of order`);
    last = entry.path;
    decoded.push(entry);
  }
  return decoded;
}

function decodeEntry(value: unknown): ManifestEntry | undefined {
  if (!isRecord(value)) return undefined;
  const { kind, path, mode } = value;
  if (typeof path !== "string" || !isManifestPath(path)) return undefined;
  if (!isInteger(mode, 0o7777)) return undefined;
  if (kind === "directory") return { kind, path, mode };
  const { mtimeMs, size, sha256 } = value;
  if (kind !== "file" || typeof sha256 !== "string" || !isDigest(sha256)) return undefined;
  if (!isInteger(size, Number.MAX_SAFE_INTEGER)) return undefined;
  if (typeof mtimeMs !== "number" || !Number.isSafeInteger(mtimeMs)) return undefined;
  return { kind, path, mode, mtimeMs, size, sha256 };
}

/** Whether the path stays where it says: names with `/` between, none of them empty, `.` or `..`, and no zero byte. */
export function isManifestPath(path: string): boolean {
  if (path.length > pathLengthMax || path.includes("\0")) return false;
  return path.split("/").every((name) => name !== "" && name !== "." && name !== "..");
}

function parse(key: string, bytes: Uint8Array): SealedJson {
  try {
    return openSealedJson(bytes);
  } catch (error) {
    throw invalid(key, "it is not JSON", error);
  }
}

function says(json: Record<string, unknown>, ref: ManifestRef, key: string): boolean {
  const { timeline, epoch, sequence, txid, time } = json;
  if (typeof time !== "string" || Number.isNaN(Date.parse(time))) return false;
  return (
    timeline === ref.timeline &&
    epoch === ref.epoch &&
    sequence === ref.sequence &&
    txid === ref.txid &&
    manifestKey({ ...ref, time: new Date(time) }) === key
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isInteger(value: unknown, max: number): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value <= max;
}

function invalid(key: string, why: string, cause?: unknown): FileSyncError {
  return new FileSyncError(
    "MANIFEST_INVALID",
    `the manifest ${key} cannot be used: ${why}`,
    "Restore from another moment, or with the version that wrote it; nothing was changed.",
    { cause },
  );
}
