export { directEngine } from './direct-engine.ts'
