import type { UploadLimits } from "wal-replicator";
import { parseBytes } from "./bytes.ts";
import type { ConfigProblem } from "./config-problem.ts";
import type { Environment } from "./environment.ts";
import { findBandwidthLimit } from "./rclone-flags.ts";
import type { ReadVariables } from "./store-config.ts";
import { uploadRateLeast } from "./upload-rate.ts";

/** The limits of uploads, from our variables and from what the predecessor gave rclone. */
export function settleLimits(
  variables: ReadVariables,
  environment: Environment,
): {
  readonly limits: UploadLimits;
  readonly errors: readonly ConfigProblem[];
  readonly warnings: readonly ConfigProblem[];
} {
  const errors: ConfigProblem[] = [];
  const warnings: ConfigProblem[] = [];
  const number = (name: string): number | undefined => variables.value(name) as number | undefined;
  let bytesPerSecond = number("STORE_UPLOAD_RATE_MAX");
  const given = findBandwidthLimit(environment);
  if (given !== undefined) {
    const { name, text } = given;
    const rate = parseBandwidth(text);
    if (rate === undefined) {
      warnings.push({
        name,
        value: text,
        reason:
          "this bandwidth limit is not understood, so uploads have none: a timetable is not followed here",
        remedy: "write STORE_UPLOAD_RATE_MAX, like 10M for ten MiB a second",
      });
    } else if (variables.isGiven("STORE_UPLOAD_RATE_MAX")) {
      if (rate !== bytesPerSecond && !variables.isFailed("STORE_UPLOAD_RATE_MAX")) {
        errors.push({
          name,
          value: text,
          reason: "it is another name of STORE_UPLOAD_RATE_MAX, which says something else",
          remedy: "keep STORE_UPLOAD_RATE_MAX alone",
        });
      }
    } else if (rate < uploadRateLeast) {
      warnings.push({
        name,
        value: text,
        reason: "a store gives up uploads that are so slow",
        remedy: "it is raised to 128k: write STORE_UPLOAD_RATE_MAX=128k or more",
      });
      bytesPerSecond = uploadRateLeast;
    } else bytesPerSecond = rate;
  }
  const hourlyBytesMax = number("STORE_HOURLY_BYTES_MAX");
  const hourlyObjectsMax = number("STORE_HOURLY_OBJECTS_MAX");
  return {
    limits: {
      ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
      ...(hourlyBytesMax === undefined ? {} : { hourlyBytesMax }),
      ...(hourlyObjectsMax === undefined ? {} : { hourlyObjectsMax }),
    },
    errors,
    warnings,
  };
}

/** rclone's `--bwlimit`: KiB a second without a unit; `upload:download`, of which only the first is about us. */
function parseBandwidth(text: string): number | undefined {
  const upload = /^([^:,\s]+)(?::[^:,\s]+)?$/.exec(text)?.[1];
  return upload === undefined ? undefined : parseBytes(upload, "k");
}
