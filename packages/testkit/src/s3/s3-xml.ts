/** An element's content: text, further elements, or one element of this name for each item. */
export type XmlContent =
  | string
  | number
  | boolean
  | undefined
  | { readonly [name: string]: XmlContent }
  | readonly XmlContent[];

/** A document with the namespace of S3. Elements whose content is `undefined` are left out. */
export function renderXml(name: string, content: XmlContent): string {
  const namespace = name === "Error" ? "" : ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${name}${namespace}>${renderContent(content)}</${name}>`;
}

/** The raw content of each element of this name, in order. Elements of the same name must not be nested. */
export function findElements(xml: string, name: string): string[] {
  const pattern = new RegExp(`<${name}(?:\\s[^>]*)?>([\\s\\S]*?)</${name}>`, "g");
  return [...xml.matchAll(pattern)].map((match) => match[1] ?? "");
}

/** The text of the first element of this name. */
export function findText(xml: string, name: string): string | undefined {
  const raw = findElements(xml, name)[0];
  return raw === undefined ? undefined : unescapeXml(raw);
}

function renderContent(content: XmlContent): string {
  if (content === undefined) return "";
  if (typeof content !== "object") return escapeXml(String(content));
  return Object.entries(content)
    .map(([name, child]) => {
      if (child === undefined) return "";
      const items: readonly XmlContent[] = Array.isArray(child) ? child : [child];
      return items.map((item) => `<${name}>${renderContent(item)}</${name}>`).join("");
    })
    .join("");
}

function escapeXml(text: string): string {
  return text.replace(
    /[&<>"\r]/g,
    (character) =>
      ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[character] ?? "&#13;",
  );
}

function unescapeXml(text: string): string {
  const named: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return text.replace(/&(?:#x([0-9a-fA-F]+)|#(\d+)|(\w+));/g, (whole, hex, decimal, name) => {
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
    if (decimal !== undefined) return String.fromCodePoint(Number(decimal));
    return named[name] ?? whole;
  });
}
