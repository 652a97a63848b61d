/** A small programming task: a program with holes, what may stand in each, and tests that tell right from wrong. */
export interface Task {
  readonly name: string
  /** `{0}`, `{1}` … are the holes. */
  readonly program: string
  readonly choices: readonly (readonly string[])[]
  /** A Python expression for each test; true when it passes. */
  readonly tests: readonly string[]
}

export const TASKS: readonly Task[] = [
  {
    name: 'is_prime',
    program: `def is_prime(n):
    if {0}:
        return False
    for d in range(2, {1}):
        if n % d == 0:
            return {2}
    return True
`,
    choices: [
      ['n < 1', 'n < 2', 'n <= 2'],
      ['int(n ** 0.5)', 'int(n ** 0.5) + 1', 'n // 3'],
      ['True', 'False'],
    ],
    tests: ['is_prime(2)', 'is_prime(13)', 'not is_prime(1)', 'not is_prime(9)', 'not is_prime(4)', 'is_prime(97)'],
  },
  {
    name: 'fibonacci',
    program: `def fibonacci(n):
    a, b = {0}
    for _ in range({1}):
        a, b = {2}
    return a
`,
    choices: [
      ['0, 1', '1, 1', '0, 0'],
      ['n', 'n // 2', 'n + 1'],
      ['b, a + b', 'a + b, a', 'b, a'],
    ],
    tests: [
      'fibonacci(0) == 0',
      'fibonacci(1) == 1',
      'fibonacci(2) == 1',
      'fibonacci(10) == 55',
      'fibonacci(20) == 6765',
    ],
  },
  {
    name: 'word_count',
    program: `def word_count(text):
    counts = {}
    for word in text{0}:
        word = word{1}
        if word:
            counts[word] = counts.get(word, {2}) + 1
    return counts
`,
    choices: [
      ['', '.split()', ".split(' ')"],
      ['', '.lower()', ".strip('.,!').lower()"],
      ['0', '1'],
    ],
    tests: [
      "word_count('') == {}",
      "word_count('a b a') == {'a': 2, 'b': 1}",
      "word_count('A\\na') == {'a': 2}",
      "word_count('Yes, yes!') == {'yes': 2}",
    ],
  },
  {
    name: 'binary_search',
    program: `def binary_search(items, wanted):
    low, high = 0, {0}
    while {1}:
        middle = (low + high) // 2
        if items[middle] == wanted:
            return middle
        if items[middle] < wanted:
            low = {2}
        else:
            high = middle - 1
    return -1
`,
    choices: [
      ['len(items)', 'len(items) - 1'],
      ['low < high', 'low <= high'],
      ['middle', 'middle + 1'],
    ],
    tests: [
      'binary_search([], 1) == -1',
      'binary_search([3], 3) == 0',
      'binary_search([1, 4, 9], 9) == 2',
      'binary_search([1, 4, 9], 1) == 0',
      'binary_search([1, 4, 9], 5) == -1',
      'binary_search([1, 4, 9], 10) == -1',
    ],
  },
]

/** The program with its holes filled. */
export function fill(task: Task, picks: readonly number[]): string {
  return task.program.replace(
    /\{(\d)\}/g,
    (_, hole: string) => task.choices[Number(hole)]?.[picks[Number(hole)] ?? 0] ?? '',
  )
}

/** A Python program that imports the solution, runs the tests and prints how many passed. A test that hangs is killed by the pool. */
export function testProgram(task: Task): string {
  const tests = task.tests.map((test) => `    lambda: ${test},`).join('\n')
  return `from solution import ${task.name}

passed = 0
for test in [
${tests}
]:
    try:
        passed += bool(test())
    except Exception as error:
        print("failed:", error)
print("passed", passed)
`
}
