import { policyWithin, type Subset, verifyReplica } from "wal-replicator";
import {
  type CommandSpec,
  confirm,
  describeRetry,
  describeVerification,
  exitCodeOfVerification,
  exitCodes,
  interruptible,
  parseDuration,
  parseSubset,
  phaseProgress,
} from "wal-replicator/command-line";
import { isRunning } from "../daemon/process-identity.ts";
import { readStatusFile } from "../daemon/status-file.ts";
import { openRetrying, timelinesUnder } from "../daemon/vault-store.ts";
import { vaultRoots } from "../files/vault-roots.ts";
import { confirmedHere } from "../verify/confirmed-here.ts";
import { describeFilesVerification, describeProofs } from "../verify/describe-files.ts";
import { readPlace, savePlace } from "../verify/reading-place.ts";
import { describeRepair, describeRepairPlan, planRepair, repair } from "../verify/repair.ts";
import { verifyFiles } from "../verify/verify-files.ts";
import { verifyProofs } from "../verify/verify-proofs.ts";
import { readEverything } from "./read-settings.ts";

interface VerifyOptions {
  readonly quick?: true;
  readonly readDataSubset?: Subset;
  readonly timeLimit?: number;
  readonly repair?: true;
  readonly yes?: true;
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
    {
      flags: "--time-limit <duration>",
      description:
        "begin to read nothing after that, and go on there the next time; the trial restore is whole all the same",
      parse: parseDuration,
    },
    {
      flags: "--repair",
      description:
        "store again what is bad and still here: files, and by the running daemon the newest state of the database",
    },
    { flags: "--yes", description: "repair without asking" },
  ],
  examples: [
    "vaultwarden-stream verify",
    "docker exec vault vaultwarden-stream verify --time-limit 10m --json",
  ],
  doing: () => "verifying the vault's store",
  run: ({ options, output, streams }) =>
    interruptible(async (signal) => {
      const { config, settings } = readEverything(streams.env, streams, { level: "error" });
      const progress = phaseProgress(output);
      const { quick = false, readDataSubset: subset, timeLimit } = options;
      const store = openRetrying(config.store);
      const { now } = streams;
      const place = timeLimit === undefined ? undefined : readPlace(settings.database);
      // What is heard to be stored comes before the look at the store.
      const status = readStatusFile(settings.database);
      const confirmed = confirmedHere(settings.database);
      const proofs = await verifyProofs(store, status?.drill?.key ?? null, signal);
      const { keepMs } = policyWithin(config);
      const beganMs = now();
      const database = await verifyReplica({
        replica: config.store,
        timelinesUnder,
        isQuick: quick,
        ...(subset === undefined ? {} : { subset }),
        // The other half is for the files.
        ...(timeLimit === undefined ? {} : { timeLimitMs: timeLimit / 2 }),
        ...(place?.database == null ? {} : { startAt: place.database }),
        confirmed,
        keepMs,
        now,
        onRetry: (notice) => output.warn(describeRetry(notice)),
        onProgress: ({ phase, bytesDone, bytesTotal }) =>
          progress.update(`${phase} the database`, bytesDone, bytesTotal),
        signal,
      });
      const files = await verifyFiles({
        store,
        isQuick: quick,
        subset,
        hasTime: () => timeLimit === undefined || now() - beganMs < timeLimit,
        startAt: place?.files ?? undefined,
        finestKeepMs: keepMs[0] ?? 0,
        nowMs: now(),
        newestKnown: status?.files?.manifest ?? null,
        delayed: status && isRunning(status.daemon) ? (status.files?.waiting ?? null) : null,
        onProgress: (done, total) => progress.update("reading the files", done, total),
        signal,
      });
      progress.clear();
      if (timeLimit !== undefined && !quick) {
        await savePlace(settings.database, {
          database: database.stoppedAt,
          files: files.stoppedAt,
        });
      }
      const badCount = database.problems.length + files.bad.length + proofs.bad.length;
      const report = [
        describeVerification(database),
        ...describeFilesVerification(files),
        ...describeProofs(proofs),
      ].join("\n");
      const isSound = database.isSound && badCount === 0;
      const found = { isSound, database, files, proofs };
      const plan = planRepair(database, files);
      const question = options.repair === true ? describeRepairPlan(plan) : undefined;
      if (question === undefined) {
        output.result({ ...found, repair: null }, report);
        return badCount > 0 ? exitCodes.verificationFailed : exitCodeOfVerification(database);
      }
      output.info(report);
      await confirm(
        { text: question, yes: options.yes === true, option: "--yes" },
        streams,
        signal,
      );
      const repaired = await repair(plan, {
        store,
        roots: vaultRoots(settings.paths, config.files.include),
        database: settings.database,
        signal,
      });
      output.result({ ...found, repair: repaired }, describeRepair(repaired).join("\n"));
      // A database that lost moments has lost them, and a manifest is not made again.
      return repaired.blobs.left.length === 0 && badCount === plan.blobs.length
        ? exitCodes.done
        : exitCodes.verificationFailed;
    }),
};
