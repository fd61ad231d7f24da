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
//	slack.go         Config, New, the methods of the contract
//	render.go        a ticket as blocks and text
//	form.go          the decision form, the details and the settings as modals
//	home.go          what waits for somebody, as their home tab
//	interactions.go  what people do: clicks, forms, commands, events; HTTP; what is answered later
//	socket.go        Socket Mode: connections, which overlap, and what comes over them
//	secrets.go       tokens that change
//	errors.go        which failure of Slack or its library means what
//	pace.go          rate limits
//	lint.go          Slack's limits, checked before Slack does
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
