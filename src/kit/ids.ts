import { randomBytes, randomInt } from 'node:crypto'

const LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789'
const MOODS = (
  'able agile amber ample apt azure bold brave brief bright brisk calm candid clear clever cosy crisp deft dry eager ' +
  'early easy even fair fast fine firm fleet fond free fresh gentle glad gold grand green happy hardy honest ideal jolly ' +
  'keen kind large light lively lucid lucky mellow merry mild modest neat nimble noble open plain polite proud pure quick ' +
  'quiet rapid ready red rosy round royal silver sleek smart snug solid spry stable steady still sunny sure swift tidy true ' +
  'vivid warm wide wise witty young zesty'
).split(' ')
const ANIMALS = (
  'ant badger bat bear beaver bee bison boar bull camel carp cat cod condor cow crab crane crow deer dingo dog dolphin ' +
  'dove duck eagle eel egret elk emu falcon ferret finch fish fox frog gecko goat goose hare hawk heron horse ibex ibis ' +
  'jay kite koala lamb lark lemur lion lizard llama lynx magpie marlin marten mole moose moth mouse mule newt otter owl ' +
  'ox panda parrot perch pigeon pike pony puffin puma quail rabbit ram raven robin salmon seal shark sheep shrew shrimp ' +
  'sloth snail sparrow spider squid stork swan tapir tern tiger toad trout tuna turtle viper walrus wasp weasel whale ' +
  'wolf wombat wren yak zebra'
).split(' ')

/** A fresh id: 20 characters of a-z and 0-9 (103 random bits), safe in file names, labels and host names. */
export function newId(): string {
  let id = ''
  for (let index = 0; index < 20; index++) id += LETTERS[randomInt(LETTERS.length)]
  return id
}

/** A name that people can say, such as `calm-otter-4f2a`. Not unique by itself: check before you take it. */
export function newName(): string {
  return `${MOODS[randomInt(MOODS.length)]}-${ANIMALS[randomInt(ANIMALS.length)]}-${randomBytes(2).toString('hex')}`
}
