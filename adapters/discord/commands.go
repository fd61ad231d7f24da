package discord

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

const sayUnknownCommand = "Discord still shows a command of another version of Countersign. Please try again in a minute"

// command is a slash command, or a part of one, as Discord registers it
// (discord.com/developers/docs/interactions/application-commands).
type command struct {
	Type        int       `json:"type"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Required    bool      `json:"required,omitempty"`
	Complete    bool      `json:"autocomplete,omitempty"`
	Options     []command `json:"options,omitempty"`
	Choices     []choice  `json:"choices,omitempty"`
}

type choice struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// The types of commands and of their options.
const (
	commandChat      = 1
	optionSubcommand = 1
	optionString     = 3
)

// maxDescription is the longest description of a command, in characters.
const maxDescription = 100

// commandTree is the slash command: each word is a subcommand.
func commandTree() []command {
	epm := command{Type: commandChat, Name: adapters.CommandName, Description: "Approvals of privileged access: see help"}
	for _, w := range wording.Commands() {
		sub := command{Type: optionSubcommand, Name: w.Name, Description: describe(w.Help, w.Admin)}
		for _, a := range w.Args {
			o := command{Type: optionString, Name: a.Name, Description: describe(a.Help, false), Required: a.Required, Complete: a.Complete}
			for _, c := range a.Choices {
				o.Choices = append(o.Choices, choice{c, c})
			}
			sub.Options = append(sub.Options, o)
		}
		epm.Options = append(epm.Options, sub)
	}
	return []command{epm}
}

func describe(help string, admin bool) string {
	if admin {
		help += " (admins)"
	}
	return wording.Cut(strings.ToUpper(help[:1])+help[1:], maxDescription)
}

// same reports whether a and b are the same command for people.
func same(a, b command) bool {
	return a.Type == b.Type && a.Name == b.Name && a.Description == b.Description && a.Required == b.Required && a.Complete == b.Complete &&
		slices.Equal(a.Choices, b.Choices) && slices.EqualFunc(a.Options, b.Options, same)
}

// register makes Discord show our commands, and overwrites what it shows only
// if that is something else: a server may create 200 commands a day
// (discord.com/developers/docs/interactions/application-commands). It tries
// until it has succeeded or ctx ends.
func (c *Chat) register(ctx context.Context) {
	path := "/applications/" + c.cfg.ApplicationID + "/guilds/" + c.cfg.Guild + "/commands"
	want := commandTree()
	for wait := time.Second; ; wait = min(2*wait, 5*time.Minute) {
		var have []command
		err := c.call(ctx, request{method: http.MethodGet, route: routeCommands, path: path}, &have)
		if err == nil && slices.EqualFunc(have, want, same) {
			return
		}
		if err == nil {
			err = c.call(ctx, request{method: http.MethodPut, route: routeCommands, path: path, effect: true, body: want}, nil)
			if err == nil {
				c.log.Info("slash command registered")
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
		f := tickets.FailureOf(err)
		if f.Class == tickets.Rejected || f.Class == tickets.NotFound {
			wait = 5 * time.Minute // an admin has to invite the bot again
		}
		c.log.Warn("slash command not registered, trying again", "err", err)
		if !chatkit.Sleep(ctx, max(wait, f.RetryAfter)) {
			return
		}
	}
}

// typed is what somebody has typed after /epm so far.
type typed struct {
	word  adapters.CommandSpec
	given map[string]string // by argument
	focus string            // the argument that is being typed, for suggestions
}

// typedIn reads the data of a command.
func typedIn(data json.RawMessage) (t typed, ok bool) {
	type option struct {
		Name    jsonx.LooseString `json:"name"`
		Type    int               `json:"type"`
		Value   jsonx.LooseString `json:"value"`
		Focused bool              `json:"focused"`
		Options json.RawMessage   `json:"options"`
	}
	var root struct {
		Name    jsonx.LooseString `json:"name"`
		Options []option          `json:"options"`
	}
	if jsonx.IgnoreTypeErrors(json.Unmarshal(data, &root)) != nil || string(root.Name) != adapters.CommandName || len(root.Options) != 1 {
		return typed{}, false
	}
	sub := root.Options[0]
	i := slices.IndexFunc(wording.Commands(), func(w adapters.CommandSpec) bool { return w.Name == string(sub.Name) })
	if i < 0 {
		return typed{}, false
	}
	var given []option
	if len(sub.Options) > 0 && jsonx.IgnoreTypeErrors(json.Unmarshal(sub.Options, &given)) != nil {
		return typed{}, false
	}
	t = typed{word: wording.Commands()[i], given: map[string]string{}}
	for _, o := range given {
		t.given[string(o.Name)] = strings.TrimSpace(string(o.Value))
		if o.Focused {
			t.focus = string(o.Name)
		}
	}
	return t, true
}

// commandText is what was typed as the words after /epm, in the order of
// [wording.Commands].
func commandText(data json.RawMessage) (string, bool) {
	t, ok := typedIn(data)
	if !ok {
		return "", false
	}
	words := []string{t.word.Name}
	for _, a := range t.word.Args {
		if v := t.given[a.Name]; v != "" {
			words = append(words, v)
		}
	}
	return strings.Join(words, " "), true
}

// choices is the answer to somebody who is typing.
func choices(list adapters.Suggestions) response {
	all := []choice{}
	for _, one := range list {
		name := wording.Line(one.Text)
		for limit := adapters.MaxSuggestion; length(name) > adapters.MaxSuggestion; limit -= 10 {
			name = wording.Cut(name, limit)
		}
		// A value that is cut would mean something else.
		if name != "" && one.Value != "" && length(one.Value) <= adapters.MaxSuggestion && len(all) < adapters.MaxSuggestions {
			all = append(all, choice{name, one.Value})
		}
	}
	return response{ack: answer{answerComplete, map[string]any{"choices": all}}}
}

// suggest answers somebody who is typing; with nothing if that takes too long.
func (c *Chat) suggest(ctx context.Context, received time.Time, in *interaction, h adapters.Handler) response {
	t, ok := typedIn(in.Data)
	if !ok || t.focus == "" {
		return choices(nil)
	}
	asked := adapters.Completion{Actor: in.actor(), Place: in.place(), Word: t.word.Name, Arg: t.focus, Typed: t.given[t.focus], Given: t.given}
	delete(asked.Given, t.focus)
	list, _ := c.ask(ctx, received, func(ctx context.Context) adapters.Answer { return h.Autocomplete(ctx, asked) }).(adapters.Suggestions)
	return choices(list)
}

func (c *Chat) command(ctx context.Context, received time.Time, in *interaction, h adapters.Handler) response {
	text, ok := commandText(in.Data)
	if !ok {
		c.log.Warn("a command that we do not offer")
		return telling(in, sayUnknownCommand)
	}
	return c.run(ctx, received, in, adapters.Command{Text: text}, h)
}

// run answers cmd, later if it takes its time: until then the person reads
// that the bot thinks, or still what they clicked on.
func (c *Chat) run(ctx context.Context, received time.Time, in *interaction, cmd adapters.Command, h adapters.Handler) response {
	cmd.Delivery, cmd.Actor, cmd.Place = in.delivery(), in.actor(), in.place()
	asked := c.commands.Begin(context.WithoutCancel(ctx), received, func(ctx context.Context) adapters.Answer { return h.Command(ctx, cmd) })
	if a, ok := chatkit.AwaitUntil(received.Add(c.within.Think), asked); ok {
		if n, failed := a.(adapters.Note); failed && cmd.FromPager { // the page stays
			m := note(n.Text)
			m.Flags |= flagEphemeral
			return response{ack: answer{answerMessage, m}}
		}
		return c.say(in, a)
	}
	s := response{
		ack:      answer{answerDeferred, map[string]int{"flags": flagEphemeral}},
		deferred: func() (message, []message) { a := <-asked; return lateMessage(a), pictureOf(a) },
	}
	if in.Type == typeClick && in.private() {
		s.ack = answer{Type: answerNothing} // which leaves @original what was clicked
	}
	return s
}
