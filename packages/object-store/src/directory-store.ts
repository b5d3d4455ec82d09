import type { Stats } from "node:fs";
import { type FileHandle, link, open, rename, stat, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { bodySize, releasableBody } from "./body.ts";
import { deleteOneByOne, deletingAll } from "./delete-all.ts";
import { DirectoryClock } from "./directory-clock.ts";
import { errnoOf, explainFileError } from "./directory-errors.ts";
import { isAbsence, walkKeys } from "./directory-walk.ts";
import { DurableDirectories, syncDirectory } from "./durable-directories.ts";
import { ObjectStoreError } from "./errors.ts";
import { readSpan, writeBody } from "./file-body.ts";
import { sidecarPath, temporaryPath } from "./hidden-names.ts";
import { decodeSidecar, encodeSidecar } from "./metadata-sidecar.ts";
import { checkKey, checkPrefix } from "./object-key.ts";
import type {
  GetOptions,
  ListOptions,
  ObjectBody,
  ObjectInfo,
  ObjectReading,
  ObjectStore,
  ObjectStoreProperties,
  PutOptions,
  RequestOptions,
} from "./object-store.ts";
import { checkPutOptions, metadataToKeep, resolveRange } from "./request-checks.ts";
import { placeSidecar, readSidecar } from "./sidecar-file.ts";
import { sweepTemporaries } from "./sweep-temporaries.ts";

const pageKeyCountMax = 1000;

/**
 * Objects as files below a root directory, which is created by the first write and never by a read.
 *
 * Invariants:
 * - A name of an object only ever leads to complete, synced bytes: they are written under a hidden name (`.<random>.tmp`) and
 *   get theirs by rename(2) or, where nothing may be replaced, by link(2).
 * - A resolved write is on disk: bytes, times, metadata, the name, and the names of all directories above it.
 * - Metadata lies in a sidecar that names its owner by size and mtime (`metadata-sidecar.ts`), so that another object's reads as
 *   none. The sidecar is in place before a new object appears. Where one is there already, it follows its object: a crash
 *   between the two costs a write that nobody was told of its metadata, and not the old object. (Left open: two writers
 *   of one key, the same size and the same millisecond, between two system calls.)
 *
 * A crash leaves at most hidden files, which no listing shows. The temporary ones among them are removed, once they are a day
 * old, by the first write into their directory. Directories are never removed, and one that this instance has seen and that is
 * gone is never made again: its objects went with it (a disk was unmounted, somebody cleaned up), and who has stored them must
 * hear of it.
 */
export class DirectoryStore implements ObjectStore {
  readonly properties: ObjectStoreProperties;
  readonly #root: string;
  readonly #directories: DurableDirectories;
  readonly #clock = new DirectoryClock();
  readonly #swept = new Set<string>();

  /** @param root - path of the directory; a relative one is resolved now, by the current directory. */
  constructor(root: string) {
    this.#root = resolve(root);
    this.#directories = new DurableDirectories(this.#root);
    this.properties = {
      kind: "directory",
      location: pathToFileURL(this.#root).href,
      listingSorted: true,
      createIfAbsent: "atomic",
    };
  }

  async put(key: string, body: ObjectBody, options: PutOptions = {}): Promise<void> {
    await this.#write("put", key, body, options);
  }

  putIfAbsent(
    key: string,
    body: ObjectBody,
    options: PutOptions = {},
  ): Promise<"created" | "exists"> {
    return this.#write("putIfAbsent", key, body, options);
  }

  async get(key: string, options: GetOptions = {}): Promise<ObjectReading> {
    options.signal?.throwIfAborted();
    checkKey("get", key);
    const path = this.#pathOf(key);
    const fail = (error: unknown) => this.#failRead(error, "get", key);
    const file = await open(path).catch(fail);
    let isHandedOver = false;
    try {
      const [stats, sidecar] = await Promise.all([file.stat(), readSidecar(path)]).catch(fail);
      if (!stats.isFile()) throw notFound("get", key);
      const span = resolveRange(key, stats.size, options.range);
      const storeTime = await this.#clock.now(() => temporaryPath(path));
      options.signal?.throwIfAborted();
      isHandedOver = true;
      return {
        info: { ...toInfo(key, stats, sidecar), storeTime },
        body: releasableBody(readSpan(file, key, span, options.signal), () => file.close()),
      };
    } finally {
      if (!isHandedOver) await file.close();
    }
  }

  async head(key: string, options: RequestOptions = {}): Promise<ObjectInfo> {
    options.signal?.throwIfAborted();
    checkKey("head", key);
    const path = this.#pathOf(key);
    const [stats, sidecar] = await Promise.all([stat(path), readSidecar(path)]).catch(
      (error: unknown) => this.#failRead(error, "head", key),
    );
    if (!stats.isFile()) throw notFound("head", key);
    const storeTime = await this.#clock.now(() => temporaryPath(path));
    return { ...toInfo(key, stats, sidecar), storeTime };
  }

  async *list(
    prefix: string,
    options: ListOptions = {},
  ): AsyncGenerator<readonly ObjectInfo[], void, undefined> {
    options.signal?.throwIfAborted();
    checkPrefix("list", prefix);
    await this.#checkRoot("list", prefix);
    const fail = failing("list", prefix);
    const walk = walkKeys(this.#root, prefix, options.startAfter ?? "");
    let keys: string[] = [];
    for (;;) {
      options.signal?.throwIfAborted();
      const next = await walk.next().catch(fail);
      if (next.done !== true) keys.push(next.value);
      if (keys.length === pageKeyCountMax || (next.done === true && keys.length > 0)) {
        yield await this.#readInfos(keys).catch(fail);
        keys = [];
      }
      if (next.done === true) return;
    }
  }

  /** Removes the names only; a crash of the machine may bring the object back, whole. */
  async delete(key: string, options: RequestOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    checkKey("delete", key);
    const path = this.#pathOf(key);
    try {
      await unlinkIfPresent(path);
      await unlinkIfPresent(sidecarPath(path));
    } catch (error) {
      if (isAbsence(error)) {
        await this.#checkRoot("delete", key);
        return;
      }
      // A directory has this name, so there is no such object.
      const isDirectory = await stat(path).then(
        (stats) => stats.isDirectory(),
        () => false,
      );
      if (!isDirectory) throw explainFileError(error, "delete", key);
    }
  }

  deleteAll(keys: readonly string[], options: RequestOptions = {}): Promise<void> {
    return deletingAll(keys, options, (left) => deleteOneByOne(this, left, left, options));
  }

  async #write(
    operation: "put" | "putIfAbsent",
    key: string,
    body: ObjectBody,
    options: PutOptions,
  ): Promise<"created" | "exists"> {
    const { signal } = options;
    signal?.throwIfAborted();
    checkKey(operation, key);
    checkPutOptions(operation, key, options);
    const metadata = metadataToKeep(options);
    const fail = failing(operation, key);
    const path = this.#pathOf(key);
    const temporary = temporaryPath(path);
    const file = await this.#openNew(temporary).catch(async (error: unknown) => {
      await this.#checkRoot(operation, key);
      return fail(error);
    });
    const hiddenNames = new Set([temporary]);
    try {
      await writeBody(file, operation, key, body, signal, fail);
      // A sidecar names the mtime of its object, so with metadata the mtime is always ours.
      const time = options.timestamp ?? (metadata === undefined ? undefined : new Date());
      if (time !== undefined) await setTime(file, time).catch(fail);
      const sidecar =
        metadata === undefined || time === undefined
          ? undefined
          : encodeSidecar({ size: bodySize(body), mtimeMs: time.getTime() }, metadata);
      // Before the sidecar is placed: with the same size and millisecond it would be taken for that of the object that is there.
      if (operation === "putIfAbsent" && (await isFile(path).catch(fail))) {
        // It may be of an earlier attempt of ours that failed just here, and is taken for stored from now on.
        await syncDirectory(dirname(path)).catch(fail);
        return "exists";
      }
      const [, sidecarInWaiting] = await Promise.all([
        file.sync(),
        sidecar === undefined ? undefined : placeSidecar(path, sidecar, hiddenNames),
      ]).catch(fail);
      signal?.throwIfAborted();

      let outcome: "created" | "exists" = "created";
      if (operation === "put") {
        await rename(temporary, path).catch(fail);
        hiddenNames.delete(temporary);
      } else {
        outcome = await linkIfAbsent(temporary, path).catch(fail);
      }
      if (sidecarInWaiting !== undefined && outcome === "created") {
        await rename(sidecarInWaiting, sidecarPath(path)).catch(fail);
        hiddenNames.delete(sidecarInWaiting);
      }
      await Promise.all([
        // Also if it exists, as above.
        syncDirectory(dirname(path)),
        // A sidecar of a replaced object of the same size and mtime would be taken for ours.
        outcome === "created" && sidecar === undefined
          ? unlinkIfPresent(sidecarPath(path))
          : undefined,
      ]).catch(fail);
      return outcome;
    } finally {
      // None of it changes what was decided above, and a failure here would hide that.
      await Promise.allSettled([file.close(), ...[...hiddenNames].map((name) => unlink(name))]);
    }
  }

  async #openNew(temporary: string): Promise<FileHandle> {
    const directory = dirname(temporary);
    await this.#directories.ensure(directory);
    if (!this.#swept.has(directory)) {
      this.#swept.add(directory);
      await sweepTemporaries(directory, Date.now());
    }
    return await open(temporary, "wx");
  }

  async #readInfos(keys: readonly string[]): Promise<ObjectInfo[]> {
    const infos = await Promise.all(
      keys.map(async (key) => {
        try {
          return toInfo(key, await stat(this.#pathOf(key)), undefined);
        } catch (error) {
          // Deleted since its directory was read.
          if (isAbsence(error)) return undefined;
          throw error;
        }
      }),
    );
    return infos.filter((info) => info !== undefined);
  }

  #pathOf(key: string): string {
    return join(this.#root, key);
  }

  async #failRead(error: unknown, operation: string, key: string): Promise<never> {
    if (isAbsence(error)) {
      await this.#checkRoot(operation, key);
      throw notFound(operation, key);
    }
    throw explainFileError(error, operation, key);
  }

  /** A root that is missing is an empty store, since the first write creates it. A root that is a file is a wrong path. */
  async #checkRoot(operation: string, key: string): Promise<void> {
    let stats: Stats;
    try {
      stats = await stat(this.#root);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return;
      throw explainFileError(error, operation, key);
    }
    if (stats.isDirectory()) return;
    throw new ObjectStoreError("FORBIDDEN", `${this.#root} is not a directory`, {
      operation,
      key,
      hint: "Correct the path of the store: something else than a directory has it.",
    });
  }
}

