import { defineCommand, flag, value } from '../command.ts'
import { parseText } from '../parse-values.ts'
import { askYes, canAsk } from '../prompt.ts'
import { removeEach } from '../remove-each.ts'
import { given } from '../sandbox-request.ts'
import { jsonOption } from '../shared-options.ts'
import { table } from '../table.ts'
import { usageError } from '../usage-error.ts'
import { heads } from '../verb-heads.ts'

const hostArgument = {
  placeholder: 'HOST',
  summary: 'a node, or host, host:port, user@host:port',
  presence: 'required',
} as const

export const hostsTrustCommand = defineCommand({
  ...heads['hosts trust'],
  details:
    'Connects as far as the keys of the host, tells it nothing, and shows their SHA256 fingerprints. Compare them with those ' +
    'of the host itself (there: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub). From then on only these keys are taken. A ' +
    'key that has changed is refused until the old one is removed. Your own known_hosts files are read, never written.',
  examples: [
    { command: 'anyplace hosts trust gpu-box', summary: 'shows the fingerprints and asks' },
    { command: 'anyplace hosts trust gpu.example.com:2222 --fingerprint SHA256:…', summary: 'in a script' },
  ],
  otherOptions: { force: 'remove the old key first: anyplace hosts rm HOST' },
  arguments: { host: hostArgument },
  options: {
    fingerprint: value('SHA256:…', 'pin the key with this fingerprint, and no other', parseText),
    yes: flag('pin what it shows without asking: only on a network that nobody else is on', 'y'),
    ...jsonOption,
  },
  async run({ arguments: { host }, options, io, reporter, api }) {
    if (options.yes && options.fingerprint !== undefined) {
      throw usageError('--yes and --fingerprint are both given.', 'keep --fingerprint')
    }
    const { trustHost } = await api()
    const asks = !options.yes && canAsk(io) && !reporter.json
    const trusted = await trustHost(host, {
      ...given('fingerprint', options.fingerprint),
      signal: io.signal,
      ...(options.yes ? { confirm: () => true } : {}),
      ...(asks
        ? {
            confirm: async (scan) => {
              reporter.note(`${scan.host} shows these keys:`)
              for (const { type, fingerprint } of scan.keys) {
                const remark = scan.knownToSsh.includes(fingerprint) ? '  (in your known_hosts)' : ''
                reporter.note(`  ${type} ${fingerprint}${remark}`)
              }
              return askYes(io, 'Are they those of the host?')
            },
          }
        : {}),
    })
    const text = trusted.added.map(({ type, fingerprint }) => `${trusted.host} ${type} ${fingerprint}\n`).join('')
    if (text === '') reporter.note(`${trusted.host} was trusted already`)
    await reporter.result({ host: trusted.host, added: trusted.added }, text)
  },
})

export const hostsListCommand = defineCommand({
  ...heads['hosts list'],
  examples: [{ command: 'anyplace hosts list', summary: 'what Anyplace trusts beside your own known_hosts' }],
  arguments: {},
  options: { ...jsonOption },
  async run({ reporter, api }) {
    const { listHosts } = await api()
    const hosts = await listHosts()
    const text =
      hosts.length === 0
        ? 'No pinned hosts. Pin one: anyplace hosts trust HOST\n'
        : table(
            ['HOST', 'TYPE', 'FINGERPRINT'],
            hosts.map(({ host, type, fingerprint }) => [host, type, fingerprint]),
          )
    await reporter.result({ hosts }, text)
  },
})

export const hostsRmCommand = defineCommand({
  ...heads['hosts rm'],
  examples: [{ command: 'anyplace hosts rm gpu-box', summary: 'after its owner has told that its key has changed' }],
  arguments: { hosts: { ...hostArgument, presence: 'one-or-more' } },
  options: { ...jsonOption },
  async run({ arguments: { hosts }, io, reporter, api }) {
    const { untrustHost } = await api()
    return removeEach(hosts, 'host', (host) => untrustHost(host, { signal: io.signal }), io, reporter)
  },
})
