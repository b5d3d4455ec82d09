import { setTimeout as delay } from "node:timers/promises";
import type { Prng } from "@vaultwarden-stream/testkit";
import { expect } from "vitest";
import { EngineError } from "../support/engine.ts";
import type { Host } from "./host.ts";
import { checkLaw } from "./law.ts";
import { leaseIntervalMs, type Stage } from "./stage.ts";

const roundCount = 4;

/** Two hosts that know nothing of each other start, write, stand still, die and come back at random. Ends with the law. */
export async function playAtRandom(stage: Stage, prngs: readonly [Prng, Prng]): Promise<void> {
  const { a, b } = stage;
  await a.write(3);
  await a.start();
  await a.acknowledge();
  await a.killEngine();
  await Promise.all([live(a, prngs[0]), live(b, prngs[1])]);
  await stage.end();
  const { listing } = await checkLaw(stage);
  // A launch takes one epoch, two if it claims the replica before it restores, and one more for what it had when it was fenced.
  const launches = a.engines.length + b.engines.length;
  expect(listing.epochs.length).toBeLessThanOrEqual(launches * 3);
}

async function live(host: Host, prng: Prng): Promise<void> {
  for (let round = 0; round < roundCount; round++) {
    await survive(() => host.start({ ifHeld: prng.chance(0.3) ? "take-over" : "wait" }));
    for (let step = prng.integer(1, 5); step > 0 && host.isEngineRunning; step--) {
      await survive(() => act(host, prng));
    }
    await survive(() => end(host, prng));
  }
}

async function act(host: Host, prng: Prng): Promise<void> {
  await host.write(prng.integer(1, 8));
  switch (prng.pick(["acknowledge", "acknowledge", "pause", "wait"] as const)) {
    case "acknowledge":
      await host.acknowledge();
      break;
    case "pause":
      host.engine.signal("SIGSTOP");
      await host.write(prng.integer(0, 5));
      await delay(prng.integer(0, 6 * leaseIntervalMs));
      host.engine.signal("SIGCONT");
      break;
    case "wait":
      await delay(prng.integer(0, 2 * leaseIntervalMs));
  }
}

async function end(host: Host, prng: Prng): Promise<void> {
  switch (prng.pick(["engine", "both", "stop"] as const)) {
    case "engine":
      await host.killEngine();
      break;
    case "both":
      await Promise.all([host.killEngine(), host.killWriter()]);
      break;
    case "stop":
      await host.stopEngine();
  }
}

/** An engine that was fenced, refused or killed ends what was asked of it: the law says what must be true nevertheless. */
async function survive(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
  }
}
