import { join, relative, resolve, sep } from "node:path";
import type { ConfigProblem } from "./config-problem.ts";
import { isInS3, type SettingLookup } from "./setting-lookup.ts";

/** Where the server keeps its files, as absolute paths. Undefined, where it is not said otherwise: in S3, so it is not ours to store. */
export interface ServerPaths {
  readonly dataFolder: string;
  readonly attachments: string | undefined;
  readonly sends: string | undefined;
  readonly iconCache: string | undefined;
  /** The key that signs logins, with `.pem`. */
  readonly rsaKey: string | undefined;
  readonly configFile: string;
  readonly templates: string;
  /** Never stored, even inside another tree; so are `logFile` and `webVault`. None of the trees above lies in one of the three. */
  readonly tmp: string;
  /** Undefined: it writes none. */
  readonly logFile: string | undefined;
  /** Undefined: it has none. */
  readonly webVault: string | undefined;
}

export function findServerPaths(lookup: SettingLookup): {
  readonly paths: ServerPaths;
  readonly errors: readonly ConfigProblem[];
  readonly warnings: readonly ConfigProblem[];
} {
  const finder = new PathFinder(lookup);
  const paths = finder.find();
  return { paths, errors: finder.errors, warnings: finder.warnings };
}

class PathFinder {
  readonly errors: ConfigProblem[] = [];
  readonly warnings: ConfigProblem[] = [];
  readonly #lookup: SettingLookup;
  readonly #dataFolder: string;

  constructor(lookup: SettingLookup) {
    this.#lookup = lookup;
    this.#dataFolder = lookup.text("DATA_FOLDER") ?? "data";
  }

  find(): ServerPaths {
    if (isInS3(this.#dataFolder)) {
      this.errors.push({
        name: "DATA_FOLDER",
        value: this.#dataFolder,
        reason: "the database cannot lie in S3",
        remedy: "name a directory, and set ATTACHMENTS_FOLDER and the others one by one",
      });
    }
    const paths = {
      dataFolder: this.#local("DATA_FOLDER", ""),
      attachments: this.#tree("ATTACHMENTS_FOLDER", "attachments"),
      sends: this.#tree("SENDS_FOLDER", "sends"),
      iconCache: this.#tree("ICON_CACHE_FOLDER", "icon_cache"),
      rsaKey: this.#tree("RSA_KEY_FILENAME", "rsa_key", ".pem"),
      configFile: this.#lookup.configFile,
      templates: this.#local("TEMPLATES_FOLDER", "templates"),
    };
    const neverStored = {
      tmp: this.#local("TMP_FOLDER", "tmp"),
      logFile: this.#optional("LOG_FILE", undefined),
      webVault: this.#optional("WEB_VAULT_FOLDER", "web-vault"),
    };
    this.#refuseIfCovered("TMP_FOLDER", neverStored.tmp, paths);
    this.#refuseIfCovered("WEB_VAULT_FOLDER", neverStored.webVault, paths);
    return { ...paths, ...neverStored };
  }

  /** A tree that builds of the server with S3 can keep there. */
  #tree(name: string, inDataFolder: string, suffix = ""): string | undefined {
    const given = this.#lookup.text(name);
    if (given === undefined || !isInS3(given)) return this.#local(name, inDataFolder, suffix);
    this.warnings.push({
      name,
      value: given,
      reason:
        "it lies in S3 already, so it is neither stored nor restored by us, and has no history",
      remedy: "name a directory if it shall be part of each recovery point",
    });
    return undefined;
  }

  #local(name: string, inDataFolder: string, suffix = ""): string {
    const given = this.#lookup.text(name) ?? join(this.#dataFolder, inDataFolder);
    if (given === "") {
      // It would be the working directory: of all places the root, in the image.
      this.errors.push({
        name,
        value: given,
        reason: "to the server an empty text is a value, and names no place",
        remedy: "remove it, or name a place",
      });
    }
    return this.#lookup.resolve(given + suffix);
  }

  #optional(name: string, standard: string | undefined): string | undefined {
    const given = this.#lookup.text(name) ?? standard;
    return given === undefined || given === "" ? undefined : this.#lookup.resolve(given);
  }

  /** What lies in a place that is never stored would be left out in silence. */
  #refuseIfCovered(
    name: string,
    neverStored: string | undefined,
    paths: Readonly<Record<string, string | undefined>>,
  ): void {
    if (neverStored === undefined || this.errors.some((error) => error.name === name)) return;
    for (const path of Object.values(paths)) {
      if (path === undefined || !isWithin(path, neverStored)) continue;
      this.errors.push({
        name,
        value: neverStored,
        reason: `nothing in it is ever stored, and ${path} lies in it`,
        remedy: "name a folder that holds nothing else",
      });
      return;
    }
  }
}

function isWithin(path: string, directory: string): boolean {
  const [first] = relative(resolve(directory), resolve(path)).split(sep);
  return first !== "..";
}
