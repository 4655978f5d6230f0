// Where a bucket is, as an operator says it: `s3://bucket@host:9000/prefix?region=eu-west-1&tls=false`. With TLS unless told otherwise. The
// keys are not part of it, so that the address may stand where everybody can read it.
export interface S3Place {
  readonly endpoint: string
  readonly bucket: string
  readonly prefix: string
  readonly region: string
}

export const s3UrlExample = "s3://bucket@host:9000/prefix?region=us-east-1&tls=true"

/** Null where it says something else: also a parameter that nobody knows, which is most often a misspelt one. */
export const parseS3Url = (text: string): S3Place | null => {
  const url = URL.parse(text)
  if (url === null || url.protocol !== "s3:" || url.hostname === "" || url.password !== "" || url.hash !== "")
    return null
  const { region = "us-east-1", tls = "true", ...unknown } = Object.fromEntries(url.searchParams)
  const prefix = url.pathname.replace(/^\/+|\/+$/g, "")
  const isValid =
    Object.keys(unknown).length === 0 &&
    /^(true|false)$/.test(tls) &&
    /^[a-z0-9-]{1,32}$/.test(region) &&
    /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(url.username) &&
    /^[A-Za-z0-9._/-]*$/.test(prefix) &&
    !/\/\/|\.\./.test(prefix)
  if (!isValid) return null
  return {
    endpoint: `${tls === "true" ? "https" : "http"}://${url.host}`,
    bucket: url.username,
    prefix: prefix === "" ? "" : `${prefix}/`,
    region
  }
}
