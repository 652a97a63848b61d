import type { Task } from './tasks.ts'

const LEARNING_RATE = 0.6
/** How often it tries anything at all. */
const CURIOSITY = 0.1

/** What a policy tried. */
export interface Attempt {
  readonly task: Task
  readonly picks: readonly number[]
}

/** A softmax over the choices of each hole, taught by REINFORCE with a moving average as its baseline. */
export class Policy {
  readonly #weights = new Map<string, number[][]>()
  readonly #baselines = new Map<string, number>()
  readonly #random: () => number

  /** @param seed the same one gives the same picks */
  constructor(seed: number) {
    let state = seed
    this.#random = () => {
      // mulberry32
      state = (state + 0x6d2b79f5) | 0
      let value = Math.imul(state ^ (state >>> 15), 1 | state)
      value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
      return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32
    }
  }

  pick(task: Task): Attempt {
    const picks = this.#of(task).map((weights) => {
      if (this.#random() < CURIOSITY) return Math.floor(this.#random() * weights.length)
      const chances = softmax(weights)
      let rest = this.#random()
      const found = chances.findIndex((chance) => (rest -= chance) < 0)
      return found < 0 ? chances.length - 1 : found
    })
    return { task, picks }
  }

  /** Makes what earned more than usual likelier. */
  learn({ task, picks }: Attempt, reward: number): void {
    const baseline = this.#baselines.get(task.name) ?? 0.5
    const advantage = reward - baseline
    this.#baselines.set(task.name, baseline + 0.2 * advantage)
    for (const [hole, weights] of this.#of(task).entries()) {
      const chances = softmax(weights)
      for (const [choice, chance] of chances.entries()) {
        const gradient = (choice === picks[hole] ? 1 : 0) - chance
        weights[choice] = (weights[choice] ?? 0) + LEARNING_RATE * advantage * gradient * 4
      }
    }
  }

  #of(task: Task): number[][] {
    let weights = this.#weights.get(task.name)
    if (weights === undefined) {
      weights = task.choices.map((choices) => choices.map(() => 0))
      this.#weights.set(task.name, weights)
    }
    return weights
  }
}

function softmax(weights: readonly number[]): number[] {
  const most = Math.max(...weights)
  const powers = weights.map((weight) => Math.exp(weight - most))
  const sum = powers.reduce((a, b) => a + b, 0)
  return powers.map((power) => power / sum)
}
