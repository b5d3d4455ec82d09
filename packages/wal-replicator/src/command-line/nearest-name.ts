import { distance } from "fastest-levenshtein";

/**
 * The known name that a mistyped one was probably meant to be: at most two letters differ, or a third of them.
 *
 * @returns undefined if none is near: a wrong guess is worse than no guess.
 */
export function nearestName(typed: string, known: Iterable<string>): string | undefined {
  let nearest: string | undefined;
  let nearestDistance = Number.POSITIVE_INFINITY;
  for (const name of known) {
    const edits = distance(typed.toLowerCase(), name.toLowerCase());
    // Two letters swapped, the commonest typo, are two edits.
    const editsMax = Math.max(2, Math.floor(Math.max(typed.length, name.length) / 3));
    if (edits <= editsMax && edits < typed.length && edits < nearestDistance) {
      nearest = name;
      nearestDistance = edits;
    }
  }
  return nearest;
}
