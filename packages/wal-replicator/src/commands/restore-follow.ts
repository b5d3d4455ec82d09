import { existsSync } from "node:fs";
import { CommandError, InterruptedError } from "../command-line/command-error.ts";
import type { CommandCall } from "../command-line/command-line.ts";
import { confirm } from "../command-line/confirm.ts";
import { describeFollowEvent } from "../command-line/describe-follow-event.ts";
import { formatTime } from "../command-line/format.ts";
import type { Progress } from "../command-line/progress.ts";
import { onTermination } from "../command-line/termination.ts";
import { copyPlace } from "../follow/copy-place.ts";
import { type FollowEnd, follow } from "../follow/follow.ts";
import type { FollowEvent } from "../follow/follow-events.ts";
import { formatTxid } from "../ltx/txid.ts";
import type { RestoreCommandOptions } from "./restore.ts";

/**
 * `restore --follow`: until SIGTERM or Ctrl-C, which is its normal end. While there is no copy yet they interrupt the restore instead.
 *
 * @param path - of the copy.
 */
export async function followReplica(
  { args, options, output, streams }: CommandCall<RestoreCommandOptions>,
  path: string,
): Promise<void> {
  const replica = args[0] as string;
  const starting = new AbortController();
  let stop: (() => void) | undefined;
  const stopListening = onTermination((signal) => {
    if (stop === undefined) starting.abort(new InterruptedError(signal));
    else stop();
  });
  try {
    const isOthers = existsSync(path) && !existsSync(copyPlace(path).state);
    const isForced = options.force === true || options.yes === true;
    if (isOthers && !isForced) {
      const text = `Replace ${path} by a copy that follows ${replica}?`;
      await confirm({ text, yes: false, option: "--force" }, streams, starting.signal);
    }
    let progress: Progress | undefined;
    const follower = follow({
      replica,
      output: path,
      overwrite: isOthers || isForced,
      ...(options.timeline === undefined ? {} : { timeline: options.timeline }),
      signal: starting.signal,
      onEvent: (event: FollowEvent) => {
        if (event.type === "copy-restoring") progress = output.progress("restoring");
        if (event.type === "copy-restored") progress?.clear();
        const { level, text } = describeFollowEvent(event);
        output[level](text, { event });
      },
      onProgress: ({ bytesDone, bytesTotal }) => progress?.update(bytesDone, bytesTotal),
    });
    await follower.ready;
    stop = () => void follower.stop().catch(() => {}); // `done` says it
    if (starting.signal.aborted) stop();
    output.info(`following ${replica} into ${path}`);
    const end = await follower.done;
    if (end === undefined) throw unfinished(path, follower.status().failure?.message);
    output.result({ followed: true, output: path, ...report(end) }, describeEnd(path, end));
  } finally {
    stopListening();
  }
}

function report({ timeline, txid, at, rollingChecksum, isVerbatim }: FollowEnd): object {
  return { timeline, txid, at, rollingChecksum, verbatim: isVerbatim };
}

function describeEnd(path: string, { timeline, txid, at, isVerbatim }: FollowEnd): string {
  const where = timeline === "" ? "" : `timeline ${timeline}, `;
  const how = isVerbatim
    ? "the file is what a restore gives"
    : "readers hold it: it stays in rollback-journal mode";
  return `followed into ${path}: ${where}TXID ${formatTxid(txid)}, the state of ${formatTime(at)}; ${how}`;
}

function unfinished(path: string, why = "it was ended at that moment"): CommandError {
  return new CommandError("COPY_UNFINISHED", {
    what: `a transaction of ${path} has failed, and is not undone yet`,
    why,
    next: "run the same command again; whoever opens the copy before that undoes it too",
  });
}
