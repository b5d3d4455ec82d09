import type { ObjectStore } from "@vaultwarden-stream/object-store";
import { FormatError, invariant } from "../errors.ts";
import { LtxDecoder, type LtxPage } from "../ltx/decoder.ts";
import type { LtxHeader } from "../ltx/header.ts";
import { lockPgno } from "../ltx/lock-page.ts";
import { releaseMemory } from "../release-memory.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import { ReplicaError, type ReplicaErrorDetails } from "../replica/replica-error.ts";
import { PageChecksums } from "../ship/page-checksums.ts";
import { fetchFiles } from "./fetch-files.ts";
import { PageWriter } from "./page-writer.ts";
import { coded, type RestoreFile } from "./restore-file.ts";

/** A planned file that is not what its name and its checksums say. The cause is the `FormatError`. */
export class FileDamaged extends Error {
  override readonly name = "FileDamaged";
  readonly file: ReplicaFile;

  constructor(file: ReplicaFile, cause: FormatError) {
    super(`${file.key}: ${cause.message}`, { cause });
    this.file = file;
  }
}

/** The database as the files make it. */
export interface AppliedDatabase {
  readonly timestamp: Date;
  readonly pageSize: number;
  readonly pageCount: number;
  readonly rollingChecksum: string;
  readonly isRollingChecksumProved: boolean;
  readonly bytesRead: number;
  readonly pageChecksums: PageChecksums;
}

export interface ApplyOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: {
    readonly bytesDone: number;
    readonly bytesTotal: number;
    readonly filesDone: number;
    readonly filesTotal: number;
  }) => void;
}

/**
 * Fetches LTX files and applies them to an empty database file, NEWEST FIRST: a page counts where it is met first, and every page
 * is written once. What an older file holds beyond the size that the database had since then was cut off, and is passed over, so
 * that a stale page never comes back after a shrink and a growth.
 *
 * Nothing counts before it resolves: then every file was read to its end and its checksum verified, and every page of the last
 * commit is there. Memory: the parts on their way and 8 bytes a page. The file is not synced yet.
 *
 * @param files - oldest first, as planned.
 * @throws {FileDamaged}
 * @throws {ReplicaError} `CHAIN_BROKEN` if a page is in no file, `VERIFICATION_FAILED` if the rolling checksum is not the recorded one, `TARGET_UNWRITABLE`
 */
export async function applyFiles(
  store: ObjectStore,
  files: readonly ReplicaFile[],
  target: RestoreFile,
  { signal, onProgress }: ApplyOptions = {},
): Promise<AppliedDatabase> {
  const newestFirst = files.toReversed();
  const newest = newestFirst[0] as ReplicaFile;
  const bytesTotal = files.reduce((bytes, file) => bytes + file.size, 0);
  await coded(target.path, () => target.handle.truncate(0));
  let image: DatabaseImage | undefined;
  let decoder: LtxDecoder | undefined;
  let recorded: string | undefined;
  let bytesDone = 0;
  let filesDone = 0;
  let chunkBefore: Uint8Array | undefined;
  for await (const part of fetchFiles(store, newestFirst, signal)) {
    const file = newestFirst[part.fileIndex] as ReplicaFile;
    if (file === newest) recorded = part.info.metadata?.["rolling-checksum"];
    try {
      decoder ??= new LtxDecoder({ range: file, size: file.size });
      for (const chunk of part.chunks) {
        const isFirst = decoder.header === undefined;
        decoder.push(chunk);
        // The decoder has let go of it: a piece is its own until the next one comes.
        if (chunkBefore !== undefined) releaseMemory(chunkBefore);
        chunkBefore = chunk;
        if (isFirst && decoder.header !== undefined) {
          image ??= new DatabaseImage(target, newest, decoder.header, bytesTotal);
          image.begin(decoder.header, file);
        }
        for (let page = decoder.readPage(); page !== undefined; page = decoder.readPage()) {
          image?.apply(page);
          if (image?.isBusy === true) await image.ready();
        }
      }
      if (part.isLastOfFile) {
        const { postApplyChecksum } = decoder.finish();
        // Litestream can be told to carry the checksum in the file; ours carry it beside.
        if (file === newest && postApplyChecksum !== 0n) {
          recorded ??= postApplyChecksum.toString(16).padStart(16, "0");
        }
      }
    } catch (error) {
      throw error instanceof FormatError ? new FileDamaged(file, error) : error;
    }
    bytesDone += part.bytes;
    if (part.isLastOfFile) {
      filesDone += 1;
      decoder = undefined;
    }
    onProgress?.({ bytesDone, bytesTotal, filesDone, filesTotal: files.length });
  }
  invariant(image !== undefined, "a plan has a file, and a verified file has a header");
  return { ...(await image.complete(recorded)), bytesRead: bytesDone };
}

