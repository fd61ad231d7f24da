// Package bot says what happens to a ticket, and in which order.
//
// # The idea
//
// Record first, then do what is owed. A webhook, a click and a form each do
// one thing: they change a ticket in the store, in one durable commit, and
// are answered. Everything that touches the outside world afterwards is owed
// by the ticket and computed from it ([tickets.Ticket.PendingSteps]): a place without
// a message is owed a post, a message that shows an older Rev an edit, a
// thread that has not heard of an event a reply, a decision that EPM has not
// acknowledged a send, a receiver that has not taken an event a delivery.
// There is no second queue that could disagree.
//
// One loop does the steps (advance.go): claim a ticket by lease, note that
// the step begins, do it, record what came of it, release. The first try, the
// retry after an error, the restart after a crash and a second replica take
// the same path.
//
// # Lanes
//
// Steps wait in lanes ([tickets.Lane]), each with its own workers: one for
// decisions on their way to EPM, one for questions to it, for each chat one
// for new posts and one for edits and replies, and one for each receiver of
// events. A chat that is down or slow delays neither a decision nor another
// chat, and a storm of new requests delays no edit.
//
// # What happened, when nobody knows
//
// A call that failed without a clear answer may have happened, and so may one
// that was under way when the process died. Before such a step is repeated:
//
//	post, reply  the chat looks for the message by its mark, and adopts it
//	edit         is repeated: it says the same again
//	send         EPM is asked whether it has the decision; if it has not, or
//	             cannot say, the same decision is sent again. The ticket is
//	             not opened for another decision before EPM has said that it
//	             has none, ten minutes after the last unclear attempt
//	look         is repeated: it only reads
//	deliver      is repeated: each event has an ID by which receivers know it
//
// The table in failures_test.go states for each step and each way of failing
// how many messages and how many sends there are in the end.
//
// # Places that cannot be used
//
// A channel may be deleted or archived, the bot be taken out of it, its token
// be refused ([tickets.Failure].Place). Then no step calls the platform for
// what cannot be done there; the tickets note that they wait, one step sees
// every five minutes whether it works again, and once it does all go on
// (places.go). Admins who can be written to are told once in each
// direction, by direct message.
// This is known in memory only: the tickets say what is owed, and after a
// restart the first step that fails tells again.
//
// A message that was deleted is no outage: while its request is open it is
// posted again, once in each place, and after that admins are told (cards.go).
//
// # When EPM does not let us
//
// If the API account lacks a right, or its credentials are not taken, no
// decision is thrown away: it stays, the card says which right is missing,
// admins are told at once, and it is tried again every ten minutes, and with
// all others as soon as EPM takes one (permission.go). A web page in EPM's
// place, as of a proxy or a firewall, is no answer of EPM's at all.
//
// # What webhooks did not tell
//
// A webhook may be lost. At the start and every few minutes the lists of EPM
// are compared with the store (resync.go): a request that waits there and is
// not known here becomes a ticket, one that waits here and was decided there
// gets EPM's outcome. This decides nothing and opens nothing again. Of several
// replicas one does it.
//
// # Webhooks that failed
//
// Every webhook is kept as it arrived. What could not be read is read anew
// when an admin asks for it, with the parser of this version, and applied in
// the same way and in one commit with its record (incoming.go). The record
// says whether it was applied, so that nothing is applied twice. Old webhooks
// are forgotten by a loop of their own.
//
// # The history
//
// Everything that happens to a ticket is an event in it, chained to the ones
// before. What no card shows, as who opened a form or was turned away, is
// written beside the answer: that it cannot be written stops nobody
// (late.go). Old tickets are retired, if ever, by the loop that forgets
// webhooks, and the store's ledger accounts for them.
//
// # Receivers of events
//
// What happens to a ticket, and each change of the settings, is told to
// receivers outside of the chats, as a SIEM is (deliver.go): each event at
// least once, those of one ticket in their order, with an ID that stays the
// same. The ticket says how many of its events each receiver has taken; of
// the changes of the settings the store keeps that. A receiver begins with
// what happens after it is configured. It is never skipped over: while it
// takes nothing its lane rests, and one event that it refuses, or does not
// take while it takes others, holds up its own ticket's. One that is not configured any more stays owed, and is told
// when it is configured again.
//
// # Who may
//
// A chat proves who clicked. Whether that person may decide is asked here, of
// the configured approvers, when a form opens and again when it is sent. If
// it cannot be found out, they may not.
//
// The package knows the contracts of store and adapters and the language of
// tickets. It knows no platform, no EPM wire format and no HTTP.
package bot
