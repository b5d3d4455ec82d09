import { type FileIdentity, isRaceFree, isSameIdentity } from "./change-test.ts";
import type { FileSighting } from "./scan.ts";

/** A file whose digest is certain: it need not be read as long as it looks like this. */
export interface CachedFile {
  readonly path: string;
  readonly identity: FileIdentity;
  readonly sha256: string;
}

interface KnownFile {
  readonly identity: FileIdentity;
  /** When it was first seen like this, by the monotonic clock. Long ago: in an earlier run. */
  readonly seenMs: number;
  readonly sha256: string | undefined;
  /** Whether a write after the bytes were read would have changed the identity. */
  readonly isCertain: boolean;
}

/** What was seen of each file, since when it looks as it does, and its digest if it was read since. In memory. */
export class KnownFiles {
  #files = new Map<string, KnownFile>();
  /** Whether there is something to save that was not there the last time. */
  #isChanged = false;

  constructor(cached: readonly CachedFile[]) {
    for (const { path, identity, sha256 } of cached) {
      this.#files.set(path, {
        identity,
        seenMs: Number.NEGATIVE_INFINITY,
        sha256,
        isCertain: true,
      });
    }
  }

  /**
   * Takes in a look. Files that are not among those seen are forgotten.
   *
   * @param isUnseen - whether the look could tell nothing about this path.
   */
  look(
    sightings: Iterable<FileSighting>,
    lookMs: number,
    isUnseen: (path: string) => boolean,
  ): void {
    const files = new Map<string, KnownFile>();
    for (const { path, identity } of sightings) {
      const known = this.#files.get(path);
      const isSame = known !== undefined && isSameIdentity(known.identity, identity);
      files.set(
        path,
        isSame ? known : { identity, seenMs: lookMs, sha256: undefined, isCertain: false },
      );
    }
    for (const [path, known] of this.#files) {
      if (files.has(path)) continue;
      if (isUnseen(path)) files.set(path, known);
      else if (known.isCertain) this.#isChanged = true;
    }
    this.#files = files;
  }

  /** @param readAt, readMs - when the reading began, by both clocks. */
  setDigest(file: FileSighting, sha256: string, readAt: Date, readMs: number): void {
    const known = this.#files.get(file.path);
    if (known === undefined || !isSameIdentity(known.identity, file.identity)) return;
    const { identity, seenMs } = known;
    const isCertain = isRaceFree(identity, { readAt, readMs, seenMs });
    this.#files.set(file.path, { identity, seenMs, sha256, isCertain });
    if (isCertain) this.#isChanged = true;
  }

  /** @returns undefined: it has to be read. */
  certainDigest({ path, identity }: FileSighting): string | undefined {
    const known = this.#files.get(path);
    if (known === undefined || !known.isCertain) return undefined;
    return isSameIdentity(known.identity, identity) ? known.sha256 : undefined;
  }

  /** Since when it has looked as it does. */
  seenMs(path: string): number {
    return this.#files.get(path)?.seenMs ?? Number.POSITIVE_INFINITY;
  }

  /** Whether some file was read and has to be read again, since a write in the same tick would not show. */
  get hasUncertain(): boolean {
    return [...this.#files.values()].some(
      ({ sha256, isCertain }) => sha256 !== undefined && !isCertain,
    );
  }

  get isChanged(): boolean {
    return this.#isChanged;
  }

  /** What a later run may rely on. */
  takeCertain(): CachedFile[] {
    this.#isChanged = false;
    const certain: CachedFile[] = [];
    for (const [path, { identity, sha256, isCertain }] of this.#files) {
      if (isCertain && sha256 !== undefined) certain.push({ path, identity, sha256 });
    }
    return certain;
  }
}
