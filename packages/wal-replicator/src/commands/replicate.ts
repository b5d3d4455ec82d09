import { CommandError, InterruptedError, usageError } from "../command-line/command-error.ts";
import { type CommandCall, type CommandSpec, parseChoice } from "../command-line/command-line.ts";
import { describeEvent } from "../command-line/describe-event.ts";
import { exitCodeOfErrorCode, exitCodes } from "../command-line/exit-codes.ts";
import { formatCount, formatDuration } from "../command-line/format.ts";
import type { Output } from "../command-line/output.ts";
import { parseDuration } from "../command-line/parse-time.ts";
import { onTermination } from "../command-line/termination.ts";
import { ReplicationError } from "../errors.ts";
import type { ReplicationEvent } from "../events.ts";
import { formatTxid } from "../ltx/txid.ts";
import { policyWithin } from "../maintain/policy-within.ts";
import { replicate } from "../replicate.ts";
import type { Replication, StopResult } from "../replication.ts";
import type { IfHeld, OnDivergence } from "../start/plan-start.ts";
import { isDatabaseAwaited } from "../wait-for-database.ts";
import { ChildCommand } from "./child-command.ts";

interface ReplicateCommandOptions {
  readonly once?: true;
  readonly convertToWal?: true;
  readonly ifHeld?: IfHeld;
  readonly onDivergence?: OnDivergence;
  /** In milliseconds, like all of these. */
  readonly syncInterval?: number;
  readonly retention?: number;
  readonly snapshotInterval?: number;
}

const ifHeldChoices: readonly IfHeld[] = ["wait", "refuse", "take-over"];
/** The store's side cannot go on under an application: `restore` puts it in place first. */
const onDivergenceChoices: readonly OnDivergence[] = ["stop", "local"];

/** Two windows of the lowest level. */
const retentionMsMin = 60_000;
/** How long the tail may take to ship at the end; what does not fit waits in the spool for the next start. */
const stopTimeoutMs = 30_000;

export const replicateCommand: CommandSpec<ReplicateCommandOptions> = {
  name: "replicate",
  summary: "Streams a database to a replica until SIGTERM or Ctrl-C.",
  args: [
    ["<db>", "path of the SQLite database; waited for if it is missing, never created"],
    ["<url>", "the replica: s3://bucket/prefix, file:///absolute/path, or a path"],
    [
      "[command...]",
      "behind --: the application; it starts when the stream holds the database, and ends it",
    ],
  ],
  usage: "[options] <db> <url> [-- command ...]",
  options: [
    { flags: "--once", description: "ship what is there and exit" },
    { flags: "--convert-to-wal", description: "switch a database in another journal mode to WAL" },
    {
      flags: "--if-held <what>",
      description:
        "while another host holds the replica: wait (default), refuse (exit 5), or take-over",
      parse: (text) => parseChoice(text, ifHeldChoices),
    },
    {
      flags: "--on-divergence <what>",
      description:
        "if database and replica both have what the other lacks: stop (default), or local goes on; both are kept",
      parse: (text) => parseChoice(text, onDivergenceChoices),
    },
    {
      flags: "--sync-interval <duration>",
      description:
        "under constant load commits are stored at least so often, and a longer time makes fewer requests; a first commit at once (default 1s)",
      parse: (text) => parseDuration(text),
    },
    {
      flags: "--retention <duration>",
      description: "how far back moments can be restored, coarser with their age (default 30d)",
      parse: (text) => parseDuration(text),
    },
    {
      flags: "--snapshot-interval <duration>",
      description:
        "a snapshot, which restores begin with, is made not more often than this (default 24h)",
      parse: (text) => parseDuration(text),
    },
  ],
  examples: [
    "wal-replicator replicate app.db /backups/app",
    "wal-replicator replicate /data/app.db file:///backups/app -- node server.js",
  ],
  doing: ({ args }) => `replication of ${args[0]} to ${args[1]}`,
  run: async (call) => {
    const request = readRequest(call);
    const streaming = new Streaming(request, call);
    try {
      return await streaming.run();
    } finally {
      streaming.stopListening();
    }
  },
};

interface ReplicateRequest {
  readonly database: string;
  readonly location: string;
  readonly command: readonly string[] | undefined;
  readonly ifHeld: IfHeld;
  readonly onDivergence: OnDivergence;
}

