package discordtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of commands
// (discord.com/developers/docs/interactions/application-commands).
const (
	maxCommands       = 100
	maxCommandName    = 32
	maxDescription    = 100
	maxCommandRunes   = 8000
	maxChoiceRunes    = 100
	optionSubcommand  = 1
	optionGroup       = 2
	optionString      = 3
	optionInteger     = 4
	optionBoolean     = 5
	optionUser        = 6
	optionChannel     = 7
	optionRole        = 8
	optionMentionable = 9
	optionNumber      = 10
	optionAttachment  = 11
)

// Choice is a suggestion for an option of a command.
type Choice struct{ Name, Value string }

var commandName = regexp.MustCompile(`^[-_'\p{L}\p{N}\p{Devanagari}\p{Thai}]{1,32}$`)

// inOwnGuild checks that a call is about this application and the guild where the bot is.
func (s *Server) inOwnGuild(c *call) *apiError {
	switch {
	case c.params["application"] != s.cfg.ApplicationID:
		return &apiError{status: http.StatusForbidden, code: 20012, message: "You are not authorized to perform this action on this application"}
	case c.params["guild"] != s.cfg.GuildID || s.gone:
		return &apiError{status: http.StatusForbidden, code: 50001}
	}
	return nil
}

func (s *Server) getCommands(c *call) reply {
	if bad := s.inOwnGuild(c); bad != nil {
		return refuse(bad)
	}
	out := []any{}
	for _, cmd := range s.commands {
		out = append(out, cmd)
	}
	return ok(out)
}

func (s *Server) putCommands(c *call) reply {
	if bad := s.inOwnGuild(c); bad != nil {
		return refuse(bad)
	}
	var body []any
	if decode(c.body, &body) != nil {
		return fail(http.StatusBadRequest, 50109)
	}
	made, p := readCommands(body)
	for _, v := range p.silent {
		s.violate("%s: %s", c.where(), v)
	}
	if e := p.err(); e != nil {
		return refuse(e)
	}
	for _, cmd := range made {
		id := ""
		for _, old := range s.commands {
			if old["name"] == cmd["name"] && old["type"] == cmd["type"] {
				id = text(old, "id")
			}
		}
		if id == "" {
			id = s.id()
		}
		cmd["id"], cmd["application_id"], cmd["guild_id"], cmd["version"] = id, s.cfg.ApplicationID, s.cfg.GuildID, s.id()
	}
	s.commands = made
	s.writes++
	s.changed()
	return s.getCommands(c)
}

// CheckCommands lists what is wrong with the guild's commands as a bot would put them.
func CheckCommands(list json.RawMessage) []string {
	var body []any
	if decode(list, &body) != nil {
		return []string{"not a JSON array"}
	}
	_, p := readCommands(body)
	return append(p.list, p.silent...)
}

// readCommands checks commands and writes them as Discord returns them: what
// is null, empty or false by default is left out.
func readCommands(body []any) ([]map[string]any, *problems) {
	p := &problems{}
	if len(body) > maxCommands {
		p.bad("commands", "APPLICATION_COMMAND_TOO_MANY", fmt.Sprintf("A guild has %d commands of a type at most", maxCommands))
	}
	names := map[string]bool{}
	var out []map[string]any
	for i, v := range body {
		at := strconv.Itoa(i)
		m := p.object(at, v)
		if m == nil {
			continue
		}
		p.keys(at, m, "id", "type", "name", "name_localizations", "description", "description_localizations", "options",
			"default_member_permissions", "dm_permission", "default_permission", "integration_types", "contexts", "nsfw", "handler")
		if kind, there := number(m["type"]); there && kind != 1 {
			p.bad(at+".type", "DISCORDTEST", "this Discord knows chat input commands only")
		}
		name := p.commandName(at, m)
		if names[name] {
			p.bad(at+".name", "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique")
		}
		names[name] = true
		for _, key := range []string{"contexts", "dm_permission", "integration_types"} {
			if m[key] != nil {
				p.mute("%s.%s: only for global commands", at, key)
			}
		}
		if v, isText := m["default_member_permissions"].(string); isText {
			if _, err := strconv.ParseUint(v, 10, 64); err != nil {
				p.bad(at+".default_member_permissions", "NUMBER_TYPE_COERCE", fmt.Sprintf("Value %q is not int.", v))
			}
		} else if m["default_member_permissions"] != nil {
			p.mute("%s.default_member_permissions: not a string", at)
		}
		runes := utf8.RuneCountInString(name + text(m, "description"))
		options := p.commandOptions(at, m, 0, &runes)
		if runes > maxCommandRunes {
			p.bad(at, "APPLICATION_COMMAND_TOO_LARGE", fmt.Sprintf("A command has %d characters in all at most", maxCommandRunes))
		}
		cmd := map[string]any{"type": 1, "name": name, "description": m["description"], "default_member_permissions": m["default_member_permissions"],
			"dm_permission": true, "contexts": nil, "integration_types": []int{0}, "nsfw": m["nsfw"] == true,
			"name_localizations": m["name_localizations"], "description_localizations": m["description_localizations"]}
		if len(options) > 0 {
			cmd["options"] = options
		}
		out = append(out, cmd)
	}
	return out, p
}

