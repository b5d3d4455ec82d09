/** A child of `crash-child.test.ts`: passes one point four times, and says so before each. */
import { writeSync } from "node:fs";
import { argumentsWithoutCrashPoint, crashPointsFromArguments } from "./crash-child.ts";

const crashPoint = crashPointsFromArguments();
for (let round = 1; round <= 4; round += 1) {
  writeSync(1, `before ${round}\n`);
  crashPoint("loop");
}
writeSync(1, `${argumentsWithoutCrashPoint().join(" ")}\n`);
writeSync(2, "done\n");
process.exitCode = 7;
