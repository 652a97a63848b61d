/** Everything that moves a terminal's cursor, changes its state or reorders text: C0, DEL, C1, separators and bidirectional marks. */
// oxlint-disable-next-line no-control-regex -- control characters are what it is for
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]+/g

/** Text from the far end, fit for a one-line message: control characters become a space, lone surrogates U+FFFD, long text is cut. */
export function printable(text: string, maxLength: number): string {
  const cut = text.length > maxLength * 2 ? text.slice(0, maxLength * 2) : text
  const clean = cut
    .replace(UNPRINTABLE, ' ')
    .trim()
    .replace(/\p{Surrogate}/gu, '\ufffd')
  return clean.length > maxLength ? `${clean.slice(0, maxLength - 1)}…` : clean
}
