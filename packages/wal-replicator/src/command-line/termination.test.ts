import { EventEmitter } from "node:events";
import { expect, it } from "vitest";
import { interruptible, onTermination } from "./termination.ts";

it.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)(
  "%s aborts interruptible work with a reason that has exit code %d",
  async (signal, exitCode) => {
    const source = new EventEmitter();
    const working = interruptible(async (abort) => {
      source.emit(signal);
      abort.throwIfAborted();
    }, source);
    await expect(working).rejects.toMatchObject({ code: "INTERRUPTED", signal, exitCode });
  },
);

it("leaves the signals alone when the work is done, and when it fails", async () => {
  const source = new EventEmitter();
  expect(await interruptible(async () => 7, source)).toBe(7);
  await expect(interruptible(() => Promise.reject(new Error("no")), source)).rejects.toThrow("no");
  expect(source.eventNames()).toEqual([]);
});

it("counts what came: people press Ctrl-C again when they are done waiting", () => {
  const source = new EventEmitter();
  const heard: unknown[] = [];
  let clockMs = 0;
  const stop = onTermination(
    (signal, count) => heard.push([signal, count]),
    source,
    () => clockMs,
  );
  source.emit("SIGINT");
  clockMs += 1_000;
  source.emit("SIGTERM");
  stop();
  clockMs += 1_000;
  source.emit("SIGINT");
  expect(heard).toEqual([
    ["SIGINT", 1],
    ["SIGTERM", 2],
  ]);
});

it("a request that comes twice at once, to the process and to its group, counts once", () => {
  const source = new EventEmitter();
  const heard: unknown[] = [];
  const stop = onTermination((signal, count) => heard.push([signal, count]), source);
  source.emit("SIGTERM");
  source.emit("SIGTERM");
  stop();
  expect(heard).toEqual([["SIGTERM", 1]]);
});
