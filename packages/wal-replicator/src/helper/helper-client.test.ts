import Database from "better-sqlite3";
import { expect, it } from "vitest";
import { startHelper } from "./helper-client.ts";

it("a Database class, which no helper can be given, is refused instead of ignored", async () => {
  const options = { database: "missing.db", replica: "nowhere", Database };
  await expect(startHelper(options)).rejects.toMatchObject({
    code: "OPTIONS_CONFLICT",
    hint: expect.stringContaining("in-process"),
  });
});
