import type { Readable } from 'node:stream'

/** All of a short stream as text. */
export async function readableText(stream: Readable): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}
