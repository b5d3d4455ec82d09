/** Something about the configuration that somebody has to know, or to change. Never holds a secret. */
export interface ConfigProblem {
  readonly name: string;
  /** What was given, if it is safe to print. */
  readonly value?: string;
  readonly reason: string;
  /** What to write instead. */
  readonly remedy: string;
}

/** One line for people: the name, what is wrong, what to write instead. */
export function formatProblem({ name, value, reason, remedy }: ConfigProblem): string {
  return `${name}${value === undefined ? "" : `=${JSON.stringify(value)}`}: ${reason}; ${remedy}`;
}
