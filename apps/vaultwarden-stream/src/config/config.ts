import type { UploadLimits } from "wal-replicator";
import type { ConfigProblem } from "./config-problem.ts";
import { ConfigReader } from "./config-reader.ts";
import type { Environment, ReadTextFile } from "./environment.ts";
import { settleLimits } from "./limits.ts";
import { isLoopback, type ListenAddress } from "./listen-address.ts";
import { assembleStore, type StoreConfig } from "./store-config.ts";
import { settleTimings } from "./timings.ts";
import { variables } from "./variables.ts";

export type { Environment } from "./environment.ts";

/**
 * The configuration, from the environment. Everything that is wrong is found in one reading and before anything is started, read
 * from the store or written. Empty is unset, except where it means something (`S3_PREFIX=`) or an accident must not choose
 * (`NODE_ROLE=`).
 */
export interface Config extends StoreConfig {
  /** Which side goes on when both have what the other lacks. */
  readonly onDivergence: "stop" | "local" | "remote";
  /** Serverless: another machine is never waited for, since one instance follows the other; and the grace period is short. */
  readonly deploymentMode: "persistent" | "serverless";
  readonly limits: UploadLimits;
  readonly syncIntervalMs: number;
  readonly snapshotIntervalMs: number;
  /** How far recovery points reach back, database and files alike; at least `snapshotIntervalMs`. */
  readonly retentionMs: number;
  /** Between two restore drills; 0: none. */
  readonly drillIntervalMs: number;
  readonly files: FilesConfig;
  readonly health: {
    /** Database or files that lag longer are unhealthy; at least twice `files.lookIntervalMs`. */
    readonly maxSyncAgeMs: number;
  };
  readonly statusHttp: ListenAddress & {
    /** Secret. Never undefined if other machines can connect. */
    readonly token: string | undefined;
  };
  /** Budget for shipping the tail after the vault has ended; at most `shutdownTimeoutMs`. */
  readonly tailTimeoutMs: number;
  /** The platform's whole grace period. */
  readonly shutdownTimeoutMs: number;
  readonly vaultwardenBin: string | undefined;
  /** Where the predecessor's settings say that the database is; only ever compared. */
  readonly litestreamDbPath: string | undefined;
  readonly logLevel: "error" | "warn" | "info" | "debug";
  readonly logFormat: "text" | "json";
}

interface FilesConfig {
  /** Which trees are stored and restored. `config`: config.json, the key that signs logins, and templates. */
  readonly include: {
    readonly attachments: boolean;
    readonly sends: boolean;
    readonly config: boolean;
    readonly iconCache: boolean;
  };
  /** The stored key may be replaced by another one. */
  readonly acceptsNewKey: boolean;
  /** Longest time between two looks at them. */
  readonly lookIntervalMs: number;
  /** Budget for the last push after the vault has ended; at most `shutdownTimeoutMs`. */
  readonly pushTimeoutMs: number;
}

export interface ConfigReading {
  /** Undefined if there are errors. */
  readonly config: Config | undefined;
  readonly errors: readonly ConfigProblem[];
  readonly warnings: readonly ConfigProblem[];
}

export function readConfig(environment: Environment, readTextFile: ReadTextFile): ConfigReading {
  const reader = new ConfigReader(environment, readTextFile);
  for (const variable of variables) reader.read(variable);
  reader.refuseLaterParts();
  reader.warnOfTailscale();
  reader.warnOfAliases();
  reader.warnOfUnknownNames();
  const store = assembleStore(reader);
  const { timings, warnings: timingWarnings } = settleTimings(reader);
  const { limits, ...limitProblems } = settleLimits(reader, environment);
  const errors = [
    ...reader.errors,
    ...store.errors,
    ...limitProblems.errors,
    ...findOpenStatus(reader),
  ];
  const warnings = [
    ...reader.warnings,
    ...store.warnings,
    ...timingWarnings,
    ...limitProblems.warnings,
  ];
  if (errors.length > 0 || store.config === undefined) {
    return { config: undefined, errors, warnings };
  }
  const { lookIntervalMs, pushTimeoutMs, maxSyncAgeMs, ...times } = timings;
  return {
    errors,
    warnings,
    config: {
      ...store.config,
      ...times,
      limits,
      onDivergence: reader.value("ON_DIVERGENCE") as Config["onDivergence"],
      deploymentMode: reader.value("DEPLOYMENT_MODE") as Config["deploymentMode"],
      syncIntervalMs: reader.value("REPLICATION_SYNC_INTERVAL") as number,
      drillIntervalMs: reader.value("RESTORE_DRILL_INTERVAL") as number,
      files: {
        include: {
          attachments: reader.value("SYNC_INCLUDE_ATTACHMENTS") as boolean,
          sends: reader.value("SYNC_INCLUDE_SENDS") as boolean,
          config: reader.value("SYNC_INCLUDE_CONFIG") as boolean,
          iconCache: reader.value("SYNC_INCLUDE_ICON_CACHE") as boolean,
        },
        acceptsNewKey: reader.value("SYNC_ACCEPT_NEW_KEY") as boolean,
        lookIntervalMs,
        pushTimeoutMs,
      },
      health: { maxSyncAgeMs },
      statusHttp: {
        ...(reader.value("STATUS_LISTEN") as ListenAddress),
        token: reader.value("STATUS_TOKEN") as string | undefined,
      },
      vaultwardenBin: reader.value("VAULTWARDEN_BIN") as string | undefined,
      litestreamDbPath: reader.value("LITESTREAM_DB_PATH") as string | undefined,
      logLevel: reader.value("STREAM_LOG_LEVEL") as Config["logLevel"],
      logFormat: reader.value("STREAM_LOG_FORMAT") as Config["logFormat"],
    },
  };
}

/** The status names the store and its objects: nothing for everybody on the network. */
function findOpenStatus(reader: ConfigReader): readonly ConfigProblem[] {
  const address = reader.value("STATUS_LISTEN") as ListenAddress | undefined;
  if (address === undefined || isLoopback(address.host) || reader.isGiven("STATUS_TOKEN"))
    return [];
  return [
    {
      name: "STATUS_TOKEN",
      reason: `other machines can reach STATUS_LISTEN (${address.host}), so the status needs a secret`,
      remedy: "set STATUS_TOKEN_FILE=<file>, or let STATUS_LISTEN begin with 127.0.0.1",
    },
  ];
}
