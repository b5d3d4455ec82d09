import { type CommandSpec, exitCodes } from "wal-replicator/command-line";
import type { Environment } from "../config/config.ts";
import type { Health } from "../health/assess-health.ts";
import { checkHealth } from "../health/check-health.ts";
import { readDaemonStatus } from "../health/read-daemon-status.ts";

export const healthcheckCommand: CommandSpec<object> = {
  name: "healthcheck",
  summary: "whether the vault runs and what it took is stored: OK, or UNHEALTHY with the reason",
  args: [],
  options: [],
  examples: [
    "vaultwarden-stream healthcheck",
    "docker exec vault vaultwarden-stream healthcheck --json",
  ],
  run: async ({ output, streams }) => {
    const health = await lookAtHealth(streams.env, streams.now());
    if (health.healthy) {
      for (const remark of health.remarks) output.warn(remark);
      output.result(health, "OK");
      return exitCodes.done;
    }
    if (output.json) output.result(health, "");
    else streams.stderr.write(`UNHEALTHY: ${health.reason}\n`);
    // Container engines know 0 and 1, and nothing else.
    return exitCodes.failed;
  },
};

/** Whatever keeps us from looking is no health. */
async function lookAtHealth(environment: Environment, nowMs: number): Promise<Health> {
  try {
    return await checkHealth(readDaemonStatus(environment).status, nowMs);
  } catch (error) {
    const reason = `the status cannot be read: ${(error as Error).message}`;
    return { healthy: false, reason: reason.replaceAll(/\s+/g, " ") };
  }
}
