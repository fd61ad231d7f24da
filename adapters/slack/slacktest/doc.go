// Package slacktest is a Slack that runs inside the process: enough of the Web
// API, of interactivity over signed HTTP and of Socket Mode to run a bot
// against it, together with people who read, click and fill in forms the way
// Slack's own client lets them. The name follows net/http/httptest.
//
// Tests use it, and so does the demo that needs no workspace: the package does
// not import "testing" and nothing in it ends the process. It has its own wire
// structs, written after docs.slack.dev, and shares none with the code that
// talks to it: a fake that shares its client's mistakes proves nothing.
//
// It is stricter than Slack where Slack is silent. Arguments that a method's
// page does not name are refused and kept in [Server.Violations], and so is
// everything else that a bot should never do but that no answer would tell.
// Tests assert that this list is empty.
//
// A typical test:
//
//	fake, err := slacktest.New(slacktest.Config{})
//	defer fake.Close()
//	fake.AddUser(slacktest.User{ID: "U01ANN", Name: "ann"})
//	fake.AddChannel(slacktest.Channel{ID: "C01EPM", Name: "epm", Members: []string{"U01ANN", slacktest.BotUserID}})
//	// … start the bot against fake.URL(), then tell the fake where it listens:
//	fake.SetURLs(slacktest.URLs{Interactions: bot + "/slack/interactions"})
//	ann := fake.Person("U01ANN")
//	err = ann.Click(ctx, "C01EPM", fake.Messages("C01EPM")[0].TS, "approve")
//
// What it does not do: files, streaming, workflows, organisations beyond their name, what user
// tokens may do, OAuth. Blocks that the validation does not know are refused, so that
// nobody believes them checked.
package slacktest