function readRequest(call: CommandCall<ReplicateCommandOptions>): ReplicateRequest {
  const { args, options, behindDashes } = call;
  const [database, location, rest] = args as [string, string, readonly string[]];
  const operandCount = 2 + rest.length;
  if (operandCount - (behindDashes?.length ?? 0) !== 2 || behindDashes?.length === 0) {
    throw usageError(
      "cannot run `wal-replicator replicate`",
      "it takes a database and a replica, and an application only behind --",
      "write `wal-replicator replicate <db> <url> -- command ...`",
    );
  }
  if (options.once && behindDashes !== undefined) {
    throw usageError(
      "cannot run `wal-replicator replicate --once` with a command",
      "--once ends when everything is stored, and a command ends the stream when it ends itself",
      "leave out one of the two",
    );
  }
  checkTimes(options);
  return {
    database,
    location,
    command: behindDashes,
    ifHeld: options.ifHeld ?? "wait",
    onDivergence: options.onDivergence ?? "stop",
  };
}

function checkTimes({ retention, snapshotInterval }: ReplicateCommandOptions): void {
  if (retention !== undefined && retention < retentionMsMin) {
    throw usageError(
      "cannot run `wal-replicator replicate` with this --retention",
      "moments are offered in steps of half a minute and more, and it holds no two of them",
      "give it a minute or more",
    );
  }
  if (snapshotInterval === undefined) return;
  const retentionMs = policyWithin({ retentionMs: retention }).keepMs.at(-1) as number;
  if (snapshotInterval <= retentionMs) return;
  throw usageError(
    "cannot run `wal-replicator replicate` with this --snapshot-interval",
    `it is longer than ${formatDuration(retentionMs)}, for which moments can be restored (--retention), and nothing restores without a snapshot`,
    "make it shorter, or the retention longer",
  );
}

/** One run: the stream, the application around which it lies, and the signals that end both. */
class Streaming {
  readonly #request: ReplicateRequest;
  readonly #options: ReplicateCommandOptions;
  readonly #output: Output;
  readonly #isTerminal: boolean;
  readonly #startAborted = new AbortController();
  /** The first signal asks for the end; a second one while the tail ships means that nobody waits for it. */
  readonly #asked = Promise.withResolvers<void>();
  readonly #impatient = Promise.withResolvers<never>();
  readonly #storeFailing = Promise.withResolvers<undefined>();
  readonly #fenced = Promise.withResolvers<never>();
  #child: ChildCommand | undefined;
  #isStopping = false;
  readonly stopListening: () => void;

  constructor(request: ReplicateRequest, call: CommandCall<ReplicateCommandOptions>) {
    this.#request = request;
    this.#options = call.options;
    this.#output = call.output;
    this.#isTerminal = call.streams.stdin.isTTY === true;
    this.#impatient.promise.catch(() => {});
    this.#fenced.promise.catch(() => {});
    this.stopListening = onTermination((signal, count) => {
      this.#startAborted.abort(new InterruptedError(signal));
      this.#asked.resolve();
      if (!this.#isStopping) this.#child?.forward(signal, count, this.#isTerminal);
      else this.#impatient.reject(new InterruptedError(signal));
    });
  }

  async run(): Promise<number> {
    const { command, database } = this.#request;
    const isMissing = this.#isDatabaseAwaited();
    if (isMissing && !this.#options.once)
      this.#output.info(`there is no database at ${database} yet: waiting for it`);
    // An application that creates its database has to run for it to appear; all of it is in the stream's first snapshot.
    if (isMissing && command !== undefined) this.#child = new ChildCommand(command);

    const replication = await this.#whenStarted(this.#start());
    if (typeof replication === "number") return replication;
    if (command !== undefined) this.#child ??= new ChildCommand(command);
    return this.#stream(replication);
  }

  #isDatabaseAwaited(): boolean {
    return isDatabaseAwaited(this.#request.database, this.#options.convertToWal === true);
  }

  #start(): Promise<Replication> {
    const { syncInterval, retention, snapshotInterval } = this.#options;
    return replicate({
      database: this.#request.database,
      replica: this.#request.location,
      // Nothing else in this process opens the database.
      home: "in-process",
      waitForDatabase: this.#options.once !== true,
      convertToWal: this.#options.convertToWal === true,
      ifHeld: this.#request.ifHeld,
      onDivergence: this.#request.onDivergence,
      ...(syncInterval === undefined ? {} : { syncIntervalMs: syncInterval }),
      maintenance: policyWithin({ retentionMs: retention, snapshotIntervalMs: snapshotInterval }),
      signal: this.#startAborted.signal,
      onEvent: (event) => this.#say(event),
    });
  }

  /** @returns the exit code instead of a stream if the application ended without having created a database. */
  async #whenStarted(starting: Promise<Replication>): Promise<Replication | number> {
    const child = this.#child;
    if (child === undefined) return starting;
    try {
      const first = await Promise.race([starting, child.ended]);
      if (typeof first !== "number") return first;
      if (!this.#isDatabaseAwaited()) return await starting;
      this.#startAborted.abort();
      await starting.catch(() => {});
      return first;
    } catch (error) {
      child.terminate();
      await child.ended.catch(() => {});
      throw error;
    }
  }

  /** From the held anchor to the exit code. */
  async #stream(replication: Replication): Promise<number> {
    const { command, database, location } = this.#request;
    this.#output.info(
      `streaming ${database} to ${location}${command === undefined ? "" : `, and running ${command[0]}`}`,
    );
    const childExitCode = this.#child?.ended.then((code) => ({ code }));
    const reasonsToEnd: Promise<{ readonly code: number } | undefined>[] = [];
    if (childExitCode !== undefined) reasonsToEnd.push(childExitCode);
    else reasonsToEnd.push(this.#asked.promise.then(() => undefined));
    if (this.#options.once) {
      // A store that fails gets the time of an end to recover in: who wants it once does not want to wait for ever.
      reasonsToEnd.push(
        replication.flush().then(() => undefined),
        this.#storeFailing.promise,
      );
    }
    reasonsToEnd.push(
      replication.ended.then(() => undefined),
      this.#fenced.promise,
    );

    let ended: { readonly code: number } | undefined;
    let failure: { readonly error: unknown } | undefined;
    try {
      ended = await Promise.race(reasonsToEnd);
    } catch (error) {
      failure = { error };
      // The stream is over, or the command never ran. An application that writes without its stream would lose what it writes.
      this.#child?.terminate();
      await this.#child?.ended.catch(() => {});
    }
    const result = await this.#stop(replication, failure);
    this.#report(result);
    return ended?.code ?? exitCodes.done;
  }

