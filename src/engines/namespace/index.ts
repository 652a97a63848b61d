export { namespaceEngine } from './namespace-engine.ts'
