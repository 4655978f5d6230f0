// A past in which files go from hand to hand: staff share one that was uploaded for no ticket, keep one to themselves, and the customer, who
// knows its id, attaches that one to another ticket of their own.
import { History, principal } from "@holdfast/testkit/History"

export const sharedFiles = () => {
  const [ada, carl] = [principal("agent", "ada", "Ada"), principal("customer", "carl", "Carl")]
  const past = new History()
  const ticketId = past.open(carl, "An invoice, please")
  const [invoice, memo] = [past.upload(ada, "invoice.png"), past.upload(ada, "memo.png")]
  past.issue(ada, { _tag: "AttachFile", ticketId, fileId: invoice, name: "invoice.png" })
  past.issue(ada, { _tag: "AttachFile", ticketId, fileId: memo, name: "memo.png", audience: "internal" })
  past.release(invoice)
  past.release(memo)
  const otherId = past.open(carl, "Another matter")
  past.issue(carl, { _tag: "AttachFile", ticketId: otherId, fileId: memo, name: "guessed.png" })
  return { past, invoice, memo, variables: { invoice, memo } }
}

export const sharedFilesQuery = `query ($invoice: ID!, $memo: ID!) {
  invoice: file(id: $invoice) { state downloadUrl }
  memo: file(id: $memo) { state }
  tickets(list: all) { nodes { attachments { name file { state downloadUrl } } } }
}`
