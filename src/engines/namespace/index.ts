export { checkLimits } from './check-limits.ts'
export { namespaceEngine } from './namespace-engine.ts'
