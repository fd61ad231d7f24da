// Package discordtest is a Discord that runs inside the process: enough of the
// REST API, of the gateway and of interactions over signed HTTP to run a bot
// against it, together with people who read, click, fill in forms and use
// commands the way Discord's own client lets them. The name follows
// net/http/httptest.
//
// Tests use it, and so does the demo that needs no guild: the package does not
// import "testing" and nothing in it ends the process. It has its own wire
// structs, written after discord.com/developers/docs, and shares none with the
// code that talks to it: a fake that shares its client's mistakes proves
// nothing.
//
// It is stricter than Discord where Discord is silent. JSON keys that Discord
// would ignore are kept in [Server.Violations], and so are a missing
// allowed_mentions, a wrong User-Agent and everything else that a bot should
// never do but that no answer would tell. Tests assert that this list is empty.
//
// A typical test:
//
//	fake, err := discordtest.New(discordtest.Config{})
//	defer fake.Close()
//	ann := fake.AddUser(discordtest.User{Username: "ann"})
//	epm := fake.AddChannel(discordtest.Channel{Name: "epm"})
//	// … start the bot with DISCORD_API_URL=fake.URL() and wait for fake.Connections() > 0
//	card := fake.Messages(epm.ID)[0]
//	p := fake.Person(ann.ID)
//	err = p.Click(ctx, epm.ID, card.ID, "approve:JIT-1042")
//	form, open := p.Modal()
//	err = p.Submit(ctx, map[string]string{"reason": "patch window"})
//
// Config.Check takes the check against Discord's OpenAPI document, which
// package spec beside this one makes; it stays out of programs that do not
// plug it in.
//
// What it does not do: files but for pictures in galleries, voice, polls, stickers, reactions, forums,
// user-installed apps, global commands, webhooks of channels, OAuth, events of
// the gateway other than interactions and deletions, system messages in
// threads, compression of the gateway. Components that the validation does not
// know are refused, so that nobody believes them checked.
package discordtest
