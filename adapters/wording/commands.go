package wording

import (
	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

// Commands lists the words of the slash command in the order of help.
func Commands() []adapters.CommandSpec {
	number := adapters.Arg{Name: "number", Help: "The request's number, for example JIT-1042", Required: true, Complete: true}
	return []adapters.CommandSpec{
		{Name: "help", Help: "what Countersign understands", Open: true},
		{Name: "status", Help: "what waits, and whether every connection works"},
		{Name: "tickets", Help: "the newest requests, or those in a state, or that mention something", Args: []adapters.Arg{
			{Name: "state", Help: "How far they have come, as pending or final, or a state such as On Hold; any for all", Complete: true},
			{Name: "text", Help: "Words in the number, user, computer, application or reason"},
		}},
		{Name: "ticket", Help: "one request and its history; for admins, let others decide one whose record is damaged", Args: []adapters.Arg{
			number,
			{Name: "action", Help: "For admins: accept-damaged lets others decide a request whose record is damaged", Choices: []string{"accept-damaged"}},
			{Name: "confirm", Help: "yes, once you have compared the request with the EPM console", Choices: []string{"yes"}},
		}},
		{Name: "state", Help: "move a request to another state", Admin: true, Args: []adapters.Arg{
			number,
			{Name: "state", Help: "The state, for example On Hold", Required: true, Complete: true},
		}},
		{Name: "config", Help: "show the settings, change them, or take them back to what the program was started with", Admin: true, Args: []adapters.Arg{
			{Name: "action", Help: "Without it the settings are shown, in a form where there is one", Choices: []string{"list", "set", "reset"}},
			{Name: "key", Help: "The setting to set, or the only one to reset", Choices: tickets.SettingKeys()},
			{Name: "value", Help: "Its new value, nothing empties it; for a reset without a key: yes, to reset all", Complete: true},
		}},
		{Name: "incoming", Help: "the newest webhooks of EPM, those that failed, or one applied once more", Admin: true, Args: []adapters.Arg{
			{Name: "action", Help: "Only those that failed, or replay one that did", Choices: []string{"failed", "replay"}},
			{Name: "id", Help: "Which to replay: its ID, or the first characters of it, 8 or more", Complete: true},
		}},
		{Name: "report", Help: "what became of the requests of the last days, who decided and how fast", Admin: true, Args: []adapters.Arg{
			{Name: "span", Help: "How far back: hours, days or weeks, as 12h, 7d or 4w; 7d if nothing is said", Complete: true},
		}},
		{Name: "test-connection", Help: "try the connection to EPM", Admin: true},
		{Name: "roles", Help: "what you may do; for admins, who may decide and who is an admin", Open: true},
	}
}
