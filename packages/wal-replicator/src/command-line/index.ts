export { CommandError, InterruptedError, usageError } from "./command-error.ts";
export {
  type AnyCommandSpec,
  type CommandCall,
  type CommandLine,
  type CommandSpec,
  type OptionSpec,
  runCommandLine,
  unknownName,
} from "./command-line.ts";
export { confirm, type Question } from "./confirm.ts";
export {
  describeEvent,
  describeRetry,
  describeSound,
  describeStage,
  type EventLine,
} from "./describe-event.ts";
export { describeOfferedRanges, formatSpan } from "./describe-offer.ts";
export { describeVerification, exitCodeOfVerification } from "./describe-verification.ts";
export { type ExitCode, exitCodeOfErrorCode, exitCodes } from "./exit-codes.ts";
export { describeFailure, type Failure, formatFailure } from "./failure.ts";
export { formatBytes, formatCount, formatDuration, formatTime, toJson } from "./format.ts";
export { nearestName } from "./nearest-name.ts";
export { type LogLevel, logLevels, Output, type OutputOptions } from "./output.ts";
export { parseSubset } from "./parse-subset.ts";
export { parseDuration, parseTime } from "./parse-time.ts";
export { phaseProgress } from "./phase-progress.ts";
export type { Progress } from "./progress.ts";
export { type CommandLineStreams, processStreams } from "./streams.ts";
export { interruptible, onTermination, type TerminationSignal } from "./termination.ts";
