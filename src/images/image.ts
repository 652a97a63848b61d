import { AnyplaceError } from '../spec/index.ts'
import { imageReferenceFault } from '../sandboxes/image-reference.ts'

/** What a sandbox starts from. Immutable; made by its static methods. */
export class Image {
  /** What the engine pulls or finds, such as `python:3.12-slim`. */
  readonly reference: string

  private constructor(reference: string) {
    this.reference = reference
    Object.freeze(this)
  }

  /**
   * An image of a registry, or one that the engine has already.
   *
   * @throws AnyplaceError `invalid-argument` when it is not a well-formed reference
   */
  static fromRegistry(reference: string): Image {
    const fault = imageReferenceFault(reference)
    if (fault !== undefined) throw new AnyplaceError('invalid-argument', `Image ${fault}`, { field: 'image' })
    return new Image(reference)
  }

  toString(): string {
    return this.reference
  }

  toJSON(): { readonly reference: string } {
    return { reference: this.reference }
  }
}
