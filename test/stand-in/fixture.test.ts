import { cpSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { registerAndLogin } from "@vaultwarden-stream/testkit";
import { describe, expect, it } from "vitest";
import { fixture, queryDatabase, VaultPlace } from "./vault-place.ts";

// Goal: what the stand-in makes is what a real Vaultwarden 1.37.2 made. Method: a recorded data directory beside one of ours.

interface Expected {
  readonly tables: Readonly<Record<string, number>>;
  readonly attachments: readonly { readonly cipher_uuid: string; readonly id: string }[];
  readonly fileSends: readonly { readonly uuid: string; readonly id: string }[];
}

interface TreeEntry {
  readonly name: string;
  readonly mode: number;
}

const expected = JSON.parse(readFileSync(join(fixture, "expected.json"), "utf8")) as Expected;
const pragmas = ["page_size", "auto_vacuum", "journal_mode", "encoding", "user_version"] as const;

function shapeOf(path: string) {
  const schema = queryDatabase<{ sql: string }>(
    path,
    "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name",
  );
  return {
    schema: schema.map(({ sql }) => `${sql};\n`).join(""),
    tables: queryDatabase<{ name: string }>(
      path,
      "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name",
    ).map(({ name }) => name),
    ...Object.fromEntries(pragmas.map((name) => [name, queryDatabase(path, `PRAGMA ${name}`)])),
  };
}

/** Entries below the directory with the random parts of their names replaced, one of each kind. */
function treeOf(directory: string): TreeEntry[] {
  const entries = new Map<string, TreeEntry>();
  for (const path of readdirSync(directory, { recursive: true, encoding: "utf8" })) {
    const name = path
      .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/, "<uuid>")
      .replace(/\b[0-9a-f]{64}$/, "<64 hex>")
      .replace(/\b[0-9a-f]{20}$/, "<20 hex>");
    entries.set(name, { name, mode: statSync(join(directory, path)).mode & 0o777 });
  }
  return [...entries.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function fileSizes(directory: string): Record<string, number> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true });
  return Object.fromEntries(
    files
      .filter((entry) => entry.isFile())
      .map(({ name, parentPath }) => [name, statSync(join(parentPath, name)).size]),
  );
}

function rowSizes(database: string): Record<string, number> {
  const rows = queryDatabase<{ id: string; size: number }>(
    database,
    `SELECT id, file_size AS size FROM attachments UNION ALL
     SELECT data ->> 'id', data ->> 'size' FROM sends WHERE atype = 1`,
  );
  return Object.fromEntries(rows.map(({ id, size }) => [id, size]));
}

async function usedVault(place: VaultPlace): Promise<void> {
  const client = await registerAndLogin(place.account(await place.start()));
  const item = await client.createItem({ name: "item" });
  await client.uploadAttachment(item, "file", new Uint8Array(3000));
  await client.uploadAttachment(item, "empty", new Uint8Array(0));
  await client.createFileSend("send", "file", new Uint8Array(70_000));
  await client.createLegacyFileSend("send", "file", new Uint8Array(5));
  await client.createSend("send", "text");
}

describe("the stand-in beside the recorded vault", () => {
  it("makes the same schema, tables and settings of the database", async () => {
    await using ours = new VaultPlace();
    await ours.start();
    await using theirs = new VaultPlace();
    theirs.copyFixture();
    const shape = shapeOf(ours.path("db.sqlite3"));
    expect(shape).toEqual(shapeOf(theirs.path("db.sqlite3")));
    expect(shape.schema).toBe(readFileSync(join(fixture, "schema.sql"), "utf8"));
    expect(shape.tables).toEqual(Object.keys(expected.tables).sort());
    expect(shape.tables).toHaveLength(29);
  });

  it("makes the same tree, with the same modes", async () => {
    await using ours = new VaultPlace();
    await usedVault(ours);
    // The recorded server was stopped, and its spool folder was not recorded.
    const tree = treeOf(ours.dataFolder).filter(({ name }) => name !== "tmp");
    expect(tree.map(({ name }) => name)).toEqual(
      treeOf(join(fixture, "data")).map(({ name }) => name),
    );
    const modes = Object.fromEntries(tree.map(({ name, mode }) => [name, mode]));
    expect(modes).toMatchObject({
      attachments: 0o755,
      "attachments/<uuid>": 0o755,
      "attachments/<uuid>/<20 hex>": 0o644,
      "sends/<uuid>/<64 hex>": 0o644,
      "db.sqlite3": 0o644,
      "rsa_key.pem": 0o644,
    });
    const firstLine = (path: string) => readFileSync(path, "utf8").split("\n")[0];
    expect(firstLine(ours.path("rsa_key.pem"))).toBe(firstLine(join(fixture, "data/rsa_key.pem")));
  });

  it("writes files of the size that their rows say, as the recorded ones are", async () => {
    await using theirs = new VaultPlace();
    theirs.copyFixture();
    await using ours = new VaultPlace();
    await usedVault(ours);
    for (const place of [theirs, ours]) {
      const files = { ...fileSizes(place.path("attachments")), ...fileSizes(place.path("sends")) };
      expect(files).toEqual(rowSizes(place.path("db.sqlite3")));
      expect(Object.keys(files)).toHaveLength(place === ours ? 4 : 24);
    }
  });

  it("runs on the recorded directory: no migration, the same rows and key, and every file is served", async () => {
    await using place = new VaultPlace();
    place.copyFixture();
    cpSync(place.path("rsa_key.pem"), join(place.directory, "key"));
    const before = place.query("SELECT * FROM ciphers");
    const standIn = await place.start();
    expect(place.query("SELECT * FROM ciphers")).toEqual(before);
    expect(readFileSync(place.path("rsa_key.pem"))).toEqual(
      readFileSync(join(place.directory, "key")),
    );
    expect(place.query("SELECT count(*) AS count FROM __diesel_schema_migrations")).toEqual([
      { count: 56 },
    ]);
    for (const { uuid, id } of expected.fileSends) {
      const access = await fetch(`${standIn.url}/api/sends/${uuid}/access/file/${id}`, {
        method: "POST",
        body: "{}",
      });
      const { pathname, search } = new URL(((await access.json()) as { url: string }).url);
      const answer = await fetch(standIn.url + pathname + search);
      const bytes = new Uint8Array(await answer.arrayBuffer());
      expect(bytes).toEqual(new Uint8Array(readFileSync(place.path("sends", uuid, id))));
    }
  });
});
