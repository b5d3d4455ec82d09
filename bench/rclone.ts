import type { Environment } from "./contenders.ts";
import type { Place } from "./place.ts";

/** What rclone needs in its environment to know the place as `bench:`, without a file of settings. */
export function rcloneEnvironment({ url, env }: Place): Environment {
  const { searchParams: query } = new URL(url);
  // Nothing of the machine's own settings may come in between.
  const foreign = Object.keys(process.env).filter((name) => name.startsWith("RCLONE_"));
  return {
    ...Object.fromEntries(foreign.map((name) => [name, undefined])),
    ...env,
    RCLONE_CONFIG_BENCH_TYPE: "s3",
    RCLONE_CONFIG_BENCH_PROVIDER: "Minio",
    RCLONE_CONFIG_BENCH_ENV_AUTH: "true",
    RCLONE_CONFIG_BENCH_ENDPOINT: query.get("endpoint") ?? "",
    RCLONE_CONFIG_BENCH_REGION: query.get("region") ?? "",
  };
}

/** @returns the place as it stands on rclone's command line. */
export function rclonePath({ url }: Place): string {
  const { host, pathname } = new URL(url);
  return `bench:${host}${pathname}`;
}

export function rcloneSyncCommand(
  rclone: string,
  sync: { readonly from: string; readonly to: string; readonly transfers: number },
  settings: readonly string[],
): readonly string[] {
  const { from, to, transfers } = sync;
  return [rclone, "sync", "--config=", `--transfers=${transfers}`, ...settings, from, to];
}
