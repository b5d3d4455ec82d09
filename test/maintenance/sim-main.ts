import "./instant-files.ts";
import { parseArgs } from "node:util";
import { type Density, makeScenario } from "./scenario.ts";
import { Simulation } from "./simulation.ts";

/**
 * Runs seeds one after the other, each printed as a line of JSON. Ends with 1 at the first one in which a law does not hold:
 *
 *     node --conditions=@vaultwarden-stream/source test/maintenance/sim-main.ts --density sparse --days 2 --seed 17 --verbose
 */
const { values } = parseArgs({
  options: {
    density: { type: "string", default: "sparse" },
    days: { type: "string", default: "2" },
    seed: { type: "string", default: "1" },
    seeds: { type: "string", default: "1" },
    verbose: { type: "boolean", default: false },
  },
});
const density = values.density as Density;
const days = Number(values.days);
for (let index = 0; index < Number(values.seeds); index += 1) {
  const seed = (Number(values.seed) + index) >>> 0;
  const scenario = makeScenario(seed, days, density);
  const log = values.verbose ? (line: string) => process.stderr.write(`${line}\n`) : undefined;
  using simulation = new Simulation(scenario, log);
  const startedMs = performance.now();
  try {
    const result = await simulation.run();
    const tookMs = Math.round(performance.now() - startedMs);
    process.stdout.write(`${JSON.stringify({ seed, tookMs, ...result })}\n`);
  } catch (error) {
    const { name, message, stack } = error as Error;
    process.stdout.write(`${JSON.stringify({ seed, at: simulation.now, error: name, message })}\n`);
    process.stderr.write(
      `seed ${seed} at ${simulation.now}: ${stack}\nAgain: node --conditions=@vaultwarden-stream/source test/maintenance/sim-main.ts --density ${density} --days ${days} --seed ${seed}\n`,
    );
    process.exitCode = 1;
    break;
  }
}
