import { ObjectStoreError } from "@vaultwarden-stream/object-store";
import { FormatError, InvariantError, ReplicationError } from "../errors.ts";
import { ReplicaError } from "../replica/replica-error.ts";

/**
 * Errors across the process border. Structured clone keeps the message and drops class, code and hint, which are what a host
 * decides by; so these travel as plain fields, and the class is put back on the other side.
 */
export interface TransferredError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  /** Own fields with plain values: code, hint, key, level, … */
  readonly fields: Readonly<Record<string, string | number | bigint | boolean>>;
  readonly cause: TransferredError | string | undefined;
}

/** Classes whose identity survives; every other error arrives as an `Error` with its name and fields. */
const classes: readonly (abstract new (...args: never[]) => Error)[] = [
  FormatError,
  InvariantError,
  ObjectStoreError,
  ReplicaError,
  ReplicationError,
];

/** Deeper causes are dropped: a cause may be its own ancestor. */
const causeDepthMax = 8;

export function packError(error: unknown, depth = 0): TransferredError {
  if (!(error instanceof Error)) {
    return {
      name: "Error",
      message: String(error),
      stack: undefined,
      fields: {},
      cause: undefined,
    };
  }
  const fields: Record<string, string | number | bigint | boolean> = {};
  for (const [name, value] of Object.entries(error)) {
    if (["string", "number", "bigint", "boolean"].includes(typeof value)) {
      fields[name] = value as string | number | bigint | boolean;
    }
  }
  return {
    name: error.name,
    message: error.message,
    stack: error.stack,
    fields,
    cause: packCause(error.cause, depth),
  };
}

function packCause(cause: unknown, depth: number): TransferredError["cause"] {
  if (cause === undefined || cause === null || depth >= causeDepthMax) return undefined;
  return cause instanceof Error ? packError(cause, depth + 1) : String(cause);
}

export function unpackError(packed: TransferredError): Error {
  const cause = typeof packed.cause === "object" ? unpackError(packed.cause) : packed.cause;
  const error = new Error(packed.message, cause === undefined ? {} : { cause });
  const known = classes.find((candidate) => candidate.name === packed.name);
  // The constructors word their own messages, so they cannot be called again; the prototype makes `instanceof` true.
  if (known !== undefined) Object.setPrototypeOf(error, known.prototype as object);
  Object.assign(error, packed.fields);
  Object.defineProperty(error, "name", { value: packed.name, configurable: true, writable: true });
  if (packed.stack !== undefined) {
    Object.defineProperty(error, "stack", {
      value: packed.stack,
      configurable: true,
      writable: true,
    });
  }
  return error;
}
