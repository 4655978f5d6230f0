// The hostile set with a real clamd as the scanner; once, since what is compared does not depend on the scanner.
import * as ConverterProcess from "@holdfast/converter/ConverterProcess"
import { Health } from "@holdfast/resilience/Health"
import * as ScannerClamAv from "@holdfast/scanner/ScannerClamAv"
import { Config, Effect, Layer } from "effect"
import { hostileSuite } from "./HostileSuite.ts"

const clamd = Layer.unwrap(
  Effect.gen(function* () {
    return ScannerClamAv.layer({ url: yield* Config.String("HOLDFAST_TEST_CLAMD_URL") })
  })
)

hostileSuite("clamd", Layer.mergeAll(clamd, ConverterProcess.layer()).pipe(Layer.provide(Health.layer)), false)
