import { expect, it } from "vitest";
import { type Evidence, judgeChanges } from "./judge-changes.ts";

const rows = new Map([
  ["attachments/c1/a1", 100],
  ["sends/s1/f1", 7],
]);
const evidence: Evidence = {
  rows,
  isConfigDirectoryAlive: true,
  isAbandoned: () => false,
  acceptsNewKey: false,
};

function verdict(
  kind: "added" | "changed" | "removed",
  path: string,
  size?: number,
  overrides: Partial<Evidence> = {},
): string {
  const change = { kind, path, ...(size === undefined ? {} : { size }) };
  const [judged] = judgeChanges([change], { ...evidence, ...overrides });
  return typeof judged === "string" ? judged : Object.keys(judged ?? {}).join();
}

it("weakness 10: a file is complete when it has its row's size, and waits until then", () => {
  expect(verdict("added", "attachments/c1/a1", 99)).toBe("wait");
  expect(verdict("added", "attachments/c1/a1", 0)).toBe("wait");
  expect(verdict("changed", "attachments/c1/a1", 101)).toBe("wait");
  expect(verdict("added", "attachments/c1/a1", 100)).toBe("complete");
  expect(verdict("changed", "sends/s1/f1", 7)).toBe("complete");
});

it("an upload that was cut short is not waited for, and not stored either", () => {
  const abandoned = {
    isAbandoned: (path: string, size: number) => path === "sends/s1/f1" && size === 3,
  };
  expect(verdict("added", "sends/s1/f1", 3, abandoned)).toBe("keep");
  expect(verdict("added", "sends/s1/f1", 4, abandoned)).toBe("wait");
  expect(verdict("added", "sends/s1/f1", 7, abandoned)).toBe("complete");
});

it("a file whose row has not come yet is judged by two looks", () => {
  expect(verdict("added", "sends/s2/f2", 7)).toBe("unknown");
  expect(verdict("added", "attachments/c1")).toBe("unknown");
});

it("weakness 19, H6: a deletion counts when the rows have gone too, also that of the last file", () => {
  expect(verdict("removed", "attachments/c1/a1")).toBe("keep");
  expect(verdict("removed", "attachments/c1")).toBe("keep");
  expect(verdict("removed", "attachments")).toBe("keep");
  const none = { rows: new Map<string, number>() };
  expect(verdict("removed", "attachments/c1/a1", undefined, none)).toBe("complete");
  expect(verdict("removed", "attachments/c1", undefined, none)).toBe("complete");
  expect(verdict("removed", "attachments", undefined, none)).toBe("complete");
  // Of another cipher, whose name begins alike.
  expect(verdict("removed", "attachments/c")).toBe("complete");
});

it("H8: a stored key is replaced or removed only when somebody says so", () => {
  expect(verdict("added", "rsa_key.pem", 1_679)).toBe("complete");
  expect(verdict("changed", "rsa_key.pem", 1_679)).toBe("keep");
  expect(verdict("removed", "rsa_key.pem")).toBe("keep");
  expect(verdict("changed", "rsa_key.pem", 1_679, { acceptsNewKey: true })).toBe("complete");
  expect(verdict("removed", "rsa_key.pem", undefined, { acceptsNewKey: true })).toBe("keep");
});

it("a deleted config.json is real where the rest of its directory is there", () => {
  expect(verdict("removed", "config.json")).toBe("complete");
  const gone = { isConfigDirectoryAlive: false };
  expect(verdict("removed", "config.json", undefined, gone)).toBe("keep");
  expect(verdict("changed", "config.json", 12)).toBe("unknown");
});
