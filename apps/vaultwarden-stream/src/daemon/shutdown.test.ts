import { expect, it } from "vitest";
import type { Replication } from "wal-replicator";
import { serverGraceMs, shutDown, stepTimeoutMs } from "./shutdown.ts";
import type { ServerProcess } from "./supervisor.ts";

const usual = { totalMs: 300_000, serverMs: 10_000, tailMs: 30_000, filesMs: 60_000 };

it("gives every step its own budget where the platform is patient", () => {
  expect(serverGraceMs(usual)).toBe(10_000);
  expect(stepTimeoutMs(usual, usual.tailMs, 10_000)).toBe(30_000);
});

it("cuts both to a platform's 10 s, and leaves the tail its half", () => {
  const short = { ...usual, totalMs: 10_000 };
  expect(serverGraceMs(short)).toBe(5_000);
  expect(stepTimeoutMs(short, short.tailMs, 5_000)).toBe(4_500);
});

it("lets a server that is allowed more have it", () => {
  expect(serverGraceMs({ ...usual, serverMs: 60_000 })).toBe(60_000);
});

it("is whole milliseconds, however finely the clock counts", () => {
  expect(stepTimeoutMs({ ...usual, totalMs: 6_000 }, 30_000, 12.345)).toBe(5_487);
});

it("still tries to ship when the server has used up everything", () => {
  expect(stepTimeoutMs({ ...usual, totalMs: 1_000 }, 30_000, 5_000)).toBe(100);
});

it("weakness 28: the server first, then tail and files at once, and the epoch is released last", async () => {
  const order: string[] = [];
  const exit = { code: 0, signal: null, requested: true, killed: false };
  const server: ServerProcess = {
    pid: 1,
    exited: Promise.resolve(exit),
    stop: async (graceMs) => {
      order.push(`server gets ${graceMs} ms`);
      await new Promise(setImmediate);
      order.push("server is gone");
      return exit;
    },
  };
  const stopped = { position: undefined, released: true, waitingFiles: 0 };
  const storing = Promise.withResolvers<undefined>();
  const replication: Pick<Replication, "flush" | "stop"> = {
    flush: async () => {
      order.push("tail begins");
      storing.resolve(undefined);
      throw new Error("the store is away");
    },
    stop: async (options) => {
      order.push(`stream ends, ${JSON.stringify(options)}`);
      return stopped;
    },
  };
  const unstored = { paths: ["attachments/c/a"], why: "slow" };
  const files = {
    finish: async () => {
      order.push("files begin");
      await storing.promise;
      await new Promise(setImmediate);
      order.push("files are stored");
      return unstored;
    },
  };
  expect(await shutDown({ server, replication, files }, usual, () => 0)).toEqual({
    server: exit,
    stream: stopped,
    files: unstored,
  });
  expect(order).toEqual([
    "server gets 10000 ms",
    "server is gone",
    "files begin",
    "tail begins",
    "files are stored",
    'stream ends, {"applicationEnded":true,"timeoutMs":30000}',
  ]);
});
