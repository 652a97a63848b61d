import { openStore } from '../../src/store/index.ts'

// Adds 1 to a counter, as often as the second argument says, against whoever else does the same.
const [directory, times] = process.argv.slice(2)
await using store = await openStore({ directory })
for (let done = 0; done < Number(times);) {
  const entry = await store.get('test', 'counter')
  const next = Number(entry?.value ?? 0) + 1
  if ((await store.compareAndSet('test', 'counter', entry?.version ?? 0, next)) !== undefined) done++
}
