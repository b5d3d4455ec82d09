import type { ViteUserConfig } from "vitest/config";

/** Tests run from sources: sibling packages resolve to their src/, no build needed. */
const fromSources = { ssr: { resolve: { conditions: ["@vaultwarden-stream/source", "node"] } } };
/** `expect.poll` waits for a condition, and gives up after a second by default: too early on a loaded machine. */
const patient = { expect: { poll: { timeout: 20_000 } } };
const packageSources = ["packages/*/src/**/*.test.ts", "apps/*/src/**/*.test.ts"];

/** `.ci/run` adds up the results of several runs from these files. */
const json = process.env["VITEST_JSON"];

const config: ViteUserConfig = {
  test: {
    // Most tests wait for processes, stores and clocks: as many at once as there are processors, and on two of them two.
    maxWorkers: "100%",
    reporters: json === undefined ? ["default"] : ["default", ["json", { outputFile: json }]],
    projects: [
      {
        ...fromSources,
        test: { ...patient, name: "unit", include: packageSources, testTimeout: 30_000 },
      },
      {
        // Real child processes, real SIGKILLs.
        ...fromSources,
        test: {
          ...patient,
          name: "crash",
          include: [
            "test/crash/**/*.test.ts",
            "test/e2e/**/*.test.ts",
            "test/faults/**/*.test.ts",
            "test/follow/**/*.test.ts",
            "test/stand-in/**/*.test.ts",
            "test/start/**/*.test.ts",
            "test/writers/**/*.test.ts",
          ],
          exclude: ["**/*.heavy.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        // Needs stock Litestream, Debian's sqlite3, or minutes and gigabytes.
        ...fromSources,
        test: {
          ...patient,
          name: "heavy",
          include: [
            "test/interop/**/*.test.ts",
            "test/oracle/**/*.test.ts",
            "test/large/**/*.test.ts",
            "test/s3/**/*.test.ts",
            "test/**/*.heavy.test.ts",
          ],
          testTimeout: 1_800_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
};

export default config;
