package slack_test

import (
	"context"
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters"
)

func TestCommands(t *testing.T) {
	var got adapters.Command
	h := handler{command: func(_ context.Context, c adapters.Command) adapters.Answer {
		got = c
		switch c.Text {
		case "nothing":
			return adapters.Done{}
		case "nil":
			return nil
		}
		return adapters.Note{Text: "done <!channel> *x*"}
	}}
	w := begin(t, "http", h, nil)
	p := w.fake.Person(userOf(2))
	for in, want := range map[string]string{
		"config set approvers <@U01ANN|ann>,<!subteam^S01HELP|@helpdesk>": "config set approvers slack:U01ANN,slack:group:S01HELP",
		"config set channels <#C01EPM|epm> <#C02|>":                       "config set channels slack:channel:C01EPM slack:channel:C02",
		"tickets a &lt;b&gt; &amp; c":                                     "tickets a <b> & c",
		"tickets <https://x.example/a?b=c|x.example>":                     "tickets https://x.example/a?b=c",
		"tickets <mailto:a@b.example|a@b.example>":                        "tickets a@b.example",
		"nothing": "nothing",
		"nil":     "nil",
	} {
		a, err := p.CommandIn(t.Context(), channel, "/epm", in)
		if err != nil {
			t.Fatal(err)
		}
		if got.Text != want || got.Actor != w.Actor(2) || got.Place != w.Place() {
			t.Errorf("%q: the command is %+v, want text %q", in, got, want)
		}
		if answered := a.Text != ""; answered != strings.Contains(in, " ") || (answered && a.Text != "done &lt;!channel&gt; *x*") {
			t.Errorf("%q: answered with %+v", in, a)
		}
	}
}
