import { text } from 'node:stream/consumers'
import { otherClient } from '../../conformance/index.ts'
import type { OtherClientRequest } from '../../conformance/index.ts'
import { attach, gc, list, open, remove } from '../../src/index.ts'

// A client process of its own, for tests that kill, stop or replace one. It reads what to do from stdin.
const request = JSON.parse(await text(process.stdin)) as OtherClientRequest
await otherClient({ open, attach, list, gc, remove }, request)
