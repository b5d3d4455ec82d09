import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import {
  type PullProgress,
  type PullResult,
  pullTree,
  type SyncRoot,
} from "@vaultwarden-stream/file-sync";
import type { ObjectStore, StoreLocation } from "@vaultwarden-stream/object-store";
import { type BuiltDatabase, listReplica } from "wal-replicator";
import { timelinesUnder } from "../daemon/vault-store.ts";
import { rootNames } from "../files/vault-roots.ts";
import { readVaultRows, type VaultRows } from "../files/vault-rows.ts";
import { type ChosenFiles, chooseFiles, rootOf } from "./choose-files.ts";
import { lineageOf } from "./lineage.ts";
import { treePlaces } from "./tree-places.ts";
import { swapVault } from "./vault-swap.ts";

export interface RestoreVaultOptions {
  readonly database: string;
  /** What is restored beside the database, and where it goes. */
  readonly roots: readonly SyncRoot[];
  readonly location: StoreLocation;
  readonly store: ObjectStore;
  /** The moment that was asked for; undefined: the newest, or the database's own moment if `isExact`. */
  readonly at: Date | undefined;
  /** A TXID was asked for: the files are those of its moment. */
  readonly isExact: boolean;
  readonly onProgress?: (progress: PullProgress) => void;
  readonly signal?: AbortSignal;
}

/** What a restore brought back beside the database. */
export interface RestoredFiles extends ChosenFiles {
  readonly pulled: PullResult;
  /** Where the files that were there before are kept; only those that were there. */
  readonly aside: readonly string[];
}

/**
 * The second half of a restore (architecture.md D6, D11): the database is built and verified beside its place; now the files that belong to it are
 * chosen by its rows and its line, built beside theirs, and everything is swapped in at once. Until then nothing that was there is touched.
 *
 * What the store does not have, or has with other bytes than it should, is left out and named: the rest of a vault is worth more than none.
 *
 * @throws errors of the store, and of the file system, as they are.
 */
export async function publishVault(
  built: BuiltDatabase,
  options: RestoreVaultOptions,
): Promise<RestoredFiles> {
  const { database, roots, location, store, at, isExact, onProgress, signal } = options;
  const { result, incoming, aside } = built;
  const request = signal === undefined ? {} : { signal };
  const listing = await listReplica({ replica: location, timelinesUnder, ...request });
  const chosen = await chooseFiles(store, {
    lineage: lineageOf(listing, result.timeline),
    at: at ?? (isExact ? result.timestamp : undefined),
    rows: await readRowsOf(incoming),
    roots: new Set(roots.map(({ name }) => name)),
    ...request,
  });
  const places = await treePlaces(restoredRoots(roots, chosen), aside.slice(database.length));
  const incomingOf = new Map(places.map((place) => [place.root.name, place.incoming]));
  const pulled = await pullTree({
    store,
    entries: chosen.entries,
    roots: places.map(({ root }) => root),
    building: ({ name }) => incomingOf.get(name) ?? "",
    reuse: ({ path }) => path,
    ...(onProgress === undefined ? {} : { onProgress }),
    ...request,
  });
  signal?.throwIfAborted();
  const trees = places.map((place) => ({
    live: place.root.path,
    // Bad files may be all that there was.
    incoming: existsSync(place.incoming) ? place.incoming : undefined,
    aside: place.aside,
  }));
  const kept = trees.filter(({ live }) => existsSync(live)).map((tree) => tree.aside);
  await swapVault(database, { database: { incoming, aside }, trees });
  return { ...chosen, pulled, aside: kept };
}

/**
 * A root that the manifest does not know stays as it is: it may not have been stored at all. But where the key was, `config.json` was looked at
 * too, so then there was none.
 */
function restoredRoots(roots: readonly SyncRoot[], { entries }: ChosenFiles): SyncRoot[] {
  const named = new Set(entries.map(({ path }) => rootOf(path)));
  if (named.has(rootNames.rsaKey)) named.add(rootNames.configFile);
  return roots.filter(({ name }) => named.has(name));
}

/** Of a database that nobody else has open, and that has no WAL of its own. */
async function readRowsOf(path: string): Promise<VaultRows> {
  try {
    return readVaultRows(path);
  } finally {
    // A read-only connection makes them for a WAL-mode database, and leaves them behind.
    for (const suffix of ["-wal", "-shm"]) await rm(`${path}${suffix}`, { force: true });
  }
}
