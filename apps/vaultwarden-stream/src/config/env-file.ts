import type { Environment } from "./environment.ts";

/**
 * Reads an `ENV_FILE` with the rules of Vaultwarden's own reader (the Rust crate dotenvy), which differ from Node's: `$NAME` and `${NAME}`
 * stand for other variables, the first of two equal names wins, and one bad line makes the whole file unusable. A path that we read
 * otherwise than the server would be a database that nobody streams.
 *
 * ```
 * [export] NAME = value   # comment
 * value: pieces without space between; 'as it is'  "with \\ \" \' \$ \n and $NAME"  bare with \escapes, ${NAME} and $NAME
 * ```
 *
 * @param environment - of the process; it comes first where a value refers to a name.
 * @throws {EnvFileError} naming the line, and nothing of what is in it.
 */
export function parseEnvFile(text: string, environment: Environment): Environment {
  const values: Record<string, string> = {};
  for (const { line, number } of logicalLines(text.replace(/^\uFEFF/, ""))) {
    const assignment = /^\s*(?:export\s+(?!\s*=))?([A-Za-z_][\w.]*)\s*=\s*(.*)$/s.exec(line);
    if (assignment === null) throw new EnvFileError(number, "it is no NAME=value");
    const [, name = "", rest = ""] = assignment;
    const value = new ValueScanner(
      rest.trimEnd(),
      number,
      (other) => environment[other] ?? values[other] ?? "",
    ).read();
    values[name] ??= value;
  }
  return values;
}

export class EnvFileError extends Error {
  override readonly name = "EnvFileError";

  constructor(lineNumber: number, why: string) {
    super(`line ${lineNumber} cannot be read as the server does: ${why}`);
  }
}

/** Lines that say something; one whose quotes are open goes on in the next. */
function* logicalLines(text: string): Generator<{ line: string; number: number }> {
  let open = "";
  let began = 0;
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (open === "" && /^\s*(#|$)/.test(line)) continue;
    if (open === "") began = index + 1;
    open += open === "" ? line : `\n${line}`;
    if (hasOpenQuote(open)) continue;
    yield { line: open, number: began };
    open = "";
  }
  if (open !== "") throw new EnvFileError(began, "a quote is never closed");
}

function hasOpenQuote(line: string): boolean {
  const pieces = /\\.|'(?:\\.|[^\\'])*'|"(?:\\.|[^\\"])*"|(?<=\s)#.*$|[^'"\\]/gsy;
  let end = 0;
  for (const [piece] of line.matchAll(pieces)) end += piece.length;
  return end < line.length;
}

class ValueScanner {
  readonly #text: string;
  readonly #lineNumber: number;
  readonly #lookUp: (name: string) => string;
  #at = 0;

  constructor(text: string, lineNumber: number, lookUp: (name: string) => string) {
    this.#text = text;
    this.#lineNumber = lineNumber;
    this.#lookUp = lookUp;
  }

  read(): string {
    if (this.#text.startsWith("#")) return "";
    let value = "";
    while (this.#at < this.#text.length) {
      const blank = this.#take(/[ \t]+(#.*)?/sy);
      if (blank !== undefined) {
        if (this.#at < this.#text.length) this.#fail("a value with spaces needs quotes");
        break;
      }
      value += this.#piece();
    }
    return value;
  }

  #piece(): string {
    const literal = this.#take(/'[^']*'/y);
    if (literal !== undefined) return literal.slice(1, -1);
    if (this.#take(/"/y) === undefined) return this.#symbol(/[^'"\\$]/y);
    let value = "";
    while (this.#take(/"/y) === undefined) value += this.#symbol(/[^"\\$]/y);
    return value;
  }

  /** A plain character, an escape, or another variable's value. */
  #symbol(plain: RegExp): string {
    const escaped = this.#take(/\\[\\'"$ n]/y);
    if (escaped !== undefined) return escaped === "\\n" ? "\n" : escaped.slice(1);
    const block = this.#take(/\$\{[^}]*\}/y);
    if (block !== undefined) return this.#lookUp(block.slice(2, -1));
    // Behind a bare name the server's reader takes quotes and spaces for part of the value, which nobody means.
    const name = this.#take(/\$[\p{L}\p{N}]*(?![\p{L}\p{N}'"\\ \t{])/uy);
    if (name !== undefined) return this.#lookUp(name.slice(1));
    return (
      this.#take(plain) ?? this.#fail("a variable's name needs braces, and a quote its second one")
    );
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    this.#at += found?.length ?? 0;
    return found;
  }

  #fail(why: string): never {
    throw new EnvFileError(this.#lineNumber, why);
  }
}
