import type { AnyCommand } from '../command.ts'
import { attachCommand } from './attach.ts'
import { completionCommand } from './completion.ts'
import { cpCommand } from './cp.ts'
import { doctorCommand } from './doctor.ts'
import { execCommand } from './exec.ts'
import { extendCommand } from './extend.ts'
import { gcCommand } from './gc.ts'
import { killCommand } from './kill.ts'
import { logsCommand } from './logs.ts'
import { openCommand } from './open.ts'
import { portCommand } from './port.ts'
import { psCommand } from './ps.ts'
import { rmCommand } from './rm.ts'
import { runCommand } from './run.ts'
import { shellCommand } from './shell.ts'
import { statsCommand } from './stats.ts'

/** Every verb, in the order of the help. */
export const commands: readonly AnyCommand[] = [
  runCommand,
  openCommand,
  execCommand,
  shellCommand,
  cpCommand,
  portCommand,
  psCommand,
  logsCommand,
  attachCommand,
  statsCommand,
  killCommand,
  extendCommand,
  rmCommand,
  gcCommand,
  doctorCommand,
  completionCommand,
]
