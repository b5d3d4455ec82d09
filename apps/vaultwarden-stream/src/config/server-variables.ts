import { serverVariableTable } from "./server-variable-table.ts";

/**
 * A setting of Vaultwarden: for `.env.example`, and to judge whether the server would accept a `config.json`, which it drops as a whole if one
 * value has the wrong type.
 */
export interface ServerVariable {
  readonly name: string;
  readonly group: string;
  readonly type: ServerType;
  /** As in the image; undefined: unset. */
  readonly defaultText: string | undefined;
  /** The admin page can change it, and saves it to `config.json`. */
  readonly isEditable: boolean;
  /** In words; settings that stand beside one another may share one text. */
  readonly meaning: string;
}

/** Integers are as Rust names them. `environment`: read from the environment only, no key of `config.json`. */
export type ServerType = "environment" | "text" | "boolean" | ServerIntegerType;
export type ServerIntegerType = "u8" | "u16" | "u32" | "u64" | "i32" | "i64";

export const serverVariables: readonly ServerVariable[] = parseTable();

function parseTable(): readonly ServerVariable[] {
  const found: ServerVariable[] = [];
  let [group, meaning] = ["", ""];
  for (const line of serverVariableTable.split("\n")) {
    if (line.startsWith("## ")) group = line.slice(3);
    else if (line.startsWith("# ")) meaning = line.slice(2);
    else if (line !== "") {
      const [marked = "", type = "", ...rest] = line.split(" ");
      found.push({
        name: marked.replace("*", ""),
        group,
        type: type as ServerType,
        defaultText: rest.length === 0 ? undefined : rest.join(" "),
        isEditable: marked.endsWith("*"),
        meaning,
      });
    }
  }
  return found;
}

/** Known to the server, and so judged in `config.json`, but not meant for users. */
const internalTypes: Readonly<Record<string, ServerType>> = {
  DOMAIN_SET: "boolean",
  DOMAIN_ORIGIN: "text",
  DOMAIN_PATH: "text",
  SSO_CALLBACK_PATH: "text",
  _DUO_AKEY: "text",
  _ENABLE_DUO: "boolean",
  _ENABLE_EMAIL_2FA: "boolean",
  _ENABLE_SMTP: "boolean",
  _ENABLE_YUBICO: "boolean",
  _ICON_SERVICE_CSP: "text",
  _ICON_SERVICE_URL: "text",
  _IP_HEADER_ENABLED: "boolean",
  _MAX_NOTE_SIZE: "u64",
  _SMTP_IMG_SRC: "text",
};

/** Types of the keys that `config.json` may have, by their names there. */
export const configFileTypes: ReadonlyMap<string, Exclude<ServerType, "environment">> = new Map(
  [
    ...serverVariables.map(({ name, type }) => [name, type] as const),
    ...Object.entries(internalTypes),
  ].flatMap(([name, type]) =>
    type === "environment" ? [] : [[name.toLowerCase(), type] as const],
  ),
);

/** Settings of releases before 1.31.0, without effect since then. */
export const goneServerVariables: readonly string[] = [
  "WEBSOCKET_ENABLED",
  "WEBSOCKET_ADDRESS",
  "WEBSOCKET_PORT",
];
