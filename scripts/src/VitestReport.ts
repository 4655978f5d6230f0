// What a vitest run amounts to, read from its JSON report. Only a test that ran and passed counts as passed: a skipped
// one, a file that could not be loaded and a run without any test count as failed.
import { Option, Schema } from "effect"

export interface Outcome {
  readonly passed: number
  readonly failures: ReadonlyArray<Failure>
}

export interface Failure {
  readonly name: string
  readonly message: string
}

const Test = Schema.Struct({
  fullName: Schema.String,
  status: Schema.String,
  failureMessages: Schema.NullOr(Schema.Array(Schema.String)).pipe(Schema.optionalKey)
})

const Report = Schema.Struct({
  testResults: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      status: Schema.String,
      message: Schema.String.pipe(Schema.optionalKey),
      assertionResults: Schema.Array(Test)
    })
  )
})

type TestFile = (typeof Report.Type)["testResults"][number]

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Report))

/** `exitCode` catches what the report does not know, such as an error outside of any test. */
export const readVitestReport = (project: string, text: string, exitCode: number): Outcome => {
  const report = decode(text)
  if (Option.isNone(report)) return failed(project, "vitest left no readable report; its output is above")
  const tests = report.value.testResults.flatMap((file) => file.assertionResults)
  const passed = tests.filter(({ status }) => status === "passed").length
  const failures = report.value.testResults.flatMap(failuresOf)
  if (tests.length === 0 && failures.length === 0) return failed(project, "no test was found")
  if (exitCode !== 0 && failures.length === 0) {
    return {
      passed,
      failures: failed(project, `vitest ended with exit code ${exitCode}; its output is above`).failures
    }
  }
  return { passed, failures }
}

const failed = (name: string, message: string): Outcome => ({ passed: 0, failures: [{ name, message }] })

const failuresOf = (file: TestFile): ReadonlyArray<Failure> => {
  const failures = file.assertionResults
    .filter(({ status }) => status !== "passed")
    .map((test) => ({ name: `${file.name}: ${test.fullName}`, message: messageOf(test) }))
  if (file.status === "failed" && !file.assertionResults.some(({ status }) => status === "failed")) {
    failures.push({ name: file.name, message: file.message ?? "the file failed outside of its tests" })
  }
  return failures
}

const messageOf = ({ status, failureMessages }: typeof Test.Type): string =>
  status === "failed" ? (failureMessages ?? []).join("\n") : `was not run (${status}); every test must run`
