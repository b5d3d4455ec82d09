/** The little of XML that errors and bulk deletes are written in: elements without attributes inside of one root, and escaped text. */

/** The content of each element of the name, in order. */
export function findElements(xml: string, name: string): string[] {
  const pattern = new RegExp(`<${name}>([\\s\\S]*?)</${name}>`, "g");
  return [...xml.matchAll(pattern)].map(([, content]) => content as string);
}

/** The text of the first element of the name. */
export function findText(xml: string, name: string): string | undefined {
  const text = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1];
  return text === undefined ? undefined : unescapeXml(text);
}

export function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function unescapeXml(text: string): string {
  return text.replace(
    /&(?:(lt|gt|quot|apos|amp)|#(\d{1,6})|#x([0-9a-fA-F]{1,5}));/g,
    (_, name?: string, decimal?: string, hex?: string) => {
      if (name !== undefined) return entities[name] as string;
      return String.fromCodePoint(
        decimal === undefined ? Number.parseInt(hex as string, 16) : Number(decimal),
      );
    },
  );
}

const entities: Readonly<Record<string, string>> = {
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  amp: "&",
};
