// A query's one answer as graphql-ws takes it: an iterator that a client's `complete` ends at once. As a plain promise the answer to a
// query that was given up would still come, and under an id that by then may be another operation's.
import type { ExecutionResult } from "graphql"

const done = { done: true, value: undefined } as const

export const answerOnce = (
  run: () => Promise<ExecutionResult>
): AsyncIterableIterator<ExecutionResult> & { return(): Promise<IteratorResult<ExecutionResult>> } => {
  const end = Promise.withResolvers<IteratorResult<ExecutionResult>>()
  let isAsked = false
  const answer = {
    [Symbol.asyncIterator]: () => answer,
    next: () => {
      if (isAsked) return Promise.resolve(done)
      isAsked = true
      return Promise.race([run().then((value) => ({ done: false, value }) as const), end.promise])
    },
    return: () => {
      isAsked = true
      end.resolve(done)
      return Promise.resolve(done)
    }
  }
  return answer
}
