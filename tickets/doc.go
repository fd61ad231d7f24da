// Package tickets is the language of Countersign: what a request for
// privileged access is, what a ticket remembers about it, who may decide it,
// by which rules, and what is still owed to it.
//
// Everything here is a value or a pure function. The package does no I/O,
// starts no goroutine and reads no clock: time comes in as an argument. It
// knows no chat platform and no vendor's words; adapters and epm translate
// at their own doors.
//
// # The life of a ticket
//
//	webhook ─► Pending ──form submitted──► Submitting ──EPM answers 2xx──► Submitted ──update webhook──► Final
//	             ▲  │                        │   │
//	             │  │                        │   ├─ no answer, 5xx, 429: sent again with back-off
//	             │  │                        │   ├─ the bot may not decide: kept, admins are told, sent again
//	             │  │                        └───── EPM refuses: reopened, and the approver is told why
//	             │  └─ decided in the EPM console ─────────────────────────────────────────────────► Final
//	             └─ an update that arrives before its request waits as Unknown until the request comes
//
// Its history is a chain: each event has a hash over the one before it and
// itself ([Link]), so that a change of what happened can be found.
//
// What a ticket owes the outside world (a post, a send, an edit, a reply, a
// look at EPM, its events to receivers) is computed from the ticket by [Ticket.PendingSteps] and stored
// nowhere else.
package tickets
