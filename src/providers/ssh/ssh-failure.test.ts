import { expect, test } from 'vitest'
import { connectFailure } from './ssh-failure.ts'
import type { SshTarget } from './ssh-target.ts'

const TARGET: SshTarget = {
  name: 'gpu-box',
  host: '10.0.0.5',
  port: 2222,
  username: 'ann',
  identity: { kind: 'key', name: 'work', open: () => Promise.reject(new Error('not opened')) },
}

// What OpenSSH 7.6 to 9.9 print.
test.each([
  [
    'No ED25519 host key is known for [10.0.0.5]:2222 and you have requested strict checking.\r\nHost key verification failed.',
    'permission-denied',
    'host-key-unknown',
  ],
  [
    '@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nThe fingerprint for the ED25519 key sent by the remote host is\nSHA256:abc123.\nOffending ED25519 key in /home/ann/.ssh/known_hosts:7\nHost key for [10.0.0.5]:2222 has changed and you have requested strict checking.\nHost key verification failed.',
    'permission-denied',
    'host-key-changed',
  ],
  [
    '@       WARNING: REVOKED HOST KEY DETECTED!               @\nThe ED25519 host key for [10.0.0.5]:2222 is marked as revoked.\nHost key verification failed.',
    'permission-denied',
    'host-key-revoked',
  ],
  ['ann@10.0.0.5: Permission denied (publickey,password).', 'permission-denied', 'key-refused'],
  [
    'Received disconnect from 10.0.0.5 port 2222:2: Too many authentication failures',
    'permission-denied',
    'key-refused',
  ],
  [
    "Permissions 0644 for '/k' are too open.\n@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @\nann@h: Permission denied (publickey).",
    'permission-denied',
    'key-file',
  ],
  ['ssh: Could not resolve hostname gpu: Name or service not known', 'not-found', 'unknown-host'],
  ['ssh: connect to host 10.0.0.5 port 2222: Connection refused', 'connection-lost', 'unreachable'],
  ['ssh: connect to host 10.0.0.5 port 2222: No route to host', 'connection-lost', 'unreachable'],
  ['kex_exchange_identification: read: Connection reset by peer', 'connection-lost', 'unreachable'],
  ['ssh: connect to host 10.0.0.5 port 2222: Connection timed out', 'timeout', 'timeout'],
  ['Connection timed out during banner exchange\r\nConnection to UNKNOWN port 65535 timed out', 'timeout', 'timeout'],
  [
    '/home/ann/.ssh/config: line 3: Bad configuration option: nonsense\n/home/ann/.ssh/config: terminating, 1 bad configuration options',
    'invalid-argument',
    'config',
  ],
] as const)('%j', (stderr, code, cause) => {
  const error = connectFailure(TARGET, undefined, stderr, 255)
  expect(error).toMatchObject({ code, data: { cause }, hint: expect.any(String) as string })
  expect(error.message).toContain('gpu-box')
})

test('words that nobody has seen yet are told, without what moves a terminal', () => {
  const error = connectFailure(TARGET, undefined, 'something \u001b[2J\u0007new', 255)
  expect(error.message).toContain('new')
  // oxlint-disable-next-line no-control-regex -- control characters are what it is about
  expect(error.message).not.toMatch(/[\u0000-\u001f]/)
})
