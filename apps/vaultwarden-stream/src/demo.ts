import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { login, registerAndLogin, type VaultClient } from "@vaultwarden-stream/testkit";
import { formatBytes, formatCount, formatDuration } from "wal-replicator/command-line";
import { DemoDaemon, restoreTo } from "./demo/demo-daemon.ts";
import { describeDifference, type Photograph, photograph } from "./demo/photograph.ts";

/**
 * `pnpm demo`: a tour that ends by itself, on real daemons in a directory of their own. Every claim is checked; the exit code is 0
 * only if all of them held.
 */
const account = { email: "ann@example.org", password: "correct horse battery staple" };
const itemCount = 20;
const attachmentBytes = 1_000_000;

class Tour {
  readonly #beganMs = performance.now();
  readonly #failures: string[] = [];
  readonly #timings: [string, number][] = [];

  say(text: string): void {
    const seconds = ((performance.now() - this.#beganMs) / 1_000).toFixed(1).padStart(5);
    process.stdout.write(`${seconds} s  ${text}\n`);
  }

  check(claim: string, difference: string | undefined): void {
    this.say(
      `  ${difference === undefined ? "ok  " : "FAIL"} ${claim}${difference === undefined ? "" : `: ${difference}`}`,
    );
    if (difference !== undefined) this.#failures.push(claim);
  }

  async time<T>(what: string, work: () => Promise<T>): Promise<T> {
    const beganMs = performance.now();
    const result = await work();
    this.#timings.push([what, performance.now() - beganMs]);
    return result;
  }

  /** @returns the exit code. */
  end(): number {
    process.stdout.write("\nSummary\n");
    for (const [what, ms] of this.#timings) {
      process.stdout.write(`  ${formatDuration(ms).padStart(9)}  ${what}\n`);
    }
    const verdict =
      this.#failures.length === 0
        ? "everything matched"
        : `${formatCount(this.#failures.length, "check")} failed: ${this.#failures.join("; ")}`;
    process.stdout.write(`\n${verdict}, in ${formatDuration(performance.now() - this.#beganMs)}\n`);
    return this.#failures.length === 0 ? 0 : 1;
  }
}

async function demo(directory: string): Promise<number> {
  const tour = new Tour();
  const paths = { store: join(directory, "store"), vault: join(directory, "vault") };
  const first = await DemoDaemon.start(paths);
  try {
    tour.say(`a vault with an empty store, everything in ${directory}`);
    await tour.time("first start, until the vault answers", () => first.ready());
    const client = await registerAndLogin({ url: first.url, ...account });
    tour.say(`registered ${account.email}; writing ${itemCount} items`);
    const early = await tour.time(`${itemCount} items written`, () => writeItems(client, "early"));
    tour.say(`an attachment of ${formatBytes(attachmentBytes)}, and a file to send`);
    const item = early[0] ?? "";
    const attachment = await client.uploadAttachment(
      item,
      "deed.pdf",
      randomBytes(attachmentBytes),
    );
    await client.createFileSend("photo", "photo.jpg", randomBytes(50_000));
    await tour.time("until the store has them all", () => first.untilStored());
    const before = photograph(paths.vault, directory);

    // Captures carry milliseconds: the moment lies clearly behind the last one and before the next.
    await sleep(50);
    const moment = new Date().toISOString();
    await sleep(50);
    tour.say(
      `remembering the moment ${moment}; then ${itemCount} more items, one deleted, one changed`,
    );
    const ids = await writeItems(client, "late");
    await client.deleteItem(ids[0] ?? "");
    await client.updateItem(ids[1] ?? "", { name: "late 1, changed" });
    tour.say("that attachment deleted, and another one added");
    await client.deleteAttachment(item, attachment);
    await client.uploadAttachment(ids[1] ?? "", "will.pdf", randomBytes(attachmentBytes));
    await tour.time("until the store has those too", () => first.untilStored());
    const after = photograph(paths.vault, directory);

    tour.say("kill -9 of the daemon and of the vault");
    await first.killEverything();

    await restoreAndCompare(tour, "on another machine: restore", after, {
      directory,
      paths,
      to: "restored",
    });
    await restoreAndCompare(tour, "as it was at that moment: restore --at", before, {
      directory,
      paths,
      to: "earlier",
      at: moment,
    });
    await goOn(tour, paths, first.timeline(), [
      ...itemNames("early"),
      ...itemNames("late").slice(2),
      "late 1, changed",
    ]);
    return tour.end();
  } finally {
    await first.killEverything();
  }
}

async function restoreAndCompare(
  tour: Tour,
  what: string,
  expected: Photograph,
  how: {
    readonly directory: string;
    readonly paths: { readonly store: string; readonly vault: string };
    readonly to: string;
    readonly at?: string;
  },
): Promise<void> {
  const target = join(how.directory, how.to);
  tour.say(what);
  const output = await tour.time(what, () => restoreTo(how.paths, target, how.at));
  tour.say(`  ${output}`);
  const restored = photograph(target, how.directory);
  const tables = Object.values(expected.rows);
  const rows = tables.reduce((sum, table) => sum + table.length, 0);
  tour.check(
    `${formatCount(rows, "row")} of ${formatCount(tables.length, "table")} are equal, ${formatCount(expected.rows["ciphers"]?.length ?? 0, "item")} among them, and ${formatCount(Object.keys(expected.files).length, "file")}`,
    describeDifference(expected, restored),
  );
}

/** The killed vault starts again, has everything, and ends properly this time. */
async function goOn(
  tour: Tour,
  paths: { readonly store: string; readonly vault: string },
  timeline: string | null,
  names: readonly string[],
): Promise<void> {
  const second = await DemoDaemon.start(paths);
  try {
    await tour.time("second start, until the vault answers", () => second.ready());
    const client = await login({ url: second.url, ...account });
    const found = (await client.listItems()).map(({ name }) => name);
    tour.say("the killed vault started again where it lay");
    tour.check(`it has its ${names.length} items`, sameList(names.toSorted(), found.toSorted()));
    tour.check(
      "it continues its timeline",
      second.timeline() === timeline ? undefined : `${second.timeline()}`,
    );
    await client.createItem({ name: "the last one" });
    const code = await tour.time("a last item, and a graceful stop with everything stored", () =>
      second.end(),
    );
    tour.check("it ended with exit code 0", code === 0 ? undefined : `exit code ${code}`);
  } finally {
    await second.killEverything();
  }
}

function itemNames(label: string): string[] {
  return Array.from({ length: itemCount }, (_, index) => `${label} ${index}`);
}

async function writeItems(client: VaultClient, label: string): Promise<string[]> {
  const ids: string[] = [];
  for (const name of itemNames(label))
    ids.push(await client.createItem({ name, notes: `notes of ${name}` }));
  return ids;
}

function sameList(expected: readonly string[], found: readonly string[]): string | undefined {
  return expected.join() === found.join()
    ? undefined
    : `expected ${expected.join()}, found ${found.join()}`;
}

const directory = await mkdtemp(join(tmpdir(), "vaultwarden-stream-demo-"));
let exitCode = 1;
try {
  exitCode = await demo(directory);
} catch (error) {
  process.stdout.write(
    `the demo broke off: ${error instanceof Error ? error.stack : String(error)}\n`,
  );
} finally {
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
}
process.exit(exitCode);
