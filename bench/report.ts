import type { Machine } from "./machine.ts";
import type { Figure, Scenario } from "./scenario.ts";

export interface ScenarioResult {
  readonly scenario: Pick<Scenario, "name" | "summary" | "columns">;
  /** Which one, and how far away. */
  readonly store: string;
  readonly seconds: number;
  readonly figures: readonly Figure[];
  /** Why there are no figures. */
  readonly failure?: string;
}

export interface Report {
  readonly startedAt: string;
  readonly machine: Machine;
  readonly quick: boolean;
  readonly stock: string;
  readonly rclone: string;
  readonly store: string;
  readonly results: readonly ScenarioResult[];
}

/** The table of one scenario, with a line for each figure. */
export function formatResult({
  scenario,
  store,
  seconds,
  figures,
  failure,
}: ScenarioResult): string {
  const head = `${scenario.name}, ${store} (${Math.round(seconds)} s): ${scenario.summary}`;
  if (failure !== undefined) return `${head}\n  failed: ${failure}`;
  const columns = scenario.columns ?? ["ours", "stock"];
  const titles = ["", ...columns, "ratio", "bar"];
  const rows: readonly (readonly string[])[] = [
    titles,
    ...figures.map((figure) => toRow(figure, columns.length)),
  ];
  const widths = titles.map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length)),
  );
  const lines = rows.map((row) => {
    const cells = row.map((cell, column) => {
      const width = widths[column] ?? 0;
      return column === 0 || column === titles.length - 1
        ? cell.padEnd(width)
        : cell.padStart(width);
    });
    return `  ${cells.join("  ").trimEnd()}`;
  });
  return [head, ...lines].join("\n");
}

export function formatMachine({
  cores,
  cpu,
  kernel,
  memoryGb,
  fileSystem,
  node,
  load,
}: Machine): string {
  return `${cores} cores (${cpu}), ${memoryGb} GB, kernel ${kernel}, data on ${fileSystem}, Node ${node}, load ${load.toFixed(2)}`;
}

/** @param valueCount - of columns. The ratio is that of the first two. */
function toRow(
  { name, unit, ours, stock, tuned, bar }: Figure,
  valueCount: number,
): readonly string[] {
  // Of plain counts, which are the same by design, a ratio says nothing.
  const hasRatio = unit !== "" && ours !== undefined && stock !== undefined && stock !== 0;
  const ratio = hasRatio ? formatNumber(ours / stock) : "";
  return [
    name,
    ...[ours, stock, tuned].slice(0, valueCount).map((value) => formatValue(value, unit)),
    ratio,
    bar === undefined ? "" : formatBar(bar),
  ];
}

function formatBar({ text, isHeld }: NonNullable<Figure["bar"]>): string {
  if (isHeld === undefined) return `${text}: not known`;
  return `${text}: ${isHeld ? "held" : "MISSED"}`;
}

function formatValue(value: number | undefined, unit: Figure["unit"]): string {
  if (value === undefined) return "–";
  return unit === "" ? formatNumber(value) : `${formatNumber(value)} ${unit}`;
}

function formatNumber(value: number): string {
  if (Number.isInteger(value)) return String(value);
  if (Math.abs(value) >= 100) return value.toFixed(0);
  if (Math.abs(value) >= 10) return value.toFixed(1);
  return value.toFixed(Math.abs(value) >= 1 ? 2 : 3);
}
