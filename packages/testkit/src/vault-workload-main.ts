/** Child of `vault-workload.ts`: `run <options as JSON>` works on a vault until it is told to stop; `rows <database>` prints `StoredRow[]`. */
import { createHash } from "node:crypto";
import { setTimeout as sleepMs } from "node:timers/promises";
import type Database from "better-sqlite3";
import { withDatabaseCopy } from "./database-copy.ts";
import { createPrng } from "./prng.ts";
import { login, registerAndLogin, type VaultAccount, type VaultClient } from "./vault-client.ts";
import { VaultClientError } from "./vault-request.ts";
import type { VaultWorkloadOptions, VaultWorkloadReport } from "./vault-workload.ts";
import type { StoredRow } from "./vault-workload-check.ts";
import { VaultOperations } from "./vault-workload-operations.ts";
import { VaultRecordLog } from "./vault-workload-records.ts";

const [command, argument] = process.argv.slice(2);
if (argument === undefined)
  throw new Error("usage: vault-workload-main.ts run <options> | rows <database>");
if (command === "rows") {
  const rows = withDatabaseCopy(argument, (_path, database) => readRows(database));
  process.stdout.write(JSON.stringify(rows));
} else {
  await work(JSON.parse(argument) as VaultWorkloadOptions);
}

async function work(options: VaultWorkloadOptions): Promise<void> {
  let stopped = false;
  const report = (message: VaultWorkloadReport): void => void process.send?.(message);
  // Nobody is left to stop it.
  process.on("disconnect", () => process.exit());
  process.on("message", () => {
    stopped = true;
  });

  const log = new VaultRecordLog(options.recordsPath);
  // A new life goes other ways than the one before.
  const prng = createPrng((options.seed ^ log.records.length) >>> 0);
  const client = await loginOrRegister(options.account);
  const operations = new VaultOperations(client, prng, log, options.fileBytesMax ?? 50_000);
  await operations.adopt();
  report({ type: "ready" });

  let reason: "stopped" | "unreachable" = "stopped";
  const pauseMs = options.pauseMs ?? 0;
  while (!stopped) {
    try {
      await operations.next();
    } catch (error) {
      if (!(error instanceof VaultClientError)) {
        if (!isConnectionError(error)) throw error;
        reason = "unreachable";
        break;
      }
      report({ type: "refused", message: error.message });
    }
    report({ type: "progress", acknowledged: operations.count });
    if (pauseMs > 0) await sleepMs(pauseMs);
  }
  log.close();
  process.send?.({ type: "ended", reason } satisfies VaultWorkloadReport, () =>
    process.disconnect(),
  );
}

/** The account may have been registered by a life before, and its registration may have been lost since. */
async function loginOrRegister(account: VaultAccount): Promise<VaultClient> {
  try {
    return await login(account);
  } catch (error) {
    if (!(error instanceof VaultClientError) || error.status !== 400) throw error;
    return registerAndLogin(account);
  }
}

/** `fetch` says so with a TypeError, whose cause is the socket's. */
function isConnectionError(error: unknown): boolean {
  return error instanceof TypeError && error.cause !== undefined;
}

function readRows(database: Database.Database): StoredRow[] {
  const all = (sql: string) => database.prepare<[], Record<string, string>>(sql).all();
  const named = (kind: StoredRow["kind"], { uuid = "", name = "" }): StoredRow => ({
    kind,
    id: uuid,
    sha256: createHash("sha256").update(name).digest("hex"),
  });
  return [
    ...all("SELECT uuid, name FROM ciphers").map((row) => named("item", row)),
    ...all("SELECT uuid, name FROM sends WHERE atype = 0").map((row) => named("text-send", row)),
    ...all("SELECT id, cipher_uuid FROM attachments").map(
      ({ id = "", cipher_uuid }): StoredRow => ({
        kind: "attachment",
        id,
        file: `${cipher_uuid}/${id}`,
      }),
    ),
    ...all("SELECT uuid, data ->> 'id' AS file_id FROM sends WHERE atype = 1").map(
      ({ uuid = "", file_id }): StoredRow => ({
        kind: "file-send",
        id: uuid,
        file: `${uuid}/${file_id}`,
      }),
    ),
  ];
}
