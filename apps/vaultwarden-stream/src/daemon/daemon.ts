import { exitCodes } from "wal-replicator/command-line";
import { appVersion } from "../app-version.ts";
import { endOrphanedServer, refuseIfInUse } from "./exclusive-use.ts";
import { identifyProcess } from "./process-identity.ts";
import { StatusFile } from "./status-file.ts";
import { createStatusServer } from "./status-http.ts";
import { StreamCounters } from "./stream-counters.ts";
import { VaultLife, type VaultLifeOptions } from "./vault-life.ts";
import { describeStore, requireAnswer } from "./vault-store.ts";

/**
 * The life of a vault: database made ready, stream anchored, server started; then whatever ends first, and the end.
 *
 * @param stop - aborted when we are asked to end.
 * @returns the exit code.
 * @throws what kept it from starting, or ended the stream. Then the server was never started, or has been stopped.
 */
export async function runDaemon(options: VaultLifeOptions, stop: AbortSignal): Promise<number> {
  const { config, settings, log } = options;
  const { database } = settings;
  await endOrphanedServer(database, settings.stopGraceMs, log);
  refuseIfInUse(database);

  const status = new StatusFile(
    {
      daemon: identifyProcess(process.pid),
      url: settings.url,
      aliveUrl: settings.aliveUrl,
      syncAgeMsMax: config.health.maxSyncAgeMs,
      database,
      store: describeStore(config.store),
    },
    (error) => log.warn(`the status file cannot be written: ${(error as Error).message}`),
  );
  status.update({});
  const counters = new StreamCounters();
  const { host, port, token } = config.statusHttp;
  const statusServer = await createStatusServer({
    listen: { host, port },
    token,
    read: () => status.current,
    counters,
    version: appVersion(),
    log,
  });
  if (statusServer.url !== undefined) log.info(`status over HTTP: ${statusServer.url}/status`);
  try {
    if (config.mustAnswer) await requireAnswer(config.store, stop);
    return await new VaultLife(options, { status, counters }, stop).run();
  } catch (error) {
    if (stop.aborted && error === stop.reason) {
      status.update({ status: "shutdown" });
      log.info("asked to end before the vault was started; nothing was left unfinished");
      return exitCodes.done;
    }
    const { code, message } = error as { code?: unknown; message?: unknown };
    const failure = { code: String(code), message: String(message) };
    status.update({ status: "error", server: null, failure });
    throw error;
  } finally {
    await statusServer.close();
  }
}
