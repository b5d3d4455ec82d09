/** Prometheus' text format, 0.0.4. */
export interface Family {
  /** Without the prefix. */
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge";
  readonly samples: readonly Sample[];
}

export interface Sample {
  readonly labels?: Readonly<Record<string, string>>;
  /** What is not known (null) is left out, and never said to be 0. */
  readonly value: number | null;
}

const prefix = "vaultwarden_stream_";

/** @returns the text; a family without a known sample is left out. */
export function formatFamilies(families: readonly Family[]): string {
  return families.map(formatFamily).join("");
}

function formatFamily({ name, help, type, samples }: Family): string {
  const known = samples.filter(({ value }) => value !== null);
  if (known.length === 0) return "";
  const lines = known.map(
    ({ labels, value }) => `${prefix}${name}${formatLabels(labels)} ${value}\n`,
  );
  return `# HELP ${prefix}${name} ${help}\n# TYPE ${prefix}${name} ${type}\n${lines.join("")}`;
}

function formatLabels(labels: Sample["labels"]): string {
  if (labels === undefined) return "";
  const quoted = (text: string): string =>
    text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${quoted(value)}"`);
  return `{${pairs.join(",")}}`;
}
