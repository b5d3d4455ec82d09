import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { RetryNotice } from "@vaultwarden-stream/object-store";
import { usageError } from "../command-line/command-error.ts";
import type { CommandCall, CommandSpec } from "../command-line/command-line.ts";
import { confirm } from "../command-line/confirm.ts";
import { describeRetry } from "../command-line/describe-event.ts";
import { formatBytes, formatCount, formatTime } from "../command-line/format.ts";
import { parseTime } from "../command-line/parse-time.ts";
import { interruptible } from "../command-line/termination.ts";
import { formatTxid, parseTxid, type Txid } from "../ltx/txid.ts";
import { openReplicaRoot } from "../open-replica-root.ts";
import { orSayOlder } from "../replica/older-replica.ts";
import { ReplicaError } from "../replica/replica-error.ts";
import type { LineageTarget } from "../restore/plan-lineage.ts";
import { type DatabaseRestorePlan, readRestorePlan } from "../restore/read-plan.ts";
import { restore as restoreReplica } from "../restore-replica.ts";
import { followReplica } from "./restore-follow.ts";

export interface RestoreCommandOptions {
  readonly output: string;
  readonly at?: Date;
  readonly txid?: Txid;
  readonly timeline?: string;
  readonly ifDbNotExists?: true;
  readonly ifReplicaExists?: true;
  readonly force?: true;
  readonly yes?: true;
  readonly dryRun?: true;
  readonly follow?: true;
}

type RestoreCall = CommandCall<RestoreCommandOptions>;

/** They ask for one state, once. */
const notWithFollow = ["at", "txid", "ifDbNotExists", "dryRun"] as const;

export const restoreCommand: CommandSpec<RestoreCommandOptions> = {
  name: "restore",
  summary: "Restores a database: beside the target, verified, then renamed to it.",
  args: [
    [
      "<url>",
      "the replica: s3://bucket/prefix, file:///absolute/path, or a path; stock Litestream's too",
    ],
  ],
  options: [
    {
      flags: "-o, --output <file>",
      description: "the database to make",
      required: true,
      parse: parseOutput,
    },
    {
      flags: "--at <time>",
      description: 'the newest state before this time: RFC 3339, or an age like "2h ago"',
      parse: parseTime,
    },
    {
      flags: "--txid <hex>",
      description: "exactly this state, as `list` shows it",
      parse: parseTxidOption,
    },
    { flags: "--timeline <name>", description: "this timeline instead of the head: a branch, say" },
    { flags: "--if-db-not-exists", description: "do nothing, successfully, if the target exists" },
    {
      flags: "--if-replica-exists",
      description: "do nothing, successfully, if nothing was ever stored there",
    },
    { flags: "--force", description: "replace the target if it exists; nobody may have it open" },
    { flags: "-y, --yes", description: "do not ask before the target is replaced" },
    { flags: "--dry-run", description: "show what would be restored, and write nothing" },
    {
      flags: "--follow",
      description:
        "then apply what arrives, under its readers, until SIGTERM or Ctrl-C; a copy that was followed before is followed on",
    },
  ],
  examples: [
    "wal-replicator restore /backups/app -o restored.db",
    'wal-replicator restore file:///backups/app -o restored.db --at "2h ago"',
  ],
  doing: ({ args, options }) => `restore of ${args[0]} to ${options.output}`,
  run: async (call) => {
    const { options } = call;
    if (options.at !== undefined && options.txid !== undefined) {
      throw usageError(
        "cannot restore to a time and to a TXID at once",
        "--at and --txid were both given",
        "leave out one of them",
      );
    }
    const conflict = notWithFollow.find((name) => options.follow && options[name] !== undefined);
    if (conflict !== undefined) {
      throw usageError(
        "cannot follow a replica to one state of it",
        `--follow and ${toFlag(conflict)} were both given`,
        "leave out one of them",
      );
    }
    const path = resolve(options.output);
    const exists = existsSync(path);
    if (exists && options.ifDbNotExists)
      return skip(call, "database-exists", `${path} exists: nothing to do`);
    try {
      if (options.follow) await followReplica(call, path);
      else
        await interruptible((signal) =>
          options.dryRun ? plan(call, exists, signal) : restore(call, path, exists, signal),
        );
    } catch (error) {
      const isNothing = error instanceof ReplicaError && error.code === "NOTHING_TO_RESTORE";
      if (!isNothing || !options.ifReplicaExists) throw error;
      return skip(call, "no-replica", `nothing was ever stored at ${call.args[0]}: nothing to do`);
    }
    return undefined;
  },
};

