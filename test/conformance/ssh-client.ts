import { text } from 'node:stream/consumers'
import { otherClient } from '../../conformance/index.ts'
import type { OtherClientRequest } from '../../conformance/index.ts'
import { sshApi } from './ssh-api.ts'

// As other-client.ts, for hosts behind SSH.
const request = JSON.parse(await text(process.stdin)) as OtherClientRequest
await otherClient(sshApi, request)
