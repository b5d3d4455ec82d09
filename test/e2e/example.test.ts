/** The example of the package's README: it runs as it stands there, and what it answers 201 for is in the replica. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { startTypeScriptChild } from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, expect, it } from "vitest";
import { restore } from "wal-replicator";

const packageUrl = new URL("../../packages/wal-replicator/", import.meta.url);
const example = fileURLToPath(new URL("examples/notes.ts", packageUrl));

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "example-"));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

it("the README shows the example as it is", async () => {
  const readme = await readFile(new URL("README.md", packageUrl), "utf8");
  const block = /```ts\n(.*?)```/s.exec(readme)?.[1];
  expect(block).toBe(await readFile(example, "utf8"));
});

it("every note that was answered with 201 is in the replica, and a Ctrl-C ends it cleanly", async () => {
  const replica = join(directory, "replica");
  const server = startTypeScriptChild(example, {
    arguments: [join(directory, "notes.db"), replica, "0"],
    cwd: directory,
  });
  try {
    const url = `http://localhost:${await portOf(server)}`;
    const notes = ["Water the plants", "Feed the cat", "Ünïcödé"];
    for (const [index, note] of notes.entries()) {
      expect((await fetch(url, { method: "POST", body: note })).status).toBe(201);
      expect(await restoredNotes(replica)).toEqual(notes.slice(0, index + 1));
    }
    const listed = (await (await fetch(url)).json()) as { text: string }[];
    expect(listed.map(({ text }) => text)).toEqual(notes);
    server.process.kill("SIGINT");
    const { code, stderr } = await server.exited;
    expect(code, stderr).toBe(0);
    expect(stderr).toBe("");
    expect(await restoredNotes(replica)).toEqual(notes);
  } finally {
    server.process.kill("SIGKILL");
  }
});

async function portOf(server: ReturnType<typeof startTypeScriptChild>): Promise<string> {
  let hasEnded = false;
  const ended = server.exited.then(() => {
    hasEnded = true;
  });
  while (!hasEnded) {
    const port = /notes on port (\d+)/.exec(server.stdout())?.[1];
    if (port !== undefined) return port;
    const { promise, resolve } = Promise.withResolvers<void>();
    server.process.stdout?.once("data", () => resolve());
    await Promise.race([promise, ended]);
  }
  throw new Error(`the example ended: ${server.stderr()}`);
}

async function restoredNotes(replica: string): Promise<string[]> {
  const target = join(directory, "restored.db");
  await restore({ replica, target, overwrite: true });
  const db = new DatabaseSync(target, { readOnly: true });
  try {
    return db
      .prepare("select text from notes order by id")
      .all()
      .map((row) => String(row["text"]));
  } finally {
    db.close();
  }
}
