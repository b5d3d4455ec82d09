import { open } from "node:fs/promises";
import { expect, it } from "vitest";
import { explainFileError } from "./directory-errors.ts";
import type { ObjectStoreErrorCode } from "./errors.ts";

function failure(code: string, syscall: string): Error {
  return Object.assign(new Error(`${code}: ${syscall}`), { code, syscall });
}

it.each<[string, string, ObjectStoreErrorCode]>([
  ["EACCES", "open", "FORBIDDEN"],
  ["EPERM", "unlink", "FORBIDDEN"],
  ["EROFS", "open", "FORBIDDEN"],
  ["ENOSPC", "write", "OUT_OF_SPACE"],
  ["EDQUOT", "write", "OUT_OF_SPACE"],
  ["EIO", "fsync", "UNREACHABLE"],
  ["ESTALE", "open", "UNREACHABLE"],
  ["ETIMEDOUT", "read", "UNREACHABLE"],
  ["EMFILE", "open", "UNREACHABLE"],
  ["EISDIR", "rename", "INVALID_ARGUMENT"],
  ["ENOTDIR", "open", "INVALID_ARGUMENT"],
])("explains %s of %s as %s, with a hint and the cause", (errno, syscall, code) => {
  const cause = failure(errno, syscall);
  expect(explainFileError(cause, "put", "k")).toMatchObject({
    name: "ObjectStoreError",
    code,
    operation: "put",
    key: "k",
    hint: expect.any(String),
    cause,
  });
});

it("says that hard links are missing where link(2) is refused", () => {
  for (const errno of ["EPERM", "EOPNOTSUPP", "ENOSYS"]) {
    expect(explainFileError(failure(errno, "link"), "putIfAbsent", "k")).toMatchObject({
      code: "FORBIDDEN",
      hint: expect.stringContaining("hard links"),
    });
  }
});

it("hands back what is no error of the operating system", () => {
  const bug = new TypeError("bug");
  expect(explainFileError(bug, "put", "k")).toBe(bug);
});

it.skipIf(process.platform !== "linux")("explains a full disk", async () => {
  // Every write to this device fails as on a disk without space.
  const full = await open("/dev/full", "w");
  const error: unknown = await full.write(new Uint8Array(1)).catch((cause: unknown) => cause);
  await full.close();
  expect(explainFileError(error, "put", "k")).toMatchObject({ code: "OUT_OF_SPACE" });
});
