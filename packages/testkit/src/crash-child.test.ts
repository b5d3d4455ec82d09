import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import {
  argumentsWithoutCrashPoint,
  crashPointsFromArguments,
  startCrashChild,
} from "./crash-child.ts";

const entry = fileURLToPath(new URL("./crash-child.fixture.ts", import.meta.url));

describe("startCrashChild", () => {
  test("kills the child at the point and hit that were named, and at nothing behind it", async () => {
    const exit = await startCrashChild({ entry, crashAt: "loop", nth: 3 }).killed;
    expect(exit).toMatchObject({ byCrash: true, signal: "SIGKILL", code: null });
    expect(exit.stdout).toBe("before 1\nbefore 2\nbefore 3\n");
  });

  test("without a point it runs to its end, with its own arguments and output", async () => {
    const exit = await startCrashChild({ entry, arguments: ["--own=1"] }).killed;
    expect(exit).toMatchObject({ byCrash: false, signal: null, code: 7 });
    expect(exit.stdout).toBe("before 1\nbefore 2\nbefore 3\nbefore 4\n--own=1\n");
    expect(exit.stderr).toBe("done\n");
  });

  test("a point that is never reached is told from a crash", async () => {
    const exit = await startCrashChild({ entry, crashAt: "elsewhere" }).killed;
    expect(exit.byCrash).toBe(false);
  });
});

test("an entry can take its own arguments apart from ours", () => {
  expect(argumentsWithoutCrashPoint(["a", "--crash-at=x", "--crash-nth=2", "--b"])).toEqual([
    "a",
    "--b",
  ]);
});

test("a hit that is no whole number from 1 is refused", () => {
  expect(() => crashPointsFromArguments(["--crash-at=x", "--crash-nth=0"])).toThrow(RangeError);
});
