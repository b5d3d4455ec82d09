import type { Manifest, ManifestRef } from "@vaultwarden-stream/file-sync";
import { manifestKey } from "@vaultwarden-stream/file-sync";
import type { Line, Rows } from "./line.ts";

/** A manifest that was written once, whether it is still there or not. */
interface KnownManifest {
  readonly ref: ManifestRef;
  readonly timeMs: number;
  readonly txid: number;
  /** Path → digest. */
  readonly files: ReadonlyMap<string, string>;
  isLive: boolean;
}

/** All manifests that ever were, and the blobs that are: what files each moment had, and which it has still. */
export class Files {
  readonly problems: string[] = [];
  /** Manifests deleted so far. */
  deletes = 0;
  /** By timeline, in the order in which they were written. */
  readonly #manifests = new Map<string, KnownManifest[]>();
  readonly #byKey = new Map<string, KnownManifest>();
  /** Digest → when it was stored. */
  readonly #blobs = new Map<string, number>();
  /** Digest → how many live manifests name it. */
  readonly #named = new Map<string, number>();

  stored(manifest: Manifest): void {
    const { timeline, epoch, sequence, txid, time, entries } = manifest;
    const files = new Map<string, string>();
    for (const entry of entries) if (entry.kind === "file") files.set(entry.path, entry.sha256);
    const known = {
      ref: { timeline, epoch, sequence, txid, time },
      timeMs: time.getTime(),
      txid: Number.parseInt(txid, 16),
      files,
      isLive: true,
    };
    const before = this.#manifests.get(timeline) ?? [];
    this.#manifests.set(timeline, before);
    before.push(known);
    const key = manifestKey(manifest);
    this.#byKey.set(key, known);
    for (const digest of files.values()) {
      this.#named.set(digest, (this.#named.get(digest) ?? 0) + 1);
      if (!this.#blobs.has(digest))
        this.problems.push(`${key} names ${digest}, which is not there`);
    }
  }

  /** @returns which it was. */
  deleted(key: string): ManifestRef | undefined {
    const known = this.#byKey.get(key);
    if (known === undefined || !known.isLive) return undefined;
    known.isLive = false;
    this.deletes += 1;
    for (const digest of known.files.values()) {
      this.#named.set(digest, (this.#named.get(digest) ?? 0) - 1);
    }
    return known.ref;
  }

  blobStored(digest: string, atMs: number): void {
    this.#blobs.set(digest, atMs);
  }

  blobDeleted(digest: string): void {
    this.#blobs.delete(digest);
    if ((this.#named.get(digest) ?? 0) > 0) {
      this.problems.push(`blob ${digest} was deleted, and a manifest that is there names it`);
    }
  }

  /** Those that are there, in the order in which they were written. */
  live(): ManifestRef[] {
    return [...this.#byKey.values()].filter(({ isLive }) => isLive).map(({ ref }) => ref);
  }

  /** Of the blobs, those from before a time that no live manifest names. */
  unnamedBlobs(beforeMs: number): string[] {
    return [...this.#blobs].flatMap(([digest, atMs]) =>
      atMs < beforeMs && (this.#named.get(digest) ?? 0) === 0 ? [digest] : [],
    );
  }

  /** The newest manifest of a timeline that ever was. */
  lastOf(timeline: string): ManifestRef | undefined {
    return this.#manifests.get(timeline)?.at(-1)?.ref;
  }

  /** The manifests of a lineage. */
  view(head: Line): FilesView {
    const once = [...head.lineage()]
      .reverse()
      .flatMap(({ line, upTo }) =>
        (this.#manifests.get(line.name) ?? []).filter(({ txid }) => txid <= upTo),
      );
    return new FilesView(once);
  }
}

/** What a restore of a lineage finds of the files. */
export class FilesView {
  /** All that ever were, in the order in which they were written. */
  readonly #once: readonly KnownManifest[];
  readonly #live: readonly KnownManifest[];

  constructor(once: readonly KnownManifest[]) {
    this.#once = once;
    this.#live = once.filter(({ isLive }) => isLive);
  }

  /** Those that are there. */
  get live(): ManifestRef[] {
    return this.#live.map(({ ref }) => ref);
  }

  /** Which manifest a restore to this moment takes. */
  chosen(atMs: number): ManifestRef | undefined {
    return chooseFrom(this.#live, atMs)?.ref;
  }

  /** Which one it would have taken if none had ever been deleted. */
  chosenOnce(atMs: number): ManifestRef | undefined {
    return chooseFrom(this.#once, atMs)?.ref;
  }

  /** The files of a moment: of the manifest that is chosen for it, and of others what its rows name and it lacks. */
  filesAt(atMs: number, rows: Rows): Map<string, string> {
    const files = new Map(chooseFrom(this.#live, atMs)?.files);
    for (const [path, digest] of rows) {
      if (files.get(path) !== digest && has(this.#live, path, digest)) files.set(path, digest);
    }
    return files;
  }

  /** A row whose file a restore to this moment would have found once, and does not any more. */
  lostFile(atMs: number, rows: Rows): string | undefined {
    const files = chooseFrom(this.#live, atMs)?.files;
    for (const [path, digest] of rows) {
      if (files?.get(path) === digest || has(this.#live, path, digest)) continue;
      if (has(this.#once, path, digest)) return path;
    }
    return undefined;
  }
}

function chooseFrom(manifests: readonly KnownManifest[], atMs: number): KnownManifest | undefined {
  return manifests.findLast(({ timeMs }) => timeMs <= atMs);
}

function has(manifests: readonly KnownManifest[], path: string, digest: string): boolean {
  return manifests.some(({ files }) => files.get(path) === digest);
}
