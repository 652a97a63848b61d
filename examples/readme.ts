import { open } from 'anyplace'

await using box = await open({ on: 'local', timeoutMs: 300_000 })

const { stdout, exitCode } = await box.run(['python3', '-c', 'print(6 * 7)'])
console.log(stdout.trim(), exitCode) // 42 0

await box.files.write('greet.sh', 'for i in 1 2 3; do echo "hello $i"; done')
const job = await box.spawn(['sh', 'greet.sh'])
for await (const line of job.lines()) console.log(line.text)

await box.files.write('out/result.txt', 'done')
await box.files.download('out', './out')