/** For errors of files only: what a caller passes in, a body's error or an abort reason, is never explained. */
function failing(operation: string, key: string): (error: unknown) => never {
  return (error) => {
    throw explainFileError(error, operation, key);
  };
}

function notFound(operation: string, key: string): ObjectStoreError {
  return new ObjectStoreError("NOT_FOUND", "there is no such object", { operation, key });
}

/** Half a microsecond more than asked for: Node passes seconds as a double, which would end up below the millisecond. */
function setTime(file: FileHandle, time: Date): Promise<void> {
  const seconds = (time.getTime() + 0.0005) / 1000;
  return file.utimes(seconds, seconds);
}

function toInfo(key: string, stats: Stats, sidecar: Uint8Array | undefined): ObjectInfo {
  const mtimeMs = Math.floor(stats.mtimeMs);
  const metadata =
    sidecar === undefined ? undefined : decodeSidecar(sidecar, { size: stats.size, mtimeMs });
  return {
    key,
    size: stats.size,
    lastModified: new Date(stats.ctimeMs),
    timestamp: new Date(mtimeMs),
    ...(metadata === undefined ? {} : { metadata }),
  };
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(undefinedIfAbsent))?.isFile() === true;
}

function undefinedIfAbsent(error: unknown): undefined {
  if (!isAbsence(error)) throw error;
}

async function linkIfAbsent(temporary: string, path: string): Promise<"created" | "exists"> {
  try {
    await link(temporary, path);
    return "created";
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
  }
  if (!(await stat(path)).isDirectory()) return "exists";
  throw Object.assign(new Error(`${path} is a directory`), { code: "EISDIR", syscall: "link" });
}

async function unlinkIfPresent(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
}
