/** A value that cannot be read. The parser adds which option or argument it was. */
export class ValueFault extends Error {
  /** A right value, for the hint. */
  readonly example: string

  constructor(message: string, example: string) {
    super(message)
    this.example = example
  }
}
