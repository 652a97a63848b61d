import type { AnyCommand } from './command.ts'
import { optionName } from './command.ts'
import { verbGroups } from './verb-heads.ts'

/** A script that completes verbs, options and names of sandboxes, made from the same data as the parser. */
export function completionScript(shell: 'bash' | 'zsh' | 'fish', commands: readonly AnyCommand[]): string {
  return { bash, zsh, fish }[shell](commands)
}

function optionsOf(command: AnyCommand): readonly string[] {
  return [...Object.keys(command.options).map((key) => `--${optionName(key)}`), '--help']
}

/** What lists the names that a placeholder stands for. */
const LISTS: Readonly<Record<string, string>> = {
  SANDBOX: 'anyplace ps -q',
  KEY: 'anyplace keys list -q',
  NODE: 'anyplace nodes list -q',
}

/** The call that lists what a verb's words can be. */
function listOf(command: AnyCommand): string | undefined {
  return Object.values(command.arguments).flatMap(({ placeholder }) => LISTS[placeholder] ?? [])[0]
}

interface Group {
  readonly name: string
  readonly summary: string
  readonly verbs: readonly AnyCommand[]
}

/** Groups such as `keys`, each with its verbs. */
function groupsOf(commands: readonly AnyCommand[]): readonly Group[] {
  return Object.values(verbGroups).map(({ name, summary }) => ({
    name,
    summary,
    verbs: commands.filter((command) => command.name.startsWith(`${name} `)),
  }))
}

/** The first words there are: verbs that stand alone, and groups. */
function firstWords(commands: readonly AnyCommand[]): readonly { readonly name: string; readonly summary: string }[] {
  return [...commands.filter(({ name }) => !name.includes(' ')), ...groupsOf(commands)]
}

function lastWord({ name }: AnyCommand): string {
  return name.slice(name.lastIndexOf(' ') + 1)
}

function choicesOf(command: AnyCommand): readonly string[] {
  return Object.values(command.arguments).flatMap(({ choices }) => choices ?? [])
}

function bash(commands: readonly AnyCommand[]): string {
  const cases = commands
    .map((command) => {
      const list = listOf(command)
      const names = list === undefined ? choicesOf(command).join(' ') : `$(${list} 2>/dev/null)`
      return `    "${command.name}")\n      options="${optionsOf(command).join(' ')}"\n      words="${names}" ;;`
    })
    .join('\n')
  const groups = groupsOf(commands)
    .map(({ name, verbs }) => `    ${name}) words="${verbs.map(lastWord).join(' ')}" ;;`)
    .join('\n')
  return `# bash completion for anyplace
_anyplace() {
  local current="\${COMP_WORDS[COMP_CWORD]}" options="" words="" verb="\${COMP_WORDS[1]}" index
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${firstWords(commands)
      .map(({ name }) => name)
      .join(' ')} help --help --version" -- "$current"))
    return
  fi
  for ((index = 1; index < COMP_CWORD; index++)); do
    [ "\${COMP_WORDS[index]}" = "--" ] && { COMPREPLY=($(compgen -o default -- "$current")); return; }
  done
  case "$verb" in
${groups}
  esac
  if [ -n "$words" ]; then
    if [ "$COMP_CWORD" -eq 2 ]; then
      COMPREPLY=($(compgen -W "$words" -- "$current"))
      return
    fi
    words=""
    verb="$verb \${COMP_WORDS[2]}"
  fi
  case "$verb" in
${cases}
  esac
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$options" -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
  esac
}
complete -o default -F _anyplace anyplace
`
}

function zsh(commands: readonly AnyCommand[]): string {
  const described = (name: string, summary: string): string => singleQuote(`${name}:${summary.replaceAll(':', '\\:')}`)
  const verbs = firstWords(commands)
    .map(({ name, summary }) => `    ${described(name, summary)}`)
    .join('\n')
  const groups = groupsOf(commands)
    .map(
      (group) =>
        `    ${group.name}) inner=(${group.verbs.map((verb) => described(lastWord(verb), verb.summary)).join(' ')}) ;;`,
    )
    .join('\n')
  const cases = commands
    .map((command) => {
      const options = Object.entries(command.options)
        .map(([key, { summary }]) => singleQuote(`--${optionName(key)}:${summary.replaceAll(':', '\\:')}`))
        .join(' ')
      const list = listOf(command)
      const words =
        list === undefined
          ? `candidates=(${choicesOf(command).join(' ')})`
          : `candidates=(\${(f)"$(${list} 2>/dev/null)"})`
      return `    ${singleQuote(command.name)})\n      options=(${options})\n      ${words} ;;`
    })
    .join('\n')
  return `#compdef anyplace
# zsh completion for anyplace
_anyplace() {
  local -a verbs inner options candidates
  verbs=(
${verbs}
  )
  local verb=$words[2]
  if (( CURRENT == 2 )); then
    _describe verb verbs
    return
  fi
  case $verb in
${groups}
  esac
  if (( $#inner )); then
    if (( CURRENT == 3 )); then
      _describe verb inner
      return
    fi
    verb="$verb $words[3]"
  fi
  local behind=$words[(I)--]
  if (( behind > 0 && behind < CURRENT )); then
    _files
    return
  fi
  local current=$words[CURRENT]
  case $verb in
${cases}
  esac
  if [[ $current == -* ]]; then
    _describe option options
  elif (( $#candidates )); then
    compadd -a candidates
  else
    _files
  fi
}
if [ "$funcstack[1]" = "_anyplace" ]; then
  _anyplace "$@"
else
  compdef _anyplace anyplace
fi
`
}

function fish(commands: readonly AnyCommand[]): string {
  const first = firstWords(commands)
  const lines = [
    '# fish completion for anyplace',
    `set -l verbs ${first.map(({ name }) => name).join(' ')}`,
    ...first.map(
      ({ name, summary }) =>
        `complete -c anyplace -f -n "not __fish_seen_subcommand_from $verbs" -a ${name} -d ${singleQuoteFish(summary)}`,
    ),
  ]
  for (const { name: group, verbs } of groupsOf(commands)) {
    const inner = verbs.map(lastWord).join(' ')
    for (const verb of verbs) {
      lines.push(
        `complete -c anyplace -f -n "__fish_seen_subcommand_from ${group}; and not __fish_seen_subcommand_from ${inner}" ` +
          `-a ${lastWord(verb)} -d ${singleQuoteFish(verb.summary)}`,
      )
    }
  }
  for (const command of commands) {
    const seen = `-n "${command.name
      .split(' ')
      .map((word) => `__fish_seen_subcommand_from ${word}`)
      .join('; and ')}"`
    for (const [key, option] of Object.entries(command.options)) {
      const short = option.short === undefined ? '' : ` -s ${option.short}`
      const value = option.kind === 'flag' ? '' : ' -r'
      lines.push(
        `complete -c anyplace ${seen}${short} -l ${optionName(key)}${value} -d ${singleQuoteFish(option.summary)}`,
      )
    }
    const list = listOf(command)
    if (list !== undefined) lines.push(`complete -c anyplace -f ${seen} -a "(${list} 2>/dev/null)"`)
    const choices = choicesOf(command)
    if (choices.length > 0) lines.push(`complete -c anyplace -f ${seen} -a "${choices.join(' ')}"`)
  }
  return `${lines.join('\n')}\n`
}

function singleQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

function singleQuoteFish(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
