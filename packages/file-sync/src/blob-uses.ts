import type { FileEntry, ManifestEntry } from "./manifest.ts";
import type { ManifestRef } from "./manifest-key.ts";

/** From when on until when a timeline's manifests name something. */
export interface UseSpan {
  readonly timeline: string;
  readonly from: Date;
  /** Of the first manifest that does not name it any more; null: the newest one does. */
  readonly to: Date | null;
}

interface Use {
  readonly entry: FileEntry;
  readonly paths: Set<string>;
  /** Of manifests that follow each other in one timeline: the first one's number, the last one's. */
  readonly runs: { readonly first: number; last: number }[];
}

/**
 * Which contents a store's manifests need, by which names, and when. Each content is kept once, however many manifests name it: what it takes
 * grows with the contents and not with the manifests.
 */
export class BlobUses {
  readonly #uses = new Map<string, Use>();
  readonly #refs: ManifestRef[] = [];

  /** Takes the manifests in the order of `listManifests`. @param entries - undefined: it could not be read, and names nothing. */
  add(ref: ManifestRef, entries: readonly ManifestEntry[] | undefined): void {
    const number = this.#refs.push(ref) - 1;
    const isContinued = this.#refs[number - 1]?.timeline === ref.timeline;
    for (const entry of entries ?? []) {
      if (entry.kind !== "file") continue;
      const content = `${entry.sha256}:${entry.size}`;
      const use = this.#uses.get(content) ?? { entry, paths: new Set(), runs: [] };
      this.#uses.set(content, use);
      use.paths.add(entry.path);
      const run = use.runs.at(-1);
      if (isContinued && run?.last === number - 1) run.last = number;
      else if (run?.last !== number) use.runs.push({ first: number, last: number });
    }
  }

  /** Each content as one of the files that have it; two sizes for one digest, which only a liar writes, are two. */
  *contents(): Generator<FileEntry> {
    for (const { entry } of this.#uses.values()) yield entry;
  }

  /**
   * @param isThere - whether a manifest is still there: what only others need is not needed.
   * @returns the names of a content, and when it is needed; no spans: never.
   */
  of(
    { sha256, size }: Pick<FileEntry, "sha256" | "size">,
    isThere: (ref: ManifestRef) => boolean = () => true,
  ): { readonly paths: readonly string[]; readonly spans: readonly UseSpan[] } {
    const use = this.#uses.get(`${sha256}:${size}`);
    const spans = (use?.runs ?? []).flatMap(({ first, last }): UseSpan[] => {
      const naming = this.#refs.slice(first, last + 1);
      const from = naming.find(isThere);
      if (from === undefined) return [];
      const next = this.#refs[last + 1];
      const to = next?.timeline === from.timeline ? next.time : null;
      return [{ timeline: from.timeline, from: from.time, to }];
    });
    return { paths: [...(use?.paths ?? [])].toSorted(), spans };
  }
}
