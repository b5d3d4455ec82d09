import type { Subset } from "../verify/read-files.ts";
import { usageError } from "./command-error.ts";

/** Reads `3/7`: the third of seven parts. @throws {CommandError} `USAGE` */
export function parseSubset(text: string): Subset {
  const [, first = "", second = ""] = /^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? [];
  const [n, t] = [Number(first), Number(second)];
  if (n >= 1 && n <= t) return { n, t };
  throw usageError(
    `"${text}" is not a part of the data`,
    "it is n/t, with n from 1 to t",
    "write 1/7 today, 2/7 tomorrow: seven runs read everything",
  );
}
