// The types of Toolchain.mjs for its test; the file itself stays plain JavaScript, as it runs before there is TypeScript.
export declare const nodeMajor: number
export declare const pnpmMajor: number
export declare const neededPackages: (machine: {
  readonly platform: string
  readonly arch: string
  readonly musl: boolean
  readonly hasNode: boolean
  readonly hasPnpm: boolean
}) => Record<string, string>
export declare const isAtLeast: (version: string, major: number) => boolean
export declare const isMajor: (version: string, major: number) => boolean
export declare const explainFailure: (tool: string, output: string) => string
