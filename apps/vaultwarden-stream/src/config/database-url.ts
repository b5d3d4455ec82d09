/** The file that `DATABASE_URL` means. `sqlite://X` is SQLite's URI `file:X`; a bare path is taken as it is. */
export function sqlitePathOf(
  databaseUrl: string,
): { readonly path: string } | { readonly reason: string; readonly remedy: string } {
  const remedy = "write sqlite:///absolute/path/db.sqlite3, or remove it";
  if (/^(mysql|mariadb|postgres(ql)?):/i.test(databaseUrl)) {
    return { reason: "only SQLite can be streamed, and it names another database server", remedy };
  }
  if (!databaseUrl.startsWith("sqlite://")) {
    if (/^[a-z][a-z0-9+.-]*:/i.test(databaseUrl)) {
      return { reason: "its scheme is not sqlite://", remedy };
    }
    if (databaseUrl === "")
      return { reason: "it is empty, which is a value to the server", remedy };
    return { path: databaseUrl };
  }
  const [location = "", query = ""] = (
    databaseUrl.slice("sqlite://".length).split("#")[0] ?? ""
  ).split(/\?(.*)/s);
  const parameters = new URLSearchParams(query);
  const mode = parameters.get("mode");
  if (
    (mode !== null && mode !== "rw" && mode !== "rwc") ||
    parameters.has("immutable") ||
    parameters.has("vfs")
  ) {
    return {
      reason: "with mode, immutable or vfs the server would not write to an ordinary file",
      remedy: "remove them from the URL",
    };
  }
  // SQLite takes what follows two slashes for the name of a host.
  if (location.startsWith("//")) return { reason: "it has too many slashes", remedy };
  try {
    const path = decodeURIComponent(location);
    if (path === "" || path.includes("\0")) return { reason: "it names no file", remedy };
    return { path };
  } catch {
    return { reason: "it has a malformed percent-escape", remedy };
  }
}
