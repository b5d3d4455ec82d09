const units: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
};

/**
 * A size as people and rclone write it: `10M`, `1.5GiB`, `500kb`; powers of 1024. `0` and `off` are none, which is Infinity: as much as you like.
 *
 * @param plainUnit - what a number without a unit counts: `` bytes, `k` KiB.
 * @returns undefined if the text is no size.
 */
export function parseBytes(text: string, plainUnit: "" | "k" = ""): number | undefined {
  if (/^(0|off)$/i.test(text)) return Number.POSITIVE_INFINITY;
  const match = /^(\d+(?:\.\d+)?) ?([kmgt]?)(i?b)?$/i.exec(text);
  if (match === null) return undefined;
  const [, amount, unit = "", suffix = ""] = match;
  const factor = units[unit === "" && suffix === "" ? plainUnit : unit.toLowerCase()];
  const bytes = Math.round(Number(amount) * (factor ?? Number.NaN));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}
