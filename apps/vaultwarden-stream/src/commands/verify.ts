import {
  FileSyncError,
  listManifests,
  type ManifestEntry,
  type ManifestRef,
  manifestKey,
  readManifest,
  verifyBlobs,
} from "@vaultwarden-stream/file-sync";
import { isNotFound, type ObjectStore } from "@vaultwarden-stream/object-store";
import {
  type ConfirmedPosition,
  parseTxid,
  type ReplicaVerification,
  type Subset,
  verifyReplica,
} from "wal-replicator";
import {
  type CommandSpec,
  describeRetry,
  describeVerification,
  exitCodeOfVerification,
  exitCodes,
  formatBytes,
  formatCount,
  interruptible,
  parseSubset,
  phaseProgress,
} from "wal-replicator/command-line";
import { readStatusFile } from "../daemon/status-file.ts";
import { openRetrying, timelinesUnder } from "../daemon/vault-store.ts";
import { readEverything } from "./read-settings.ts";

interface VerifyOptions {
  readonly quick?: true;
  readonly readDataSubset?: Subset;
}

export const verifyCommand: CommandSpec<VerifyOptions> = {
  name: "verify",
  summary:
    "proves what is stored: the database's chain, every checksum, a trial restore, every file",
  args: [],
  options: [
    { flags: "--quick", description: "names and sizes only: read no data, restore nothing" },
    {
      flags: "--read-data-subset <n/t>",
      description: "read the n-th of t parts of the data: t runs read everything",
      parse: parseSubset,
    },
  ],
  examples: [
    "vaultwarden-stream verify",
    "docker exec vault vaultwarden-stream verify --read-data-subset 1/7 --json",
  ],
  doing: () => "verifying the vault's store",
  run: ({ options, output, streams }) =>
    interruptible(async (signal) => {
      const { config, settings } = readEverything(streams.env, streams, { level: "error" });
      const progress = phaseProgress(output);
      const { quick = false, readDataSubset: subset } = options;
      const confirmed = storedAccordingTo(settings.database);
      const database = await verifyReplica({
        replica: config.store,
        timelinesUnder,
        isQuick: quick,
        ...(subset === undefined ? {} : { subset }),
        ...(confirmed === undefined ? {} : { confirmed }),
        onRetry: (notice) => output.warn(describeRetry(notice)),
        onProgress: ({ phase, bytesDone, bytesTotal }) =>
          progress.update(`${phase} the database`, bytesDone, bytesTotal),
        signal,
      });
      progress.clear();
      const files = await verifyFiles(openRetrying(config.store), database, {
        quick,
        subset,
        signal,
      });
      const isSound = database.isSound && files.bad.length === 0;
      output.result(
        { isSound, database, files },
        [describeVerification(database), ...describeFiles(files)].join("\n"),
      );
      return files.bad.length > 0 ? exitCodes.verificationFailed : exitCodeOfVerification(database);
    }),
};

/** What the daemon here has heard from the store: it must be there. */
function storedAccordingTo(database: string): ConfirmedPosition | undefined {
  const { timeline, storedTxid } = readStatusFile(database) ?? {};
  const txid = typeof storedTxid === "string" ? parseTxid(storedTxid) : undefined;
  return typeof timeline !== "string" || txid === undefined ? undefined : { timeline, txid };
}

interface FilesVerification {
  /** Whose files were looked at: the newest state of each timeline. */
  readonly manifests: readonly string[];
  /** Contents, each once. */
  readonly found: number;
  readonly bytes: number;
  readonly bad: readonly {
    /** SHA-256 of a content, or the key of a manifest. */
    readonly object: string;
    /** A file that needs the content. */
    readonly path: string | null;
    readonly why: string;
  }[];
}

/** The newest states of the files against what they name. @throws errors of the store as they are. */
async function verifyFiles(
  store: ObjectStore,
  { timelines }: ReplicaVerification,
  options: {
    readonly quick: boolean;
    readonly subset: Subset | undefined;
    readonly signal: AbortSignal;
  },
): Promise<FilesVerification> {
  const { quick, subset, signal } = options;
  const known = new Set(timelines.map(({ timeline }) => timeline));
  const newest = new Map<string, ManifestRef>();
  // Oldest first within a timeline.
  for (const ref of await listManifests(store, { signal })) {
    if (known.has(ref.timeline)) newest.set(ref.timeline, ref);
  }
  const bad: FilesVerification["bad"][number][] = [];
  const entries: ManifestEntry[] = [];
  for (const ref of newest.values()) {
    try {
      entries.push(...(await readManifest(store, ref, { signal })).entries);
    } catch (error) {
      const isInvalid = error instanceof FileSyncError && error.code === "MANIFEST_INVALID";
      if (!isInvalid && !isNotFound(error)) throw error;
      bad.push({ object: manifestKey(ref), path: null, why: (error as Error).message });
    }
  }
  const result = await verifyBlobs({
    store,
    entries,
    readData: !quick,
    ...(subset === undefined ? {} : { subset: { n: subset.n, of: subset.t } }),
    signal,
  });
  for (const { sha256, path, why } of result.bad) bad.push({ object: sha256, path, why });
  return {
    manifests: [...newest.values()].map(manifestKey),
    found: result.blobs - result.bad.length,
    bytes: result.bytes,
    bad,
  };
}

function describeFiles({ manifests, found, bytes, bad }: FilesVerification): string[] {
  if (manifests.length === 0) return ["files: no state of them is stored"];
  const verdict = bad.length === 0 ? "sound" : formatCount(bad.length, "problem");
  const states = formatCount(manifests.length, "newest state");
  return [
    `files: ${verdict}`,
    ...bad.map(({ object, path, why }) =>
      path === null ? `  BAD ${object}: ${why}` : `  BAD ${path}: ${why} (${object})`,
    ),
    `  ${formatCount(found, "content")} found, ${formatBytes(bytes)} in all, of ${states}`,
  ];
}
