import { FormatError } from "../errors.ts";
import type { LtxPage } from "../ltx/decoder.ts";
import type { LtxHeader } from "../ltx/header.ts";
import { lockPgno } from "../ltx/lock-page.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import { ReplicaError, type ReplicaErrorDetails } from "../replica/replica-error.ts";
import { PageChecksums } from "../ship/page-checksums.ts";
import { PageWriter } from "./page-writer.ts";
import { coded, type OpenTarget } from "./restore-file.ts";

/** The database as the files make it. */
export interface AppliedDatabase {
  readonly timestamp: Date;
  readonly pageSize: number;
  readonly pageCount: number;
  readonly rollingChecksum: string;
  readonly isRollingChecksumProved: boolean;
  readonly pageChecksums: PageChecksums;
}

/** The database file under construction, and what is known of each page: 8 bytes a page. */
export class DatabaseImage {
  readonly #target: OpenTarget;
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

  /**
   * @param header - of the newest file.
   * @param bytesTotal - of all files.
   */
  constructor(target: OpenTarget, newest: ReplicaFile, header: LtxHeader, bytesTotal: number) {
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

  /**
   * @param recorded - the rolling checksum that the replica has for the newest file.
   * @throws {ReplicaError} `CHAIN_BROKEN`, `VERIFICATION_FAILED`, `TARGET_UNWRITABLE`
   */
  async complete(recorded: string | undefined): Promise<AppliedDatabase> {
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
