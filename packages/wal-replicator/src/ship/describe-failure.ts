/** What an event says of an error. */
export function describeFailure(error: unknown): {
  readonly code: string;
  readonly message: string;
} {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return { code: typeof code === "string" ? code : "UNKNOWN", message: String(message ?? error) };
}
