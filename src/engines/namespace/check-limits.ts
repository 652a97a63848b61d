import type { CallOptions, Finding, Machine } from '../../spec/index.ts'
import { newId } from '../../kit/ids.ts'
import { CONTROL_GROUPS, findPython, INSTALL_PYTHON, runScript } from '../sandbox-directory/python.ts'

const SUBJECT = 'cgroups'

/** Whether the namespace engine can hold sandboxes to cpu, memory and process limits on this machine: it is tried. */
export async function checkLimits(machine: Machine, options: CallOptions = {}): Promise<Finding> {
  const unavailable = (message: string, hint: string): Finding => ({
    subject: SUBJECT,
    status: 'warning',
    message,
    hint,
  })
  const { platform } = await machine.facts(options)
  if (platform !== 'linux') return unavailable('control groups are a part of Linux', 'use docker or podman for limits')
  const python = await findPython(machine, options)
  if (python === undefined) return unavailable('cannot be tried without Python 3.9 or later', INSTALL_PYTHON)
  const answer = await runScript(
    machine,
    python,
    [CONTROL_GROUPS, new URL('./try_limits.py', import.meta.url)],
    { id: newId() },
    options,
  )
  const refused = Object.entries(answer).flatMap(([field, why]) =>
    typeof why === 'string' ? [`${field} (${why})`] : [],
  )
  if (refused.length === 0)
    return { subject: SUBJECT, status: 'ok', message: 'namespace sandboxes can have cpu, memory and process limits' }
  return unavailable(
    `namespace sandboxes cannot have ${refused.join(', ')}`,
    'run as root, or in a control group that was handed to this user (systemd-run --user --scope -p Delegate=yes)',
  )
}
