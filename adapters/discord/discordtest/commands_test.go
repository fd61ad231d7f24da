package discordtest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/discord/discordtest"
)

const commandsPath = "/applications/" + discordtest.ApplicationID + "/guilds/" + discordtest.GuildID + "/commands"

const commands = `[{"name":"epm","description":"Privileged access","options":[
 {"type":1,"name":"status","description":"State of the bot"},
 {"type":1,"name":"ticket","description":"One ticket","options":[{"type":3,"name":"number","description":"Its number","required":true,"autocomplete":true}]},
 {"type":1,"name":"config","description":"Settings","options":[{"type":3,"name":"action","description":"What to do","required":false,"choices":[{"name":"set","value":"set"},{"name":"reset","value":"reset"}]},
  {"type":3,"name":"key","description":"Which"},{"type":4,"name":"count","description":"How many","max_value":5}]},
 {"type":2,"name":"group","description":"More","options":[{"type":1,"name":"inner","description":"Inside","options":null}]}]},
 {"name":"ping","description":"Plain","default_member_permissions":"0"}]`

func TestCommands(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	a := rest(s, "PUT", commandsPath, commands)
	want(t, "put", a, 200, 0)
	if strings.Contains(string(a.raw), `"required":false`) || !strings.Contains(string(a.raw), `"version":"`) || s.CommandWrites() != 1 {
		t.Errorf("commands = %s, written %d times", a.raw, s.CommandWrites())
	}
	again := rest(s, "PUT", commandsPath, commands)
	if id := func(a answer) any { return a.list[0].(map[string]any)["id"] }; id(a) != id(again) || s.CommandWrites() != 2 {
		t.Errorf("the id changed: %s", again.raw)
	}
	want(t, "get", rest(s, "GET", commandsPath, ""), 200, 0)
	want(t, "other guild", rest(s, "GET", strings.Replace(commandsPath, discordtest.GuildID, "77", 1), ""), 403, 50001)

	var last interaction
	newBot(t, s, func(in interaction) {
		last = in
		switch {
		case in.Type == 4:
			want(t, "choices", in.callback(`{"type":8,"data":{"choices":[{"name":"JIT-1042: root","value":"JIT-1042"}]}}`), 204, 0)
		case strings.Contains(string(in.Data.Options), "ticket"):
			want(t, "defer", in.callback(`{"type":5,"data":{"flags":64}}`), 204, 0)
			want(t, "edit", in.hook("PATCH", "/messages/@original", `{"content":"the ticket",`+none+`}`), 200, 0)
		case strings.Contains(string(in.Data.Options), "inner"):
			want(t, "public", in.callback(message(4, 0, "for all")), 204, 0)
		default:
			want(t, "update without a component", in.callback(`{"type":7,"data":{"content":"x",`+none+`}}`), 400, 50035)
			want(t, "answer", in.callback(message(4, 64, "well")), 204, 0)
		}
	})
	p := s.Person(ann)
	ctx := t.Context()
	e, err := p.Command(ctx, epm, "status", nil)
	if err != nil || e == nil || e.Content != "well" || e.Flags != 64 {
		t.Fatalf("status: %+v, %v", e, err)
	}
	if last.Type != 2 || last.Data.Name != "epm" || string(last.Data.Options) != `[{"name":"status","options":[],"type":1}]` {
		t.Errorf("interaction = %s", last.raw)
	}
	e, err = p.Command(ctx, epm, "ticket", map[string]string{"number": "JIT-1042"})
	if err != nil || e == nil || e.Content != "the ticket" || e.Via != "deferred" || e.Edits != 0 {
		t.Errorf("ticket: %+v, %v", e, err)
	}
	e, err = p.Command(ctx, epm, "group inner", nil)
	if err != nil || e == nil || e.Content != "for all" || len(s.Messages(epm)) != 1 || s.Messages(epm)[0].Via != "reply" {
		t.Errorf("group: %+v, %v", e, err)
	}
	if _, err := p.Command(ctx, epm, "config", map[string]string{"action": "set", "count": "3"}); err != nil {
		t.Errorf("config: %v", err)
	}
	if got := string(last.Data.Options); got != `[{"name":"config","options":[{"name":"action","type":3,"value":"set"},{"name":"count","type":4,"value":3}],"type":1}]` {
		t.Errorf("options = %s", got)
	}
	list, err := p.Autocomplete(ctx, epm, "epm ticket", "number", "JIT", nil)
	if err != nil || len(list) != 1 || list[0].Value != "JIT-1042" {
		t.Errorf("Autocomplete = %v, %v", list, err)
	}
	if got := string(last.Data.Options); got != `[{"name":"ticket","options":[{"focused":true,"name":"number","type":3,"value":"JIT"}],"type":1}]` {
		t.Errorf("options = %s", got)
	}
	for name, c := range map[string]struct {
		path    string
		options map[string]string
		want    error
	}{
		"no subcommand":      {"epm nothing", nil, discordtest.ErrNoSuchCommand},
		"bare":               {"epm", nil, discordtest.ErrNoSuchCommand},
		"bare group":         {"epm group", nil, discordtest.ErrNoSuchCommand},
		"another command":    {"other", nil, discordtest.ErrNoSuchCommand},
		"administrators":     {"ping", nil, discordtest.ErrNoSuchCommand},
		"missing option":     {"epm ticket", nil, discordtest.ErrMissing},
		"unknown option":     {"epm status", map[string]string{"x": "y"}, discordtest.ErrNoSuchOption},
		"wrong choice":       {"epm config", map[string]string{"action": "delete"}, discordtest.ErrNoSuchOption},
		"not a number":       {"epm config", map[string]string{"count": "many"}, discordtest.ErrNoSuchOption},
		"too large a number": {"epm config", map[string]string{"count": "6"}, discordtest.ErrNoSuchOption},
	} {
		if _, err := p.Slash(ctx, epm, c.path, c.options); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := p.Slash(ctx, "77", "epm status", nil); !errors.Is(err, discordtest.ErrNoSuchChannel) {
		t.Errorf("no channel: %v", err)
	}
	if _, err := s.Person(discordtest.OwnerID).Slash(ctx, epm, "ping", nil); err != nil {
		t.Errorf("an administrator uses the command: %v", err)
	}
	noViolations(t, s)
	s.RemoveBot()
	if _, err := p.Command(ctx, epm, "status", nil); !errors.Is(err, discordtest.ErrNoSuchCommand) {
		t.Errorf("without the bot: %v", err)
	}
}

func TestCommandWaitsForDeferred(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	rest(s, "PUT", commandsPath, commands)
	newBot(t, s, func(in interaction) { want(t, "defer", in.callback(`{"type":5,"data":{"flags":64}}`), 204, 0) })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	e, err := s.Person(ann).Command(ctx, epm, "status", nil)
	if !errors.Is(err, context.DeadlineExceeded) || e != nil && e.Flags&discordtest.FlagLoading == 0 {
		t.Errorf("Command = %+v, %v", e, err)
	}
}

func TestCheckCommands(t *testing.T) {
	option := func(o string) string { return `[{"name":"epm","description":"d","options":[` + o + `]}]` }
	for name, c := range map[string]struct{ body, want string }{
		"good":                 {commands, ""},
		"upper case":           {`[{"name":"EPM","description":"d"}]`, "Command name is invalid"},
		"space":                {`[{"name":"e p","description":"d"}]`, "Command name is invalid"},
		"hyphen is fine":       {`[{"name":"test-connection","description":"d"}]`, ""},
		"long name":            {`[{"name":"` + strings.Repeat("a", 33) + `","description":"d"}]`, "between 1 and 32"},
		"no description":       {`[{"name":"epm"}]`, "required"},
		"long description":     {`[{"name":"epm","description":"` + strings.Repeat("d", 101) + `"}]`, "between 1 and 100"},
		"twice":                {`[{"name":"a","description":"d"},{"name":"a","description":"d"}]`, "unique"},
		"contexts":             {`[{"name":"a","description":"d","contexts":[0]}]`, "only for global commands"},
		"unknown key":          {`[{"name":"a","description":"d","colour":1}]`, `unknown key "colour"`},
		"permissions":          {`[{"name":"a","description":"d","default_member_permissions":0}]`, "not a string"},
		"26 options":           {option(repeat(26, func(i int) string { return `{"type":3,"name":"o` + strings.Repeat("x", i) + `","description":"d"}` })), "25 or fewer"},
		"required last":        {option(`{"type":3,"name":"a","description":"d"},{"type":3,"name":"b","description":"d","required":true}`), "placed before"},
		"mixed":                {option(`{"type":3,"name":"a","description":"d"},{"type":1,"name":"b","description":"d"}`), "mutually exclusive"},
		"nested subcommands":   {option(`{"type":1,"name":"a","description":"d","options":[{"type":1,"name":"b","description":"d"}]}`), "Sub-command option type invalid"},
		"nested groups":        {option(`{"type":2,"name":"a","description":"d","options":[{"type":2,"name":"b","description":"d"}]}`), "Sub-command option type invalid"},
		"option twice":         {option(`{"type":3,"name":"a","description":"d"},{"type":3,"name":"a","description":"d"}`), "unique"},
		"26 choices":           {option(`{"type":3,"name":"a","description":"d","choices":[` + repeat(26, func(i int) string { return `{"name":"` + strings.Repeat("x", i+1) + `","value":"v"}` }) + `]}`), "25 or fewer"},
		"choices and complete": {option(`{"type":3,"name":"a","description":"d","autocomplete":true,"choices":[{"name":"x","value":"x"}]}`), "Autocomplete"},
		"number as choice":     {option(`{"type":3,"name":"a","description":"d","choices":[{"name":"x","value":1}]}`), "as string"},
		"too large": {option(repeat(25, func(i int) string {
			return `{"type":3,"name":"o` + strings.Repeat("x", i) + `","description":"d","choices":[` + repeat(4, func(j int) string {
				return `{"name":"` + strings.Repeat("n", 40+j) + `","value":"` + strings.Repeat("v", 100) + `"}`
			}) + `]}`
		})), "8000 characters"},
	} {
		got := strings.Join(discordtest.CheckCommands([]byte(c.body)), "; ")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
