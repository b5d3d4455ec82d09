/** Names and values as a process has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Reads a file that a setting names. @throws whatever reading it throws. */
export type ReadTextFile = (path: string) => string;
