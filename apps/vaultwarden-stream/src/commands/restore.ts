import { existsSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { manifestKey, type SyncRoot } from "@vaultwarden-stream/file-sync";
import type { ObjectStore } from "@vaultwarden-stream/object-store";
import {
  asidePath,
  chooseDatabase,
  listAside,
  listReplica,
  type PreviewRestoreOptions,
  parseTxid,
  previewRestore,
  restoreIntoPlace,
  type Txid,
} from "wal-replicator";
import {
  type CommandCall,
  CommandError,
  type CommandSpec,
  confirm,
  exitCodes,
  formatBytes,
  formatCount,
  interruptible,
  parseTime,
  usageError,
} from "wal-replicator/command-line";
import type { Config } from "../config/config.ts";
import { refuseIfInUse } from "../daemon/exclusive-use.ts";
import { openRetrying, timelinesUnder } from "../daemon/vault-store.ts";
import { vaultPathsIn, vaultRoots } from "../files/vault-roots.ts";
import { chooseFiles } from "../restore/choose-files.ts";
import { describeFiles, filesJson, warnOfFiles } from "../restore/describe-files.ts";
import { describePoint } from "../restore/describe-point.ts";
import { lineageOf } from "../restore/lineage.ts";
import { publishVault, type RestoredFiles } from "../restore/restore-vault.ts";
import { finishVaultSwap, forgetTreesAside, swapVault, treesAside } from "../restore/vault-swap.ts";
import { readEverything } from "./read-settings.ts";

interface RestoreOptions {
  readonly to?: string;
  readonly at?: Date;
  readonly txid?: Txid;
  readonly timeline?: string;
  readonly dryRun?: true;
  readonly undo?: true;
  readonly yes?: true;
}

type RestoreCall = CommandCall<RestoreOptions>;

/** Where the restored database goes. */
interface Target {
  readonly database: string;
  /** Of its files; none where only a database is wanted. */
  readonly roots: readonly SyncRoot[];
  /** A vault will run on it, so the stream gets what it needs to go on from there. */
  readonly isDataFolder: boolean;
}

export const restoreCommand: CommandSpec<RestoreOptions> = {
  name: "restore",
  summary:
    "bring the vault back from the store, database and files as of one moment; what was there is kept aside",
  args: [],
  options: [
    {
      flags: "--to <path>",
      description:
        "a directory, or a file for the database alone (default: where the vault's settings have it)",
    },
    {
      flags: "--at <time>",
      description: "as it was then: RFC 3339, or an age like `2h ago`",
      parse: parseTime,
    },
    { flags: "--txid <hex>", description: "as it was at this TXID", parse: parseTxidOption },
    { flags: "--timeline <name>", description: "of this timeline, instead of the newest one" },
    { flags: "--dry-run", description: "say what would be restored, and write nothing" },
    { flags: "--undo", description: "bring back what the last restore kept aside" },
    { flags: "--yes", description: "replace the vault that is there without asking" },
  ],
  examples: [
    'vaultwarden-stream restore --to /tmp/look --at "2h ago"',
    "docker run --rm -v vault:/data … vaultwarden-stream restore --yes",
  ],
  doing: ({ options }) => (options.undo === true ? "undoing a restore" : "restoring the vault"),
  run: (call) =>
    interruptible((signal) =>
      call.options.undo === true ? undo(call, signal) : restore(call, signal),
    ),
};

async function restore(call: RestoreCall, signal: AbortSignal): Promise<number> {
  const { options, output, streams } = call;
  if (options.at !== undefined && options.txid !== undefined) {
    throw usageError(
      "cannot restore two positions",
      "--at and --txid are both given",
      "keep one of them",
    );
  }
  const { config, target } = findTarget(call);
  const wanted = {
    ...(options.at === undefined ? {} : { before: options.at }),
    ...(options.txid === undefined ? {} : { txid: options.txid }),
    ...(options.timeline === undefined ? {} : { timeline: options.timeline }),
  };
  const store = openRetrying(config.store);
  if (options.dryRun === true) return dryRun(call, { config, target, store, wanted, signal });

  await makeReady(call, target);
  const exists = statSync(target.database, { throwIfNoEntry: false }) !== undefined;
  if (exists) {
    await confirm(
      {
        text: `Replace ${target.database}${target.roots.length === 0 ? "" : " and the vault's files"}? What is there is kept beside it.`,
        yes: options.yes === true,
        option: "--yes",
      },
      streams,
      signal,
    );
  }
  const progress = output.progress("restoring the database");
  const filesProgress = output.progress("restoring files");
  let files: RestoredFiles | undefined;
  const { result, aside } = await restoreIntoPlace({
    database: target.database,
    replica: config.store,
    timelinesUnder,
    ...wanted,
    keepsResumeState: target.isDataFolder,
    onProgress: ({ bytesDone, bytesTotal }) => progress.update(bytesDone, bytesTotal),
    publish: async (built) => {
      progress.clear();
      files = await publishVault(built, {
        database: target.database,
        roots: target.roots,
        location: config.store,
        store,
        at: options.at,
        isExact: options.txid !== undefined,
        onProgress: ({ bytes, bytesTotal }) => filesProgress.update(bytes, bytesTotal),
        signal,
      });
    },
    signal,
  });
  filesProgress.clear();
  for (const key of result.damagedKeys) {
    output.warn(`${key} is damaged in the store; other files made up for it`, { key });
  }
  if (files !== undefined) warnOfFiles(files, output);
  const isWhole = files === undefined || files.pulled.bad.length === 0;
  output.result(
    {
      restored: true,
      database: target.database,
      timeline: result.timeline,
      txid: result.txid,
      at: result.timestamp,
      pages: result.pageCount,
      bytes: result.pageCount * result.pageSize,
      rollingChecksum: result.rollingChecksum,
      files: files === undefined ? null : filesJson(files),
      aside: aside ?? null,
    },
    `restored ${describePoint(result.timestamp, result.txid)}${files === undefined ? "" : `, ${describeFiles(files)}`} to ${target.database}: ${formatBytes(result.pageCount * result.pageSize)}, verified${
      aside === undefined
        ? ""
        : `\nwhat was there is kept as ${aside}${files === undefined || files.aside.length === 0 ? "" : ` and ${files.aside.join(", ")}`}; \`restore --undo\` brings it back`
    }`,
  );
  return isWhole ? exitCodes.done : exitCodes.verificationFailed;
}

async function dryRun(
  { output }: RestoreCall,
  {
    config,
    target,
    store,
    wanted,
    signal,
  }: {
    readonly config: Config;
    readonly target: Target;
    readonly store: ObjectStore;
    readonly wanted: Pick<PreviewRestoreOptions, "before" | "txid" | "timeline">;
    readonly signal: AbortSignal;
  },
): Promise<number> {
  const replica = { replica: config.store, timelinesUnder, signal };
  const point = await previewRestore({ ...replica, ...wanted });
  const listing = await listReplica(replica);
  const chosen = await chooseFiles(store, {
    lineage: lineageOf(listing, point.timeline),
    at: wanted.before ?? (wanted.txid === undefined ? undefined : point.at),
    // They are in the database, which nobody has fetched.
    rows: new Map(),
    roots: new Set(target.roots.map(({ name }) => name)),
    signal,
  });
  const stored = chosen.entries.filter((entry) => entry.kind === "file");
  const bytes = stored.reduce((sum, { size }) => sum + size, 0);
  const manifest = chosen.manifest === undefined ? null : manifestKey(chosen.manifest);
  output.result(
    {
      dryRun: true,
      database: target.database,
      ...point,
      files: { manifest, files: stored.length, bytes },
    },
    `would restore ${describePoint(point.at, point.txid)} of timeline ${point.timeline} and ${formatCount(stored.length, "file")} (${formatBytes(bytes)}) to ${target.database}`,
  );
  return exitCodes.done;
}

async function undo(call: RestoreCall, signal: AbortSignal): Promise<number> {
  const { options, output, streams } = call;
  if (options.at ?? options.txid ?? options.timeline ?? options.dryRun) {
    throw usageError(
      "cannot undo and restore at once",
      "--undo takes what was kept aside",
      "give it alone, or with --to",
    );
  }
  const { target } = findTarget(call);
  await makeReady(call, target);
  const [incoming] = listAside(target.database);
  if (incoming === undefined) {
    throw new CommandError(
      "NOTHING_TO_RESTORE",
      {
        what: "there is nothing to undo",
        why: `no restore has kept anything beside ${target.database}`,
        next: "restore an earlier moment with --at instead",
      },
      { exitCode: exitCodes.nothingToRestore },
    );
  }
  await confirm(
    {
      text: `Bring back ${incoming}? What is at ${target.database} now is kept beside it.`,
      yes: options.yes === true,
      option: "--yes",
    },
    streams,
    signal,
  );
  const hadDatabase = statSync(target.database, { throwIfNoEntry: false }) !== undefined;
  const aside = asidePath(target.database, new Date(streams.now()));
  const suffix = aside.slice(target.database.length);
  const trees = treesAside(incoming).map(({ live, aside: kept }) => ({
    live,
    // What was not there then is not there again.
    incoming: existsSync(kept) ? kept : undefined,
    aside: `${kept.slice(0, -suffix.length)}${suffix}`,
  }));
  // Before the swap: unmarked, what we bring back would be an old volume to the next start.
  if (target.isDataFolder) await chooseDatabase(incoming);
  await swapVault(target.database, { database: { incoming, aside }, trees });
  await forgetTreesAside(incoming);
  output.result(
    {
      restored: true,
      database: target.database,
      from: incoming,
      trees: trees.map(({ live }) => live),
      aside: hadDatabase ? aside : null,
    },
    `brought back ${incoming}${trees.length === 0 ? "" : ` and ${trees.flatMap(({ incoming: kept }) => kept ?? []).join(", ")}`} to ${target.database}${hadDatabase ? `\nwhat was there is kept as ${aside}` : ""}`,
  );
  return exitCodes.done;
}

function findTarget(call: RestoreCall): {
  config: Config;
  target: Target;
} {
  const { options, streams } = call;
  const { config, settings } = readEverything(streams.env, streams, { level: "warn" });
  if (options.to === undefined) {
    const roots = vaultRoots(settings.paths, config.files.include);
    return { config, target: { database: settings.database, roots, isDataFolder: true } };
  }
  const path = resolve(options.to);
  const stats = statSync(path, { throwIfNoEntry: false });
  // What does not exist yet is a directory, unless it is written like a database.
  const isDirectory = stats === undefined ? !/\.(sqlite3?|db)$/i.test(path) : stats.isDirectory();
  const database = isDirectory ? join(path, basename(settings.database)) : path;
  const roots = isDirectory ? vaultRoots(vaultPathsIn(path), config.files.include) : [];
  return { config, target: { database, roots, isDataFolder: isDirectory } };
}

/** Nobody may use the target, and an earlier swap of it must have come to its end. */
async function makeReady(call: RestoreCall, { database }: Target): Promise<void> {
  refuseIfInUse(database);
  const aside = await finishVaultSwap(database);
  if (aside !== undefined) {
    call.output.warn(`finished an interrupted restore; what was there before is kept as ${aside}`);
  }
}

function parseTxidOption(text: string): Txid {
  const txid = parseTxid(text.toLowerCase().padStart(16, "0"));
  if (txid === undefined) {
    throw usageError(
      `"${text}" is not a TXID`,
      "it is 1 to 16 hex digits and not 0",
      "`restore --dry-run` shows the newest",
    );
  }
  return txid;
}
