package discordtest

import (
	"regexp"
	"slices"
	"strings"
)

// mentions says whom a message may notify
// (discord.com/developers/docs/resources/message, "Allowed Mentions Object").
type mentions struct {
	allUsers, allRoles, everyone bool
	users, roles                 []string
}

func (m mentions) user(id string) bool { return m.allUsers || contains(m.users, id) }
func (m mentions) role(id string) bool { return m.allRoles || contains(m.roles, id) }

// found are the mentions in a text, allowed or not.
type found struct {
	users, roles []string
	everyone     []string // "@everyone", "@here"
}

var (
	code        = regexp.MustCompile("(?s)```.*?```|``.*?``|`[^`]*`")
	mentionText = regexp.MustCompile(`<@([!&]?)(\d+)>|@everyone|@here`)
)

// findMentions looks for mentions outside code. A backslash before one is no
// protection here: whether it is one at Discord depends on the client.
func findMentions(t string) found {
	var f found
	add := func(l *[]string, v string) {
		if !slices.Contains(*l, v) {
			*l = append(*l, v)
		}
	}
	for _, m := range mentionText.FindAllStringSubmatch(code.ReplaceAllString(t, " "), -1) {
		switch {
		case strings.HasPrefix(m[0], "@"):
			add(&f.everyone, m[0])
		case m[1] == "&":
			add(&f.roles, m[2])
		default:
			add(&f.users, m[2])
		}
	}
	return f
}
