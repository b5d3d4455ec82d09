import { createPrng, seedFromEnvironment } from "@vaultwarden-stream/testkit";
import { it } from "vitest";
import { playAtRandom } from "./random-lives.ts";
import { Stage } from "./stage.ts";

const seed = seedFromEnvironment();

for (const store of ["directory", "aws"] as const) {
  it(`two hosts at random on ${store}, seed ${seed}: nothing acknowledged is lost, no lines are blended`, async () => {
    await using stage = await Stage.open({ store });
    await playAtRandom(stage, [createPrng(seed), createPrng((seed + 1) >>> 0)]);
  });
}
