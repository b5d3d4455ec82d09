import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { writeDurably } from "../durable-file.ts";
import { stateDirectory } from "./status-file.ts";

/**
 * How `verify --repair` asks the running daemon for what the living engine alone can do: two small files in the daemon's state directory. The daemon
 * takes a request away before it begins, so that one that ends it is not met again by the next.
 */
export interface RepairAnswer {
  /** Of the request. */
  readonly id: string;
  /** Of the snapshot that was stored, 16 hex digits; null: it was not. */
  readonly txid: string | null;
  /** The drill after it, for people; or why there is no snapshot. */
  readonly message: string;
  readonly isProved: boolean;
}

const request: z.ZodType<{ readonly id: string }> = z.object({ id: z.string() });
const answer: z.ZodType<RepairAnswer> = z.object({
  id: z.string(),
  txid: z.string().nullable(),
  message: z.string(),
  isProved: z.boolean(),
});

/** How often either side looks. */
export const repairLookMs = 2_000;

/** @returns the request's id. */
export async function requestRepair(database: string): Promise<string> {
  const id = randomBytes(8).toString("hex");
  await writeDurably(requestPath(database), `${JSON.stringify({ id })}\n`, 0o600);
  return id;
}

/** @returns the id of a request that nobody has taken yet. */
export function takeRequest(database: string): string | undefined {
  const path = requestPath(database);
  if (!existsSync(path)) return undefined;
  const taken = readJson(path, request);
  rmSync(path, { force: true });
  return taken?.id;
}

export async function answerRepair(database: string, given: RepairAnswer): Promise<void> {
  await writeDurably(answerPath(database), `${JSON.stringify(given)}\n`, 0o600);
}

/** @returns the answer, once; undefined: not yet. */
export function takeAnswer(database: string, id: string): RepairAnswer | undefined {
  const path = answerPath(database);
  const found = existsSync(path) ? readJson(path, answer) : undefined;
  if (found?.id !== id) return undefined;
  rmSync(path, { force: true });
  return found;
}

/** Both files are written by rename; what is not ours is passed over. */
function readJson<T>(path: string, schema: z.ZodType<T>): T | undefined {
  try {
    return schema.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch {
    return undefined;
  }
}

function requestPath(database: string): string {
  return join(stateDirectory(database), "repair-request.json");
}

function answerPath(database: string): string {
  return join(stateDirectory(database), "repair-answer.json");
}
