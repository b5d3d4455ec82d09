import { createPrng, seedFromEnvironment } from "@vaultwarden-stream/testkit";
import { it } from "vitest";
import { playAtRandom } from "./random-lives.ts";
import { Stage } from "./stage.ts";

const seed = seedFromEnvironment();

it(`two hosts at random, seed ${seed}: nothing acknowledged is lost, no lines are blended`, async () => {
  await using stage = await Stage.open({ store: "aws" });
  await playAtRandom(stage, [createPrng(seed), createPrng((seed + 1) >>> 0)]);
});
