import type { VariableSchema } from "./variable-schemas.ts";

/** One variable of ours, as data: the reader, the check for unknown names and `.env.example` are made from it. */
export interface Variable {
  readonly name: string;
  readonly group: string;
  /** Other tools' names for it, still good. */
  readonly aliases?: readonly string[];
  /** Spellings of past versions: still good, each with a warning. */
  readonly oldNames?: readonly string[];
  /** Its value is never printed. */
  readonly isSecret?: true;
  /** Set to nothing is set: the schema gets the empty text. Otherwise empty is the same as unset. */
  readonly emptyIsSet?: true;
  /** As it would be written; undefined: there is none. */
  readonly defaultText: string | undefined;
  /** What is accepted, in words, for errors and for the example file. */
  readonly accepts: string;
  /** One sentence for people who have never seen it. */
  readonly meaning: string;
  readonly schema: VariableSchema;
}
