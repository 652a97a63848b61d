import type { CommanderError } from 'commander'
import type { AnyplaceError } from '../spec/errors.ts'
import type { AnyCommand } from './command.ts'
import { optionName } from './command.ts'
import { suggest } from '../sandboxes/suggest.ts'
import { usageError } from './usage-error.ts'
import { loadCommands } from './verbs.ts'

/** The parser's own complaint in our words. */
export async function inOurWords(
  error: CommanderError,
  verb: AnyCommand | undefined,
  words: readonly string[],
  group: string | undefined,
): Promise<AnyplaceError> {
  const [first = '', suggestion] = error.message.replace(/^error: /, '').split('\n')
  const prefix = verb?.name ?? group
  const help = prefix === undefined ? 'anyplace --help' : `anyplace ${prefix} --help`
  const meant = /Did you mean (?:one of )?(.+?)\?\)?$/.exec(suggestion ?? '')?.[1]
  const hint = meant === undefined ? `see: ${help}` : `did you mean ${meant}? see: ${help}`
  const quoted = /'([^']*)'/.exec(first)?.[1] ?? ''
  switch (error.code) {
    case 'commander.unknownCommand':
      return usageError(
        `There is no verb ${JSON.stringify(group === undefined ? quoted : `${group} ${quoted}`)}.`,
        hint,
      )
    case 'commander.unknownOption': {
      const name = quoted.split('=')[0] ?? quoted
      const elsewhere = verb?.otherOptions?.[name.replace(/^--/, '')]
      if (elsewhere !== undefined) return usageError(`anyplace ${verb?.name ?? ''} has no option ${name}.`, elsewhere)
      if (verb !== undefined) {
        // The parser's own suggestion misses what is written as --option=value.
        const near = meant ?? suggestOption(name, verb)
        return usageError(
          `anyplace ${verb.name} has no option ${name}.`,
          near === undefined ? hint : `did you mean ${near}? see: ${help}`,
        )
      }
      const commands = await loadCommands()
      if (group !== undefined) return usageError(`anyplace ${group} has no option ${name}.`, hint)
      const isOfVerbs = commands.some(({ options }) =>
        Object.keys(options).some((key) => `--${optionName(key)}` === name),
      )
      const meantVerb = words.find((word) => commands.some((command) => command.name === word)) ?? 'VERB'
      return usageError(
        isOfVerbs ? `The option ${name} belongs behind the verb.` : `anyplace has no option ${name}.`,
        isOfVerbs ? `anyplace ${meantVerb} ${name} …` : hint,
      )
    }
    case 'commander.missingArgument': {
      const placeholder = quoted.toUpperCase()
      const example = verb?.examples[0]
      return usageError(
        `anyplace ${verb?.name ?? ''} needs ${placeholder}.`,
        example === undefined ? `see: ${help}` : `for example: ${example.command}`,
        placeholder,
      )
    }
    case 'commander.excessArguments': {
      const count = verb === undefined ? 0 : Object.keys(verb.arguments).length
      const allowed = count === 0 ? 'no arguments' : count === 1 ? 'one argument' : `${count} arguments`
      return usageError(`anyplace ${verb?.name ?? ''} takes ${allowed}, but more were given.`, `see: ${help}`)
    }
    default:
      return usageError(`${first.slice(0, 1).toUpperCase()}${first.slice(1)}${first.endsWith('.') ? '' : '.'}`, hint)
  }
}

function suggestOption(name: string, verb: AnyCommand): string | undefined {
  return suggest(
    name,
    Object.keys(verb.options).map((key) => `--${optionName(key)}`),
  )
}
