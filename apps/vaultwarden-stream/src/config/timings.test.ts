import { describe, expect, it } from "vitest";
import { type ConfigReading, type Environment, readConfig } from "./config.ts";
import { formatProblem } from "./config-problem.ts";

function read(environment: Environment): ConfigReading {
  return readConfig({ STORE_DIR: "/store", ...environment }, () => "");
}

function warnings(environment: Environment): readonly string[] {
  return read(environment).warnings.map(formatProblem);
}

describe("the laws between times", () => {
  it("weakness 21: raise the age that is healthy to two looks at the files, and say so", () => {
    const exactly = { PRIMARY_SYNC_INTERVAL: "900", HEALTHCHECK_MAX_SYNC_AGE: "600" };
    for (const environment of [exactly, { PRIMARY_SYNC_INTERVAL: "900" }]) {
      expect(read(environment).config?.health.maxSyncAgeMs).toBe(1_800_000);
      expect(warnings(environment)).toEqual([
        expect.stringMatching(/^HEALTHCHECK_MAX_SYNC_AGE="600s": .*900s.*raised to 1800s/),
      ]);
    }
    expect(warnings({ PRIMARY_SYNC_INTERVAL: "300", HEALTHCHECK_MAX_SYNC_AGE: "600" })).toEqual([]);
  });

  it("raise the retention to the interval of the snapshots", () => {
    const environment = { REPLICATION_RETENTION: "1h", REPLICATION_SNAPSHOT_INTERVAL: "2h" };
    expect(read(environment).config?.retentionMs).toBe(7_200_000);
    expect(warnings(environment)).toEqual([
      expect.stringMatching(/^REPLICATION_RETENTION="3600s": .*raised to 7200s/),
    ]);
  });

  it("cut the budgets to the platform's grace, with a warning for what somebody has set", () => {
    const given = {
      SHUTDOWN_TIMEOUT: "20",
      SYNC_SHUTDOWN_TIMEOUT: "40",
      REPLICATION_SHUTDOWN_TIMEOUT: "20",
    };
    const { config } = read(given);
    expect(config).toMatchObject({
      shutdownTimeoutMs: 20_000,
      tailTimeoutMs: 20_000,
      files: { pushTimeoutMs: 20_000 },
    });
    expect(warnings(given)).toEqual([
      expect.stringMatching(/^SYNC_SHUTDOWN_TIMEOUT="40s": .*20s.*cut to that/),
    ]);
    expect(warnings({ DEPLOYMENT_MODE: "serverless" })).toEqual([]);
    expect(warnings({ DEPLOYMENT_MODE: "serverless", SYNC_SHUTDOWN_TIMEOUT: "30" })).toHaveLength(
      1,
    );
    const patient = read({ DEPLOYMENT_MODE: "serverless", SHUTDOWN_TIMEOUT: "300" });
    expect(patient.config?.files.pushTimeoutMs).toBe(60_000);
  });

  it("are no second complaint about what cannot be read", () => {
    const reading = read({ PRIMARY_SYNC_INTERVAL: "x", SHUTDOWN_TIMEOUT: "y" });
    expect(reading.errors.map(({ name }) => name).toSorted()).toEqual([
      "PRIMARY_SYNC_INTERVAL",
      "SHUTDOWN_TIMEOUT",
    ]);
    expect(reading.warnings).toEqual([]);
  });
});
