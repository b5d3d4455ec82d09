import { fileURLToPath } from "node:url";
import { startTypeScriptChild } from "@vaultwarden-stream/testkit";
import type { Mutation } from "./mutation.ts";
import type { Density } from "./scenario.ts";

export interface SimulationRun {
  readonly density: Density;
  readonly days: number;
  readonly seed: number;
  /** How many seeds, from `seed` on; it ends with the first that fails. Default 1. */
  readonly seeds?: number;
  readonly mutation?: Mutation;
}

/** A line of what the child says: one for each seed. */
export interface SeedLine {
  readonly seed: number;
  readonly tookMs: number;
  readonly commits: number;
  readonly checks: number;
  readonly restores: number;
  readonly deletes: number;
  readonly timelines: number;
  readonly events: Readonly<Record<string, number>>;
  /** Only of a seed that failed. */
  readonly error?: string;
  readonly message?: string;
}

/** Thousands of tiny files and short-lived objects: threads that help only get in each other's way. A third of the time. */
const frugal = ["--single-threaded-gc", "--max-semi-space-size=16"];

/** The seed of the one simulation that is to run, from `SIM_SEED`; undefined: all. */
export const onlySeed: number | undefined =
  process.env["SIM_SEED"] === undefined ? undefined : Number(process.env["SIM_SEED"]);

/** How many seeds of quiet vaults, from `SIM_SEEDS`. */
export const sparseSeeds: number = Number(process.env["SIM_SEEDS"] ?? 1_000);

/** `SIM_DAYS`, or what is usual. */
export function simulatedDays(usual: number): number {
  return Number(process.env["SIM_DAYS"] ?? usual);
}

/**
 * Runs simulations in a process of their own: from the sources as they are, where a mutation can be put in.
 *
 * @returns what each seed did; the last one may have failed. @throws {Error} if the child did not come to that.
 */
export async function runSimulation(run: SimulationRun): Promise<readonly SeedLine[]> {
  const { density, days, seed, seeds = 1, mutation } = run;
  const { code, signal, stdout, stderr } = await startTypeScriptChild(childPath("sim-main.ts"), {
    arguments: [
      ...["--density", density, "--days", String(days)],
      ...["--seed", String(seed), "--seeds", String(seeds)],
    ],
    nodeArguments: [
      ...frugal,
      ...(mutation === undefined ? [] : ["--import", childPath("mutate-on-load.ts")]),
    ],
    env: {
      UV_THREADPOOL_SIZE: "1",
      ...(mutation === undefined ? {} : { SIM_MUTATION: JSON.stringify(mutation) }),
    },
  }).exited;
  const lines = stdout
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as SeedLine);
  if (code === 0 || (code === 1 && lines.at(-1)?.error !== undefined)) return lines;
  throw new Error(`the simulation ended with ${signal ?? `code ${code}`}:\n${stderr}`);
}

/** @throws {Error} that says which seed failed, and how to run it alone. */
export function refuseFailure(
  lines: readonly SeedLine[],
  { density, days }: Pick<SimulationRun, "density" | "days">,
): void {
  const failed = lines.find(({ error }) => error !== undefined);
  if (failed === undefined) return;
  const { seed, error, message } = failed;
  throw new Error(
    `seed ${seed}: ${error}: ${message}\nOnly this one: SIM_SEED=${seed} SIM_DAYS=${days} npx vitest run --project heavy test/maintenance/${density}.heavy.test.ts`,
  );
}

function childPath(name: string): string {
  return fileURLToPath(new URL(`./${name}`, import.meta.url));
}