func (p *problems) commandName(at string, m map[string]any) string {
	name := p.str(at+".name", m["name"], 1, maxCommandName)
	if name != "" && (!commandName.MatchString(name) || strings.ContainsFunc(name, unicode.IsUpper)) {
		p.bad(at+".name", "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")
	}
	p.str(at+".description", m["description"], 1, maxDescription)
	return name
}

// commandOptions checks the options of a command, group or subcommand; outer
// is the type of what they are in, 0 for the command itself.
func (p *problems) commandOptions(path string, parent map[string]any, outer int, runes *int) []any {
	names := map[string]bool{}
	optional, nested, plain := false, false, false
	var out []any
	for i, v := range p.array(path+".options", parent["options"], 0, maxOptions) {
		at := fmt.Sprintf("%s.options.%d", path, i)
		m := p.object(at, v)
		if m == nil {
			continue
		}
		p.keys(at, m, "type!", "name", "name_localizations", "description", "description_localizations", "required", "choices", "options",
			"channel_types", "min_value", "max_value", "min_length", "max_length", "autocomplete")
		name := p.commandName(at, m)
		*runes += utf8.RuneCountInString(name + text(m, "description"))
		if names[name] {
			p.bad(at+".name", "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", "Option name must be unique")
		}
		names[name] = true
		kind, _ := p.int(at+".type", m["type"], optionSubcommand, optionAttachment)
		isNested := kind == optionSubcommand || kind == optionGroup
		nested, plain = nested || isNested, plain || !isNested
		if isNested && (outer == optionSubcommand || outer == optionGroup && kind == optionGroup) || outer == optionGroup && !isNested {
			p.bad(at+".type", "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Sub-command option type invalid")
		}
		required := p.bool(at+".required", m["required"])
		if required && optional {
			p.bad(at, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", "Required options must be placed before non-required options")
		}
		optional = optional || !required
		auto := p.bool(at+".autocomplete", m["autocomplete"])
		given := p.commandChoices(at, m, kind, runes)
		if auto && (len(given) > 0 || kind != optionString && kind != optionInteger && kind != optionNumber) {
			p.bad(at+".autocomplete", "APPLICATION_COMMAND_OPTIONS_AUTOCOMPLETE_INVALID", "Autocomplete goes with texts and numbers without choices")
		}
		kept := map[string]any{"type": kind, "name": name, "description": m["description"]}
		if isNested {
			if inner := p.commandOptions(at, m, kind, runes); len(inner) > 0 {
				kept["options"] = inner
			} else if kind == optionGroup {
				p.required(at + ".options")
			}
		} else if l, _ := m["options"].([]any); len(l) > 0 {
			p.bad(at+".options", "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Only subcommands and groups have options")
		}
		if required {
			kept["required"] = true
		}
		if auto {
			kept["autocomplete"] = true
		}
		if len(given) > 0 {
			kept["choices"] = given
		}
		for _, key := range []string{"min_value", "max_value", "min_length", "max_length", "name_localizations", "description_localizations"} {
			if m[key] != nil {
				kept[key] = m[key]
			}
		}
		if l, _ := m["channel_types"].([]any); len(l) > 0 {
			kept["channel_types"] = l
		}
		out = append(out, kept)
	}
	if nested && plain {
		p.bad(path+".options", "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Sub-command and sub-command group option types are mutually exclusive to all other types")
	}
	return out
}

func (p *problems) commandChoices(at string, m map[string]any, kind int, runes *int) []any {
	l := p.array(at+".choices", m["choices"], 0, maxOptions)
	names := map[string]bool{}
	for j, v := range l {
		at := fmt.Sprintf("%s.choices.%d", at, j)
		c := p.object(at, v)
		if c == nil {
			continue
		}
		p.keys(at, c, "name", "name_localizations", "value!")
		name := p.str(at+".name", c["name"], 1, maxChoiceRunes)
		if names[name] {
			p.bad(at+".name", "APPLICATION_COMMAND_OPTIONS_CHOICE_NAME_ALREADY_EXISTS", "Choice names must be unique")
		}
		names[name] = true
		*runes += utf8.RuneCountInString(name + fmt.Sprint(c["value"]))
		switch c["value"].(type) {
		case nil:
		case string:
			if kind != optionString {
				p.bad(at+".value", "NUMBER_TYPE_COERCE", "Value is not a number.")
			}
			p.str(at+".value", c["value"], 0, maxChoiceRunes)
		default:
			if kind == optionString {
				p.bad(at+".value", "STRING_TYPE_CONVERT", "Could not interpret the value as string.")
			}
		}
	}
	if len(l) > 0 && kind != optionString && kind != optionInteger && kind != optionNumber {
		p.bad(at+".choices", "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Only texts and numbers have choices")
	}
	return l
}

// EPM is the command that [Person.Command] uses.
const EPM = "epm"

// Command uses a subcommand of /epm; see [Person.Slash].
func (p *Person) Command(ctx context.Context, channel, sub string, options map[string]string) (*Ephemeral, error) {
	return p.Slash(ctx, channel, EPM+" "+sub, options)
}

// Slash uses a command that the bot has registered, named with its group and
// subcommand: "epm config". Discord's client asks for required options
// ([ErrMissing]) and refuses unknown ones and wrong choices ([ErrNoSuchOption]).
//
// It returns the answer: for one that is not ephemeral the public message, for
// a form nil. When the bot deferred, it waits until the answer is there or ctx
// ends; then it returns the loading message and ctx's error.
func (p *Person) Slash(ctx context.Context, channel, path string, options map[string]string) (*Ephemeral, error) {
	s := p.s
	s.mu.Lock()
	it, payload, err := p.command(command, channel, path, options, "")
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := s.deliver(ctx, it, payload); err != nil {
		return nil, err
	}
	watch, stop := context.WithCancel(ctx)
	defer stop()
	changes := s.Changes(watch)
	for {
		s.mu.Lock()
		m := it.original
		var out *Ephemeral
		loading := false
		if m != nil {
			e := m.private()
			out = &e
			loading = m.Flags&FlagLoading != 0 && (s.message(m.Channel, m.ID) == m || s.whisper(m.only, m.ID) == m)
		}
		s.mu.Unlock()
		if !loading {
			return out, nil
		}
		if _, open := <-changes; !open {
			if err := ctx.Err(); err != nil {
				return out, err
			}
			return out, ErrNoAnswer
		}
	}
}

// Autocomplete types into an option of a command and returns what the bot
// suggests. The option must have been registered with autocomplete.
func (p *Person) Autocomplete(ctx context.Context, channel, path, option, typed string, options map[string]string) ([]Choice, error) {
	s := p.s
	all := map[string]string{option: typed}
	for k, v := range options {
		if k != option {
			all[k] = v
		}
	}
	s.mu.Lock()
	it, payload, err := p.command(autocomplete, channel, path, all, option)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := s.deliver(ctx, it, payload); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(it.choices), nil
}

// command makes the interaction of a command; focused names the option that is
// being typed, for autocomplete.
func (p *Person) command(kind int, channel, path string, options map[string]string, focused string) (*interaction, json.RawMessage, error) {
	s := p.s
	c := s.channels[channel]
	can := s.permissions(p.id, c)
	if can&ViewChannel == 0 {
		return nil, nil, ErrNoSuchChannel
	}
	words := strings.Fields(path)
	if len(words) == 0 || c.DM != "" { // the commands are the guild's
		return nil, nil, ErrNoSuchCommand
	}
	i := slices.IndexFunc(s.commands, func(m map[string]any) bool { return m["name"] == words[0] })
	if i < 0 || can&UseCommands == 0 {
		return nil, nil, fmt.Errorf("/%s: %w", path, ErrNoSuchCommand)
	}
	cmd := s.commands[i]
	if v, isText := cmd["default_member_permissions"].(string); isText {
		need, _ := strconv.ParseUint(v, 10, 64) // checked when it came
		if can&Administrator == 0 && (need == 0 || can&need != need) {
			return nil, nil, fmt.Errorf("/%s: %w", path, ErrNoSuchCommand)
		}
	}
	given, err := descend(cmd, words[1:], func(leaf map[string]any) ([]any, error) { return fillOptions(leaf, options, focused) })
	if err != nil {
		return nil, nil, fmt.Errorf("/%s: %w", path, err)
	}
	it := s.newInteraction(kind, p.id, channel)
	it.command = words[0]
	data := map[string]any{"id": cmd["id"], "name": words[0], "type": 1, "guild_id": s.cfg.GuildID, "options": given}
	if resolved := s.resolve(given); resolved != nil {
		data["resolved"] = resolved
	}
	return it, s.payload(it, data), nil
}

// descend walks from a command to the subcommand that words name.
func descend(m map[string]any, words []string, leaf func(map[string]any) ([]any, error)) ([]any, error) {
	options, _ := m["options"].([]any)
	if len(words) == 0 {
		if len(options) > 0 {
			first, _ := options[0].(map[string]any)
			if kind := kindOf(first); kind == optionSubcommand || kind == optionGroup {
				return nil, fmt.Errorf("%w: it has subcommands and cannot be called bare", ErrNoSuchCommand)
			}
		}
		return leaf(m)
	}
	for _, v := range options {
		o, _ := v.(map[string]any)
		if o["name"] != words[0] || kindOf(o) != optionSubcommand && kindOf(o) != optionGroup {
			continue
		}
		inner, err := descend(o, words[1:], leaf)
		if err != nil {
			return nil, err
		}
		return []any{map[string]any{"type": o["type"], "name": o["name"], "options": inner}}, nil
	}
	return nil, ErrNoSuchCommand
}

func kindOf(option map[string]any) int {
	kind, _ := option["type"].(int)
	return kind
}

// fillOptions writes the options of a command with what a person typed.
func fillOptions(leaf map[string]any, typed map[string]string, focused string) ([]any, error) {
	out := []any{}
	known := map[string]bool{}
	options, _ := leaf["options"].([]any)
	for _, v := range options {
		o, _ := v.(map[string]any)
		name := text(o, "name")
		known[name] = true
		value, given := typed[name]
		if !given {
			if o["required"] == true && focused == "" {
				return nil, fmt.Errorf("option %s: %w", name, ErrMissing)
			}
			continue
		}
		w := map[string]any{"type": o["type"], "name": name}
		if name == focused {
			if o["autocomplete"] != true {
				return nil, fmt.Errorf("option %s has no autocomplete: %w", name, ErrNoSuchOption)
			}
			w["focused"], w["value"] = true, value
		} else {
			converted, err := optionValue(o, value)
			if err != nil {
				return nil, fmt.Errorf("option %s: %w", name, err)
			}
			w["value"] = converted
		}
		out = append(out, w)
	}
	for _, name := range sortedKeys(typed) {
		if !known[name] {
			return nil, fmt.Errorf("option %s: %w", name, ErrNoSuchOption)
		}
	}
	return out, nil
}

// optionValue is what Discord's client makes of a typed value.
func optionValue(o map[string]any, value string) (any, error) {
	wrong := fmt.Errorf("%q: %w", value, ErrNoSuchOption)
	choices, _ := o["choices"].([]any)
	if len(choices) > 0 {
		for _, v := range choices {
			c, _ := v.(map[string]any)
			if fmt.Sprint(c["value"]) == value {
				return c["value"], nil
			}
		}
		return nil, wrong
	}
	switch kindOf(o) {
	case optionString:
		n := utf8.RuneCountInString(value)
		if high, there := number(o["max_length"]); there && n > high || n < num(o, "min_length") || n == 0 {
			return nil, wrong
		}
		return value, nil
	case optionInteger:
		n, err := strconv.ParseInt(value, 10, 54)
		if err != nil {
			return nil, wrong
		}
		return n, between(o, float64(n), wrong)
	case optionNumber:
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, wrong
		}
		return n, between(o, n, wrong)
	case optionBoolean:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return nil, wrong
		}
		return b, nil
	}
	if !isSnowflake(value) {
		return nil, wrong
	}
	return value, nil
}