/** An empty path, of a shell variable that is not set, would be the current directory. */
function parseOutput(text: string): string {
  if (text !== "") return text;
  throw usageError("--output is empty", "it names no file", "write `--output <file>`");
}

function toFlag(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function parseTxidOption(text: string): Txid {
  const txid = parseTxid(text.toLowerCase().padStart(16, "0"));
  if (txid !== undefined) return txid;
  throw usageError(
    `"${text}" is not a TXID`,
    "a TXID is at most 16 hex digits and not 0",
    "`wal-replicator list` shows what can be restored",
  );
}

function toTarget({ options }: RestoreCall): LineageTarget {
  return { txid: options.txid, before: options.at, timeline: options.timeline };
}

function readPlan(call: RestoreCall, signal: AbortSignal): Promise<DatabaseRestorePlan> {
  const onRetry = (notice: RetryNotice): void => call.output.warn(describeRetry(notice));
  const root = openReplicaRoot(call.args[0] as string, { onRetry });
  return orSayOlder(root, { signal }, () => readRestorePlan(root, toTarget(call), { signal }));
}

function skip({ output }: RestoreCall, reason: string, text: string): undefined {
  output.result({ restored: false, reason }, text);
  return undefined;
}

async function plan(call: RestoreCall, exists: boolean, signal: AbortSignal): Promise<void> {
  const { timeline, txid, createdAt, files } = await readPlan(call, signal);
  const bytes = files.reduce((sum, file) => sum + file.size, 0);
  const report = {
    dryRun: true,
    output: resolve(call.options.output),
    outputExists: exists,
    timeline,
    txid,
    at: createdAt,
    bytes,
    files: files.map(({ key, level, minTxid, maxTxid, size }) => ({
      key,
      level,
      minTxid,
      maxTxid,
      bytes: size,
    })),
  };
  const lines = [
    `would restore ${describeState(timeline, txid, createdAt)}`,
    `  to ${report.output}${exists ? ", which exists and would be replaced" : ""}`,
    `  from ${formatCount(files.length, "file")}, ${formatBytes(bytes)}:`,
    ...files.map((file) => `    ${formatBytes(file.size).padStart(10)}  ${file.key}`),
  ];
  call.output.result(report, lines.join("\n"));
}

async function restore(
  call: RestoreCall,
  path: string,
  exists: boolean,
  signal: AbortSignal,
): Promise<void> {
  const { options, output, streams } = call;
  if (exists && !options.force && !options.yes) {
    const { timeline, txid, createdAt } = await readPlan(call, signal);
    const text = `Replace ${path} by ${describeState(timeline, txid, createdAt)}?`;
    await confirm({ text, yes: false, option: "--force" }, streams, signal);
  }
  if (exists) output.info(`replacing ${path}`);
  const startedMs = streams.now();
  const progress = output.progress("restoring");
  const { at, txid, timeline } = options;
  const result = await restoreReplica({
    replica: call.args[0] as string,
    target: path,
    ...(at === undefined ? {} : { before: at }),
    ...(txid === undefined ? {} : { txid }),
    ...(timeline === undefined ? {} : { timeline }),
    overwrite: exists,
    onRetry: (notice) => output.warn(describeRetry(notice)),
    onProgress: ({ bytesDone, bytesTotal }) => progress.update(bytesDone, bytesTotal),
    signal,
  });
  for (const key of result.damagedKeys) {
    output.warn(`${key} is damaged; other files made up for it. The replica needs a look`);
  }
  const bytes = result.pageSize * result.pageCount;
  const report = {
    restored: true,
    output: path,
    timeline: result.timeline,
    txid: result.txid,
    at: result.timestamp,
    bytes,
    pageSize: result.pageSize,
    pageCount: result.pageCount,
    rollingChecksum: result.rollingChecksum,
    rollingChecksumProved: result.isRollingChecksumProved,
    bytesRead: result.bytesRead,
    fileCount: result.files.length,
    damagedKeys: result.damagedKeys,
    durationMs: streams.now() - startedMs,
  };
  const proof = result.isRollingChecksumProved
    ? "the whole database's checksum is the recorded one"
    : "the replica has no checksum of the whole database there";
  const text = [
    `restored ${path}: ${describeState(result.timeline, result.txid, result.timestamp)}`,
    `  ${formatBytes(bytes)} from ${formatCount(result.files.length, "file")}; every file's checksum and integrity_check are right; ${proof}`,
  ];
  output.result(report, text.join("\n"));
}

function describeState(timeline: string, txid: Txid, at: Date): string {
  const where = timeline === "" ? "" : `timeline ${timeline}, `;
  return `${where}TXID ${formatTxid(txid)}, the state of ${formatTime(at)}`;
}
