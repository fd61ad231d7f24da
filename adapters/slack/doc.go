// Package slack keeps the contract of [adapters.Chat] on Slack.
//
// One card per ticket and channel: chat.postMessage once, chat.update for
// every change, replies in its thread. People act on the card's buttons and
// its menu; a form is a modal, and what waits for somebody is their home tab.
// Both ways of delivery, signed HTTP and Socket Mode, decode into the same
// small structs and run the same code.
//
// What the files hold:
//
//	config.go        the app and its secrets, checked
//	slack.go         Chat: New, Run, Ready
//	messages.go      cards, replies and direct messages
//	search.go        looks for a message that may have been sent
//	people.go        who somebody is, and what they belong to
//	addresses.go     why Slack tells no e-mail address
//	resolve.go       what principals are at the moment
//	api.go           calls of the Web API
//	ratelimit.go     how fast it is called
//	errors.go        which failure of Slack or its library means what
//	render.go        a ticket as blocks and text
//	lint.go          Slack's limits, checked before Slack does
//	form.go          the decision form, the details and the settings as modals
//	home.go          what waits for somebody, as their home tab
//	payloads.go      what Slack delivers
//	interactions.go  clicks
//	submit.go        forms that were sent
//	typed.go         what was typed, kept
//	views.go         forms that are open; changes.go: which change is the newest
//	commands.go      the slash command
//	events.go        the Events API
//	answers.go       what the person who acted reads
//	endpoints.go     signed HTTP
//	socket.go        Socket Mode: connections, which overlap, and what comes over them
//	connections.go   how many of them are of other installations
//	secrets.go       tokens that change
//	rotation.go      tokens that expire, which are not supported
//	diagnose.go      what doctor looks at
//	manifest.go      the app's manifest
//
// The library github.com/slack-go/slack calls the Web API for us; it never
// retries. Socket Mode is spoken here (socket.go says why). What Slack sends is
// decoded here, because the library refuses a delivery, or an answer, in which
// any app has put a block that it does not know.
//
// Pictures of a [adapters.Note] are not shown: Slack shows one to one person
// alone only if the app has the scope files:write, uploads it, and writes it
// into a direct message. The words of a note say all that its picture does.
//
// The package knows no rule about tickets and stores nothing. What it
// remembers (who is in a group, which deliveries it saw) may be lost.
package slack
