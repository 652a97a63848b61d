import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Sandbox } from '../../src/index.ts'
import { runHost } from '../baselines.ts'

const C = String.raw`
// The floor: as many processes at once as there are cores, each starting COMMAND with bash, reading its output and waiting for
// it, COUNT times altogether. Prints commands per second.
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int one(char *command) {
  int ends[2], status;
  char bytes[4096];
  pid_t pid;
  posix_spawn_file_actions_t actions;
  char *argv[] = {"bash", "-c", command, NULL};
  if (pipe(ends) != 0) return 1;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  if (posix_spawnp(&pid, "bash", &actions, NULL, argv, environ) != 0) return 1;
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  while (read(ends[0], bytes, sizeof bytes) > 0) {
  }
  close(ends[0]);
  return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
}

int main(int count, char **arguments) {
  if (count < 4) return 2;
  int total = atoi(arguments[1]), workers = atoi(arguments[2]);
  struct timespec start, end;
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (int worker = 0; worker < workers; worker++) {
    if (fork() == 0) {
      for (int i = worker; i < total; i += workers)
        if (one(arguments[3]) != 0) _exit(1);
      _exit(0);
    }
  }
  for (int worker = 0; worker < workers; worker++) {
    int status;
    if (wait(&status) < 0 || status != 0) return 1;
  }
  clock_gettime(CLOCK_MONOTONIC, &end);
  double seconds = (end.tv_sec - start.tv_sec) + (end.tv_nsec - start.tv_nsec) / 1e9;
  printf("%.1f\n", total / seconds);
  return 0;
}
`

/** The same in Python, for machines without a C compiler: posix_spawn too, a little slower around it. */
const PYTHON = `
import os, sys, time
total, workers, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
start = time.monotonic()
pids = []
for worker in range(workers):
    pid = os.fork()
    if pid == 0:
        for i in range(worker, total, workers):
            r, w = os.pipe()
            child = os.posix_spawnp("bash", ["bash", "-c", command], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, w, 1), (os.POSIX_SPAWN_CLOSE, r)])
            os.close(w)
            while os.read(r, 4096): pass
            os.close(r)
            os.waitpid(child, 0)
        os._exit(0)
    pids.append(pid)
for pid in pids: os.waitpid(pid, 0)
print(total / (time.monotonic() - start))
`

/** A program that starts commands as fast as the kernel does. */
export interface SpawnFloor {
  readonly kind: 'C' | 'Python'
  /** Commands per second, with as many at once as there are cores, in the sandbox itself. */
  measure(box: Sandbox, command: string, count: number): Promise<number>
}

/** Compiled where there is a compiler, else Python. */
export async function spawnFloor(): Promise<SpawnFloor> {
  const cores = String(cpus().length)
  const program = join(mkdtempSync(join(tmpdir(), 'anyplace-bench-')), 'spawn-floor')
  const source = `${program}.c`
  writeFileSync(source, C)
  try {
    await runHost(['cc', '-O2', '-static', '-o', program, source])
  } catch {
    return {
      kind: 'Python',
      measure: async (box, command, count) => {
        const argv = ['python3', '-S', '-E', '-c', PYTHON, String(count), cores, command]
        return Number((await box.run(argv, { check: true })).stdout)
      },
    }
  }
  return {
    kind: 'C',
    measure: async (box, command, count) => {
      await box.files.write('spawn-floor', readFileSync(program), { mode: 0o755 })
      const argv = [`${box.workdir}/spawn-floor`, String(count), cores, command]
      return Number((await box.run(argv, { check: true })).stdout)
    },
  }
}
