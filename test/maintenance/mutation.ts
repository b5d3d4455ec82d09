/** One rule removed from the sources. */
export interface Mutation {
  readonly name: string;
  readonly edits: readonly MutationEdit[];
}

export interface MutationEdit {
  /** Below `packages/`. */
  readonly file: string;
  /** Occurs exactly once in the file: else the mutation has rotted, and loading it fails. */
  readonly find: string;
  readonly replace: string;
}

/** @throws {Error} if the text does not occur exactly once. */
export function mutate(source: string, { file, find, replace }: MutationEdit): string {
  const parts = source.split(find);
  if (parts.length === 2) return parts.join(replace);
  throw new Error(`${JSON.stringify(find)} occurs ${parts.length - 1} times in ${file}, not once`);
}
