/** A law does not hold. The simulation's seed says how to see it again. */
export class LawBroken extends Error {
  override readonly name = "LawBroken";
}
