import { attachRequirements } from './requirements/attach.ts'
import { fieldRequirements } from './requirements/fields.ts'
import { fileRequirements } from './requirements/files.ts'
import { isolationRequirements } from './requirements/isolation.ts'
import { killRequirements } from './requirements/kill.ts'
import { lifecycleRequirements } from './requirements/lifecycle.ts'
import { processRequirements } from './requirements/process.ts'
import { streamRequirements } from './requirements/streams.ts'
import { tunnelRequirements } from './requirements/tunnels.ts'
import type { Requirements } from './requirement.ts'

/** Everything that a sandbox must do, whatever the provider and engine. A behaviour that is not here is not promised. */
export const requirements: Requirements = {
  ...processRequirements,
  ...streamRequirements,
  ...killRequirements,
  ...attachRequirements,
  ...fileRequirements,
  ...fieldRequirements,
  ...lifecycleRequirements,
  ...tunnelRequirements,
  ...isolationRequirements,
}
