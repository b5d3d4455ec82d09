import { it } from "vitest";
import { liveAndDie, livesFromEnvironment } from "./vault-lives.ts";

const lives = livesFromEnvironment(3);

it(`a vault is killed ${lives.count} times and loses its disk each time: every acknowledged row is there, and every file is there or named (seed ${lives.seed})`, async () => {
  await liveAndDie(lives);
}, 600_000);
