import { PassThrough } from "node:stream";
import { expect, it } from "vitest";
import { createLogger, type LogLevel } from "./logger.ts";

function record(
  level: LogLevel,
  format: "text" | "json",
): { text: () => string; log: ReturnType<typeof createLogger> } {
  const stream = new PassThrough();
  const log = createLogger(stream, { level, format }, () => new Date(0));
  return { log, text: () => String(stream.read() ?? "") };
}

it("writes the predecessor's form, a line a message", () => {
  const { log, text } = record("info", "text");
  log.info("one\ntwo");
  log.warn("three");
  log.debug("never");
  expect(text()).toBe("[stream] INFO: one two\n[stream] WARNING: three\n");
});

it("writes JSON with the fields of the event", () => {
  const { log, text } = record("debug", "json");
  log.debug("stored", { txid: "0000000000000001", bytes: 7 });
  expect(JSON.parse(text())).toEqual({
    time: "1970-01-01T00:00:00.000Z",
    level: "debug",
    message: "stored",
    txid: "0000000000000001",
    bytes: 7,
  });
});
