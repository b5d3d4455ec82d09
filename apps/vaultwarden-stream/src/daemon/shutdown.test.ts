import { expect, it } from "vitest";
import type { Replication } from "wal-replicator";
import { serverGraceMs, shutDown, tailTimeoutMs } from "./shutdown.ts";
import type { ServerProcess } from "./supervisor.ts";

const usual = { totalMs: 300_000, serverMs: 10_000, tailMs: 30_000 };

it("gives every step its own budget where the platform is patient", () => {
  expect(serverGraceMs(usual)).toBe(10_000);
  expect(tailTimeoutMs(usual, 10_000)).toBe(30_000);
});

it("cuts both to a platform's 10 s, and leaves the tail its half", () => {
  const short = { ...usual, totalMs: 10_000 };
  expect(serverGraceMs(short)).toBe(5_000);
  expect(tailTimeoutMs(short, 5_000)).toBe(4_500);
});

it("lets a server that is allowed more have it", () => {
  expect(serverGraceMs({ ...usual, serverMs: 60_000 })).toBe(60_000);
});

it("still tries to ship when the server has used up everything", () => {
  expect(tailTimeoutMs({ ...usual, totalMs: 1_000 }, 5_000)).toBe(100);
});

it("stops shipping only after the server is gone, so that nothing is accepted that is not stored", async () => {
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
  const stream: Pick<Replication, "stop"> = {
    stop: async (options) => {
      order.push(`stream ends, ${JSON.stringify(options)}`);
      return stopped;
    },
  };
  expect(await shutDown(server, stream, usual, () => 0)).toEqual({ server: exit, stream: stopped });
  expect(order).toEqual([
    "server gets 10000 ms",
    "server is gone",
    'stream ends, {"applicationEnded":true,"timeoutMs":30000}',
  ]);
});