/** The database file under construction, and what is known of each page. */
class DatabaseImage {
  readonly #target: RestoreFile;
  readonly #newest: ReplicaFile;
  readonly #header: LtxHeader;
  readonly #pages: PageChecksums;
  /** The table's own memory. A high half of 0: the page was not met yet. */
  readonly #halves: Uint32Array;
  readonly #writer: PageWriter;
  /** Which pages the current file may still give: the smallest size of the database since then. */
  #pageCountSince: number;
  /** By file, newest first, the size of the database after it: to name who left pages out. */
  readonly #commits: { readonly file: ReplicaFile; readonly commit: number }[] = [];

  constructor(target: RestoreFile, newest: ReplicaFile, header: LtxHeader, bytesTotal: number) {
    this.#target = target;
    this.#newest = newest;
    this.#header = header;
    // Every page must be in some file: without this, a number in a header would decide what is allocated.
    if (header.commit > 1 + bytesTotal / pageBytesMin) {
      const reason = `bad header: ${header.commit} pages in ${bytesTotal} bytes of files`;
      throw new FormatError("LTX_BAD_HEADER", reason, { offset: 12 });
    }
    this.#pages = new PageChecksums(header.pageSize, header.commit);
    this.#pages.resize(header.commit);
    this.#halves = this.#pages.halves;
    this.#pageCountSince = header.commit;
    this.#writer = new PageWriter(target.handle, header.pageSize);
  }

  get isBusy(): boolean {
    return this.#writer.isBusy;
  }

  ready(): Promise<void> {
    return coded(this.#target.path, () => this.#writer.ready());
  }

  /** Takes the header of the next file, the one before those that were applied. */
  begin(header: LtxHeader, file: ReplicaFile): void {
    // A full copy with another page size continued the chain: nothing from before it counts. Was it not full, pages will be missing.
    const commit = header.pageSize === this.#header.pageSize ? header.commit : 0;
    this.#commits.push({ file, commit });
    this.#pageCountSince = Math.min(this.#pageCountSince, commit);
  }

  apply({ pgno, data, low, high }: LtxPage): void {
    if (pgno > this.#pageCountSince || this.#has(pgno)) return;
    this.#pages.set(pgno, low, high);
    this.#writer.write(pgno, data);
  }

  async complete(recorded: string | undefined): Promise<Omit<AppliedDatabase, "bytesRead">> {
    const { commit, pageSize, timestampMs } = this.#header;
    await coded(this.#target.path, async () => {
      await this.#writer.flush();
      // Makes room for a lock page at the end, which is never written.
      await this.#target.handle.truncate(commit * pageSize);
    });
    this.#refuseMissingPages();
    const rollingChecksum = this.#pages.rolling;
    const isRecorded = recorded !== undefined && /^[0-9a-f]{16}$/.test(recorded);
    if (isRecorded && recorded !== rollingChecksum) {
      throw new ReplicaError(
        "VERIFICATION_FAILED",
        `the restored database has rolling checksum ${rollingChecksum}, and ${recorded} was recorded with its newest file`,
        {
          ...identify(this.#newest),
          hint: "The files are whole and do not belong together: restore another moment, and keep the replica as it is.",
        },
      );
    }
    return {
      timestamp: new Date(timestampMs),
      pageSize,
      pageCount: commit,
      rollingChecksum,
      isRollingChecksumProved: isRecorded,
      pageChecksums: this.#pages,
    };
  }

  #has(pgno: number): boolean {
    return this.#halves[pgno * 2 - 1] !== 0;
  }

  #refuseMissingPages(): void {
    const lock = lockPgno(this.#header.pageSize);
    for (let pgno = 1; pgno <= this.#header.commit; pgno += 1) {
      if (this.#has(pgno) || pgno === lock) continue;
      // The last growth over the page is the file that had to hold it.
      const before = this.#commits.findIndex(({ commit }) => commit < pgno);
      throw missingPage(pgno, (this.#commits[before - 1] ?? this.#commits.at(-1))?.file);
    }
  }
}

/** The smallest page costs 11 bytes of frame and 3 of index. */
const pageBytesMin = 14;

function missingPage(pgno: number, file: ReplicaFile | undefined): ReplicaError {
  return new ReplicaError(
    "CHAIN_BROKEN",
    `the database has a page ${pgno}, and no file holds what is in it`,
    {
      ...(file === undefined ? {} : identify(file)),
      hint: "Whoever wrote that file left pages out. Restore a moment before it.",
    },
  );
}

function identify({
  key,
  level,
  maxTxid,
  timeline,
}: ReplicaFile): Omit<ReplicaErrorDetails, "hint"> {
  return { key, level, txid: maxTxid, timeline };
}
