import { ObjectStoreError } from "@vaultwarden-stream/object-store";
import { expect, it } from "vitest";
import { FormatError } from "../errors.ts";
import { CommandError, InterruptedError } from "./command-error.ts";
import { exitCodes } from "./exit-codes.ts";
import { describeFailure, formatFailure } from "./failure.ts";

it.each([
  [storeError("FORBIDDEN"), exitCodes.storeUnavailable],
  [storeError("UNREACHABLE"), exitCodes.storeUnavailable],
  [storeError("THROTTLED"), exitCodes.storeUnavailable],
  [storeError("INVALID_ARGUMENT"), exitCodes.usage],
  [storeError("OUT_OF_SPACE"), exitCodes.failed],
  [coded("NOTHING_TO_RESTORE"), exitCodes.nothingToRestore],
  [coded("TIME_NOT_REACHABLE"), exitCodes.nothingToRestore],
  [coded("VERIFICATION_FAILED"), exitCodes.verificationFailed],
  [new FormatError("LTX_CHECKSUM_MISMATCH", "bad"), exitCodes.verificationFailed],
  [coded("EPOCH_HELD"), exitCodes.heldByAnother],
  [coded("SPOOL_IN_USE"), exitCodes.heldByAnother],
  [coded("TARGET_EXISTS"), exitCodes.usage],
  [coded("ENOSPC"), exitCodes.failed],
  [new Error("plain"), exitCodes.failed],
  ["not even an error", exitCodes.failed],
  [undefined, exitCodes.failed],
  [new InterruptedError("SIGINT"), 130],
  [new InterruptedError("SIGTERM"), 143],
])("%s ends with its exit code", (error, exitCode) => {
  expect(describeFailure(error, "restore").exitCode).toBe(exitCode);
});

it("a coded error becomes three lines: what with its identifiers, why in the causes' own words, what to do next", () => {
  const cause = new Error("connect ECONNREFUSED 127.0.0.1:9000");
  const error = new ObjectStoreError("UNREACHABLE", "no answer", {
    operation: "get",
    key: "t/ltx/0/x.ltx",
    hint: "Start the store.",
    cause,
  });
  const text = formatFailure(describeFailure(error, "restore of file:///backup"), "wal-replicator");
  expect(text.split("\n")).toEqual([
    "wal-replicator: restore of file:///backup failed at key t/ltx/0/x.ltx",
    '  why:  get "t/ltx/0/x.ltx": no answer: connect ECONNREFUSED 127.0.0.1:9000 (UNREACHABLE)',
    "  next: Start the store.",
    "",
  ]);
});

it("TXIDs are printed as 16 hex digits", () => {
  const error = Object.assign(coded("CHAIN_BROKEN"), { level: 0, txid: 255n });
  expect(describeFailure(error, "restore").what).toBe(
    "restore failed at level 0, txid 00000000000000ff",
  );
});

it("a message of several lines stays on its line", () => {
  const text = formatFailure(describeFailure(new Error("one\n  two\nthree"), "list"), "p");
  expect(text.trimEnd().split("\n")).toHaveLength(3);
  expect(text).toContain("one two three");
});

it("an error that is its own cause ends", () => {
  const error = new Error("round");
  error.cause = error;
  expect(describeFailure(error, "list").why).toBe("round");
});

it("a command's own words are kept", () => {
  const error = new CommandError(
    "X",
    { what: "a", why: "b", next: "c" },
    { exitCode: exitCodes.usage },
  );
  expect(describeFailure(error, "ignored")).toEqual({
    code: "X",
    what: "a",
    why: "b",
    next: "c",
    exitCode: 2,
  });
});

function coded(code: string): Error {
  return Object.assign(new Error("reason"), { code });
}

function storeError(code: ConstructorParameters<typeof ObjectStoreError>[0]): Error {
  return new ObjectStoreError(code, "reason", { operation: "get", key: "k" });
}