func between(o map[string]any, n float64, wrong error) error {
	for key, bad := range map[string]func(limit float64) bool{
		"min_value": func(limit float64) bool { return n < limit },
		"max_value": func(limit float64) bool { return n > limit },
	} {
		if v, isNumber := o[key].(json.Number); isNumber {
			if limit, err := v.Float64(); err == nil && bad(limit) {
				return wrong
			}
		}
	}
	return nil
}

// resolve describes the users, roles and channels that options name.
func (s *Server) resolve(options []any) map[string]any {
	var out map[string]any
	put := func(what, id string, v any) {
		if out == nil {
			out = map[string]any{}
		}
		all, _ := out[what].(map[string]any)
		if all == nil {
			all = map[string]any{}
			out[what] = all
		}
		all[id] = v
	}
	for _, v := range options {
		o, _ := v.(map[string]any)
		if inner, nested := o["options"].([]any); nested {
			return s.resolve(inner)
		}
		id := text(o, "value")
		if kind := kindOf(o); kind < optionUser || kind > optionMentionable {
			continue
		}
		if u := s.users[id]; u != nil {
			put("users", id, s.wireUser(id))
			if !u.Stranger {
				put("members", id, s.wireMember(u))
			}
		}
		if r := s.roles[id]; r != nil {
			put("roles", id, s.wireRole(r))
		}
		if c := s.channels[id]; c != nil {
			put("channels", id, s.wireChannel(c))
		}
	}
	return out
}
