import { readFile } from 'node:fs/promises'

const texts = new Map<string, Promise<string>>()

/** The text of a file that this package ships beside its modules: `packageText(new URL('./setup.py', import.meta.url))`. Read once. */
export function packageText(url: URL): Promise<string> {
  let text = texts.get(url.href)
  if (text === undefined) {
    text = readFile(url, 'utf8')
    texts.set(url.href, text)
    text.catch(() => texts.delete(url.href))
  }
  return text
}
