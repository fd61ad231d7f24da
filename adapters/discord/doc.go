// Package discord keeps the contract of [adapters.Chat] on Discord.
//
// One card per ticket and channel, replies in a thread that is started from
// it, the decision form as a modal. Both ways of delivery, the gateway and
// signed HTTP, decode into the same small structs and run the same code.
//
// What the files hold:
//
//	discord.go       Config, New, the methods of the contract
//	render.go        a ticket as components
//	form.go          the decision form, what was typed into it, the details
//	interactions.go  what people do: clicks, forms, commands; HTTP
//	gateway.go       the gateway: one fresh session after the other
//	peers.go         which of several processes has the gateway, and answers
//	commands.go      the slash command, its registration and what completes it
//	rest.go          calls of the API
//	errors.go        which failure of Discord or its library means what
//	pace.go          rate limits
//	check.go         what doctor looks at
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
