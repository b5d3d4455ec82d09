import { expect, it } from "vitest";
import { planStart, type StartInput } from "./plan-start.ts";

it.each<[string, StartInput, string]>([
  ["a database", { database: "present", waitingFiles: 0, store: undefined }, "replicate"],
  [
    "nothing, store never used",
    { database: "missing", waitingFiles: 0, store: { kind: "unused" } },
    "create-empty",
  ],
  [
    "nothing, store used",
    { database: "missing", waitingFiles: 0, store: { kind: "used" } },
    "restore",
  ],
  [
    "nothing, store with something else",
    { database: "missing", waitingFiles: 0, store: { kind: "foreign", example: "x" } },
    "stop",
  ],
  [
    "captured files that the store lacks",
    { database: "missing", waitingFiles: 1, store: { kind: "used" } },
    "stop",
  ],
  [
    "the same with a store never used",
    { database: "missing", waitingFiles: 1, store: { kind: "unused" } },
    "stop",
  ],
  [
    "nothing, and nobody looked",
    { database: "missing", waitingFiles: 0, store: undefined },
    "stop",
  ],
])("%s", (_, input, action) => {
  expect(planStart(input).action).toBe(action);
});
