// Package discord keeps the contract of [adapters.Chat] on Discord.
//
// One card per ticket and channel, replies in a thread that is started from
// it, the decision form as a modal. Both ways of delivery, the gateway and
// signed HTTP, decode into the same small structs and run the same code.
//
// What the files hold:
//
//	config.go        the application and its token, checked
//	discord.go       Chat: New, Run, Ready
//	messages.go      cards, replies and direct messages
//	search.go        looks for a message that may have been sent
//	people.go        who somebody is, and what they belong to
//	resolve.go       what principals are at the moment
//	api.go           calls of the API
//	ratelimit.go     how fast it is called
//	errors.go        which failure of Discord or its library means what
//	render.go        a ticket as components
//	components.go    components as Discord has them
//	form.go          the decision form and the details
//	payloads.go      what Discord delivers
//	interactions.go  clicks
//	submit.go        forms that were sent
//	typed.go         what was typed, kept
//	commands.go      the slash command, its registration and what completes it
//	answers.go       what the person who acted reads
//	endpoints.go     signed HTTP
//	gateway.go       the gateway: one fresh session after the other
//	starts.go        how many sessions Discord allows
//	leadership.go    which of several processes has the gateway, and answers
//	ids.go           Discord's identifiers
//	diagnose.go      what doctor looks at
//
// The library github.com/bwmarrin/discordgo makes the calls and checks the
// signatures. What it does otherwise than Discord asks for is replaced here:
// it decodes no interaction (it refuses component types that it does not
// know), retries nothing and counts no rate limit, and its gateway, which
// deadlocks and panics, is not used.
//
// Cards use Components V2, not embeds: somebody who has switched embeds off
// in their own settings, or a bot without the permission to embed, would see
// the buttons without what they decide on. Components cannot be hidden.
//
// The package knows no rule about tickets and stores nothing. What it
// remembers (roles, deliveries it saw, forms that had a mistake) may be lost.
package discord
