import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { stateDirectory } from "../daemon/status-file.ts";
import { writeDurably } from "../durable-file.ts";

/** Where runs with a time limit have stopped; null: that part was read to its end. */
export interface ReadingPlace {
  readonly database: string | null;
  readonly files: string | null;
}

const schema: z.ZodType<ReadingPlace> = z.object({
  database: z
    .string()
    .regex(/^[0-9a-f]{8}$/)
    .nullable(),
  files: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullable(),
});

const nowhere: ReadingPlace = { database: null, files: null };

/** What is no place of ours is none: then reading begins at the beginning. */
export function readPlace(database: string): ReadingPlace {
  try {
    return schema.parse(JSON.parse(readFileSync(placePath(database), "utf8")));
  } catch {
    return nowhere; // not there, or of another version
  }
}

/** Where there is no vault, nothing is kept: whoever verifies from elsewhere begins anew. */
export async function savePlace(database: string, place: ReadingPlace): Promise<void> {
  const path = placePath(database);
  if (existsSync(dirname(path))) await writeDurably(path, `${JSON.stringify(place)}\n`, 0o644);
}

function placePath(database: string): string {
  return join(stateDirectory(database), "verify.json");
}
