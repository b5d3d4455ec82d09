import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { constants, read, type Stats } from "node:fs";
import { chmod, lstat, open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { rootUnusable } from "./file-errors.ts";
import type { FileEntry } from "./manifest.ts";
import type { PresentEntry, PresentTree } from "./plan-pull.ts";
import { runParallel } from "./run-parallel.ts";
import { rootNameOf, safePath } from "./safe-path.ts";
import { errnoOf } from "./scan.ts";

const readAt = promisify(read);

/** A fifo that took a file's place must not keep us waiting for a writer. */
const openFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** One root: where its tree is built, and where a living copy may be. */
export interface TreePlace {
  readonly name: string;
  /** Absolute. Nothing else than builds of ours may lie here: what is not wanted is removed. */
  readonly building: string;
  /** Absolute; only read. */
  readonly live: string | undefined;
}

/** Files are read only where that can save a fetch: where one of the same size is wanted. */
export async function lookAtPlaces(
  places: readonly TreePlace[],
  files: readonly FileEntry[],
  options: {
    readonly parallel: number;
    readonly signal: AbortSignal | undefined;
    /** Makes what lies in `building` readable and durable. Without it, nothing is touched. */
    readonly prepare: boolean;
  },
): Promise<PresentTree> {
  const wanted = new Map(files.map((file) => [file.path, file]));
  const building = new Map<string, PresentEntry>();
  for (const { name, building: base } of places) {
    for await (const [path, entry] of walk(name, base, options.prepare)) building.set(path, entry);
  }
  const bases = new Map(places.map((place) => [place.name, place]));
  const live: [string, { readonly size: number; readonly sha256: string }][] = [];
  await runParallel(wanted.values(), options.parallel, options.signal, async (file) => {
    const place = bases.get(rootNameOf(file.path));
    if (place === undefined) return;
    const present = building.get(file.path);
    if (present?.kind === "file" && present.size === file.size) {
      const path = safePath(place.building, file.path);
      const sha256 = await digestOf(path, options.prepare).catch(rootUnusable(path));
      building.set(file.path, { ...present, sha256 });
      if (sha256 === file.sha256) return;
    }
    if (place.live === undefined) return;
    const sha256 = await digestIfOfSize(safePath(place.live, file.path), file.size);
    if (sha256 === file.sha256) live.push([file.path, { size: file.size, sha256 }]);
  });
  return { building, live: new Map(live) };
}

/** @throws if it is a link, or cannot be read. */
async function digestOf(path: string, sync = false): Promise<string> {
  await using file = await open(path, openFlags);
  const { sha256 } = await digestOfDescriptor(file.fd);
  // A build that was killed may have written it and not synced it.
  if (sync) await file.sync();
  return sha256;
}

/** Reads the file from its beginning, whatever its position. */
export async function digestOfDescriptor(
  descriptor: number,
): Promise<{ readonly size: number; readonly sha256: string }> {
  const hash = createHash("sha256");
  const buffer = Buffer.allocUnsafe(256 * 1024);
  let size = 0;
  for (;;) {
    const { bytesRead } = await readAt(descriptor, buffer, 0, buffer.length, size);
    if (bytesRead === 0) return { size, sha256: hash.digest("hex") };
    hash.update(buffer.subarray(0, bytesRead));
    size += bytesRead;
  }
}

/** A live copy only saves a fetch, so whatever is wrong with it means that there is none: the store has the bytes. */
async function digestIfOfSize(path: string, size: number): Promise<string | undefined> {
  try {
    const stats = await lstat(path);
    return stats.isFile() && stats.size === size ? await digestOf(path) : undefined;
  } catch {
    return undefined;
  }
}

async function* walk(
  path: string,
  absolute: string,
  prepare: boolean,
): AsyncGenerator<[string, PresentEntry], void, undefined> {
  const stats = await lstat(absolute).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return undefined;
    return rootUnusable(absolute)(error);
  });
  if (stats === undefined) return;
  const present = describe(stats);
  if (present.kind === "other") {
    yield [path, present];
    return;
  }
  // It may have got its final mode, which need not let its owner in.
  const mode = prepare ? present.mode | (present.kind === "file" ? 0o400 : 0o700) : present.mode;
  if (mode !== present.mode) await chmod(absolute, mode).catch(rootUnusable(absolute));
  yield [path, { ...present, mode }];
  if (present.kind === "file") return;
  for (const name of await namesIn(absolute)) {
    yield* walk(`${path}/${name}`, join(absolute, name), prepare);
  }
}

async function namesIn(directory: string): Promise<string[]> {
  const raw = await readdir(directory, { encoding: "buffer" }).catch(rootUnusable(directory));
  return raw.map((bytes) => {
    // Decoded it is another name, so it could neither be kept nor removed. We write no such names.
    if (isUtf8(bytes)) return bytes.toString();
    return rootUnusable(directory)(new Error(`it holds a name that is not UTF-8: ${bytes}`));
  });
}

function describe(stats: Stats): PresentEntry {
  const mode = stats.mode & 0o7777;
  if (stats.isDirectory()) return { kind: "directory", mode };
  if (!stats.isFile()) return { kind: "other" };
  const { size } = stats;
  return { kind: "file", mode, mtimeMs: Math.floor(stats.mtimeMs), size, sha256: undefined };
}