  async #stop(
    replication: Replication,
    failure: { readonly error: unknown } | undefined,
  ): Promise<StopResult> {
    this.#isStopping = true;
    const status = await replication.status().catch(() => undefined);
    if (status !== undefined && status.waitingFiles > 0) {
      this.#output.info(`storing what waits: ${formatCount(status.waitingFiles, "file")}`);
    }
    const stopping = replication.stop({
      timeoutMs: stopTimeoutMs,
      applicationEnded: this.#child !== undefined,
    });
    // A stream that failed fails to stop too, with the same error: the first one is the one to tell.
    if (failure !== undefined) {
      await stopping.catch(() => {});
      throw failure.error;
    }
    const result = await Promise.race([stopping, this.#impatient.promise]);
    if (result.released) return result;
    const storeFailure = (await replication.status().catch(() => undefined))?.storeFailure;
    throw new CommandError(
      "NOT_ALL_STORED",
      {
        what: `${formatCount(result.waitingFiles, "file")} of ${this.#request.database} did not reach ${this.#request.location}`,
        why: storeFailure?.message ?? `it was not done within ${formatDuration(stopTimeoutMs)}`,
        next: "nothing is lost on this machine: start the stream again here, and the spool is shipped first",
      },
      {
        exitCode:
          storeFailure === undefined ? exitCodes.failed : exitCodeOfErrorCode(storeFailure.code),
      },
    );
  }

  #report(result: StopResult): void {
    const { position } = result;
    const report = {
      database: this.#request.database,
      replica: this.#request.location,
      timeline: position?.timeline ?? null,
      txid: position?.txid ?? null,
      rollingChecksum: position?.rollingChecksum ?? null,
      released: result.released,
      waitingFiles: result.waitingFiles,
    };
    const text =
      position === undefined
        ? "nothing to store"
        : `everything is stored: timeline ${position.timeline}, TXID ${formatTxid(position.txid)}`;
    // stdout is the application's own where there is one, unless a report was asked for.
    if (this.#request.command === undefined || this.#output.json) this.#output.result(report, text);
    else this.#output.info(text);
  }

  #say(event: ReplicationEvent): void {
    if (event.type === "store-failing") this.#storeFailing.resolve(undefined);
    if (event.type === "fenced") {
      this.#fenced.reject(
        new ReplicationError(
          "FENCED",
          event.message,
          "What was captured here is kept on a timeline of its own. Leave the other one running, or stop it and start here again.",
        ),
      );
    }
    const { level, text } = describeEvent(event);
    this.#output[level](text, { event });
  }
}
