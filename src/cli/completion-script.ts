import type { AnyCommand } from './command.ts'
import { optionName } from './command.ts'

/** A script that completes verbs, options and names of sandboxes, made from the same data as the parser. */
export function completionScript(shell: 'bash' | 'zsh' | 'fish', commands: readonly AnyCommand[]): string {
  return { bash, zsh, fish }[shell](commands)
}

function optionsOf(command: AnyCommand): readonly string[] {
  return [...Object.keys(command.options).map((key) => `--${optionName(key)}`), '--help']
}

/** Verbs whose words are names of sandboxes. */
function takesSandbox(command: AnyCommand): boolean {
  return Object.values(command.arguments).some(({ placeholder }) => placeholder === 'SANDBOX')
}

function choicesOf(command: AnyCommand): readonly string[] {
  return Object.values(command.arguments).flatMap(({ choices }) => choices ?? [])
}

function bash(commands: readonly AnyCommand[]): string {
  const cases = commands
    .map((command) => {
      const words = choicesOf(command).join(' ')
      const names = takesSandbox(command) ? '$(anyplace ps -q 2>/dev/null)' : words
      return `    ${command.name})\n      options="${optionsOf(command).join(' ')}"\n      words="${names}" ;;`
    })
    .join('\n')
  return `# bash completion for anyplace
_anyplace() {
  local current="\${COMP_WORDS[COMP_CWORD]}" options="" words="" index
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(' ')} help --help --version" -- "$current"))
    return
  fi
  for ((index = 1; index < COMP_CWORD; index++)); do
    [ "\${COMP_WORDS[index]}" = "--" ] && { COMPREPLY=($(compgen -o default -- "$current")); return; }
  done
  case "\${COMP_WORDS[1]}" in
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
  const verbs = commands.map(({ name, summary }) => `    ${singleQuote(`${name}:${summary}`)}`).join('\n')
  const cases = commands
    .map((command) => {
      const options = Object.entries(command.options)
        .map(([key, { summary }]) => singleQuote(`--${optionName(key)}:${summary.replaceAll(':', '\\:')}`))
        .join(' ')
      const words = takesSandbox(command)
        ? 'candidates=(${(f)"$(anyplace ps -q 2>/dev/null)"})'
        : `candidates=(${choicesOf(command).join(' ')})`
      return `    ${command.name})\n      options=(${options})\n      ${words} ;;`
    })
    .join('\n')
  return `#compdef anyplace
# zsh completion for anyplace
_anyplace() {
  local -a verbs options candidates
  verbs=(
${verbs}
  )
  local verb=$words[2]
  if (( CURRENT == 2 )); then
    _describe verb verbs
    return
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
  const names = commands.map(({ name }) => name).join(' ')
  const lines = [
    '# fish completion for anyplace',
    `set -l verbs ${names}`,
    ...commands.map(
      ({ name, summary }) =>
        `complete -c anyplace -f -n "not __fish_seen_subcommand_from $verbs" -a ${name} -d ${singleQuoteFish(summary)}`,
    ),
  ]
  for (const command of commands) {
    const seen = `-n "__fish_seen_subcommand_from ${command.name}"`
    for (const [key, option] of Object.entries(command.options)) {
      const short = option.short === undefined ? '' : ` -s ${option.short}`
      const value = option.kind === 'flag' ? '' : ' -r'
      lines.push(
        `complete -c anyplace ${seen}${short} -l ${optionName(key)}${value} -d ${singleQuoteFish(option.summary)}`,
      )
    }
    if (takesSandbox(command)) lines.push(`complete -c anyplace -f ${seen} -a "(anyplace ps -q 2>/dev/null)"`)
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
