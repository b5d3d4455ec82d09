import { FormatError, invariant } from "../errors.ts";
import { LtxDecoder } from "../ltx/decoder.ts";
import { releaseMemory } from "../release-memory.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import { type AppliedDatabase, DatabaseImage } from "./database-image.ts";
import type { FetchedPart } from "./fetch-files.ts";
import type { OpenTarget } from "./restore-file.ts";

/** A planned file that is not what its name and its checksums say. The cause is the `FormatError`. */
export class FileDamaged extends Error {
  override readonly name = "FileDamaged";
  readonly file: ReplicaFile;

  constructor(file: ReplicaFile, cause: FormatError) {
    super(`${file.key}: ${cause.message}`, { cause });
    this.file = file;
  }
}

export type FilePart = Pick<FetchedPart, "fileIndex" | "chunks" | "isLastOfFile">;

/** Makes a database of the parts of its files, given in order. After an error it takes nothing more. */
export interface PartApplier extends AsyncDisposable {
  /**
   * Takes a part, whose chunks belong to it from now on. Resolves when there is room for the next one.
   *
   * @throws {FileDamaged} of this part or an earlier one. @throws {ReplicaError} `TARGET_UNWRITABLE`
   */
  apply(part: FilePart): Promise<void>;

  /** To be called after the last part of the last file. @throws as `apply`, and as `DatabaseImage.complete`. */
  complete(recorded: string | undefined): Promise<AppliedDatabase>;
}

/** Applies them in this thread. */
export class LocalApplier implements PartApplier {
  readonly #newestFirst: readonly ReplicaFile[];
  readonly #target: OpenTarget;
  readonly #bytesTotal: number;
  #image: DatabaseImage | undefined;
  #decoder: LtxDecoder | undefined;
  #chunkBefore: Uint8Array | undefined;
  /** Litestream can be told to carry the checksum in the file; ours carry it beside. */
  #carried: string | undefined;

  constructor(newestFirst: readonly ReplicaFile[], target: OpenTarget) {
    this.#newestFirst = newestFirst;
    this.#target = target;
    this.#bytesTotal = newestFirst.reduce((bytes, file) => bytes + file.size, 0);
  }

  async apply({ fileIndex, chunks, isLastOfFile }: FilePart): Promise<void> {
    const file = this.#newestFirst[fileIndex] as ReplicaFile;
    try {
      this.#decoder ??= new LtxDecoder({ range: file, size: file.size });
      for (const chunk of chunks) await this.#applyChunk(chunk, file, this.#decoder);
      if (!isLastOfFile) return;
      const { postApplyChecksum } = this.#decoder.finish();
      this.#decoder = undefined;
      if (fileIndex === 0 && postApplyChecksum !== 0n) {
        this.#carried = postApplyChecksum.toString(16).padStart(16, "0");
      }
    } catch (error) {
      throw error instanceof FormatError ? new FileDamaged(file, error) : error;
    }
  }

  async complete(recorded: string | undefined): Promise<AppliedDatabase> {
    invariant(this.#image !== undefined, "a plan has a file, and a verified file has a header");
    return await this.#image.complete(recorded ?? this.#carried);
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #applyChunk(chunk: Uint8Array, file: ReplicaFile, decoder: LtxDecoder): Promise<void> {
    const isFirst = decoder.header === undefined;
    decoder.push(chunk);
    // The decoder has let go of it: a piece is its own until the next one comes.
    if (this.#chunkBefore !== undefined) releaseMemory(this.#chunkBefore);
    this.#chunkBefore = chunk;
    if (isFirst && decoder.header !== undefined) {
      const newest = this.#newestFirst[0] as ReplicaFile;
      this.#image ??= new DatabaseImage(this.#target, newest, decoder.header, this.#bytesTotal);
      this.#image.begin(decoder.header, file);
    }
    for (let page = decoder.readPage(); page !== undefined; page = decoder.readPage()) {
      this.#image?.apply(page);
      if (this.#image?.isBusy === true) await this.#image.ready();
    }
  }
}
