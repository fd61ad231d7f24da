// Package bot says what happens to a ticket, and in which order.
//
// # The idea
//
// Record first, then do what is pending. A webhook, a click and a form each do
// one thing: they change a ticket in the store, in one durable commit, and
// are answered. Everything that touches the outside world afterwards is owed
// by the ticket and computed from it ([tickets.Ticket.PendingSteps]): a place
// without a message is owed a post, a message that shows an older Rev an edit, a
// thread that has not heard of an event a reply, a decision that EPM has not
// acknowledged a send, an event sink that has not taken an event a delivery.
// There is no second queue that could disagree.
//
// # Where what is done
//
// This package wires the others and takes what people do on cards: clicks
// (click.go), forms (submit.go) and the home tab (home.go). Below it, each duty
// has a package of its own, and none reaches back up:
//
//	outbox      does pending steps: lanes, leases, retries, channels that fail
//	decisions   sends decisions to EPM, and asks what became of them
//	events      delivers events to event sinks
//	commands    what people write after /epm, one file for each word
//	settings    what admins have set, over what the program was started with
//	access      who may decide, use admin commands, or read
//	audit       writes to the history beside the answer to a person
//	webhooks    what a kept webhook does to a ticket, also when it is replayed
//	reconcile   compares the store with EPM's lists, for webhooks that were lost
//	integrity   holds records against their histories
//	cards       looks for cards that were deleted
//	notify      tells admins what they must know and nobody asked for
//	retention   forgets what is old enough
//	reports     what became of the requests of a span of time
//	dedup       keeps a repeated delivery from having its effect twice
//	lease       gives to one of several processes what only one does
//	tracing     tells a tracer what is done for each ticket
//
// # What happened, when nobody knows
//
// A call that failed without a clear answer may have happened, and so may one
// that was under way when the process died. Before such a step is repeated:
//
//	post, reply  the chat looks for the message by its mark, and adopts it
//	edit         is repeated: it says the same again
//	send         EPM is asked whether it has the decision; see decisions
//	poll         is repeated: it only reads
//	deliver      is repeated: each event has an ID by which sinks know it
//
// The table in failures_test.go states for each step and each way of failing
// how many messages and how many sends there are in the end.
//
// # The history
//
// Everything that happens to a ticket is an event in it, chained to the ones
// before. Old tickets are retired, if ever, and the store's ledger accounts for
// them.
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
