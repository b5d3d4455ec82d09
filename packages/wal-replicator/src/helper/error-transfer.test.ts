import { deserialize, serialize } from "node:v8";
import { ObjectStoreError } from "@vaultwarden-stream/object-store";
import { expect, it } from "vitest";
import { FormatError, InvariantError, ReplicationError } from "../errors.ts";
import { packError, unpackError } from "./error-transfer.ts";

/** As the channel does with `serialization: "advanced"`. */
function cross(error: unknown): Error {
  return unpackError(deserialize(serialize(packError(error))));
}

it("keeps class, code, hint, identifiers and the cause with its own", () => {
  const cause = Object.assign(new Error("connect"), { code: "ECONNREFUSED" });
  const store = new ObjectStoreError("UNREACHABLE", "no answer", {
    operation: "put",
    key: "a/b",
    hint: "Start it.",
    cause,
  });
  const arrived = cross(store);
  expect(arrived).toBeInstanceOf(ObjectStoreError);
  expect(arrived).toMatchObject({
    name: "ObjectStoreError",
    code: "UNREACHABLE",
    key: "a/b",
    hint: "Start it.",
    retryable: true,
  });
  expect(arrived.message).toBe(store.message);
  expect(arrived.stack).toBe(store.stack);
  expect(arrived.cause).toMatchObject({ message: "connect", code: "ECONNREFUSED" });
});

it.each([
  new ReplicationError("DATABASE_MISSING", "there is none", "Create it."),
  new FormatError("LTX_TRUNCATED", "short", { offset: 7 }),
  new InvariantError("broken"),
])("%s arrives as its own class", (error) => {
  const arrived = cross(error);
  expect(arrived).toBeInstanceOf(error.constructor);
  expect(Object.entries(arrived)).toEqual(
    expect.arrayContaining(
      Object.entries(error).filter(
        ([, v]) => v !== undefined && typeof v !== "object" && v !== error.name,
      ),
    ),
  );
});

it("an error of a class that is not ours arrives as an Error with its name", () => {
  const arrived = cross(new RangeError("out"));
  expect(arrived).toMatchObject({ name: "RangeError", message: "out" });
});

it("what is no error, and an error that is its own cause, arrive", () => {
  expect(cross("text").message).toBe("text");
  const round = new Error("round");
  round.cause = round;
  expect(cross(round).message).toBe("round");
});
