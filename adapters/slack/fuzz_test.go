package slack

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/tickets"
)

type noNetwork struct{}

func (noNetwork) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("there is no network")
}

// guarded fails the test when something reaches the bot that must not.
type guarded struct {
	t  *testing.T
	tk *tickets.Ticket
}

func (g guarded) actor(a tickets.Actor) {
	if a.Platform != Platform || !userID.MatchString(a.ID) {
		g.t.Errorf("an actor of no workspace: %+v", a)
	}
}

func (g guarded) Click(_ context.Context, c adapters.Click) adapters.Answer {
	g.actor(c.Actor)
	if _, ok := c.Number.Seq(); !ok {
		g.t.Errorf("a number that is none: %q", c.Number)
	}
	if !slices.Contains([]adapters.Action{adapters.ActionApprove, adapters.ActionDeny, adapters.ActionDetails, adapters.ActionForm, adapters.ActionState}, c.Action) {
		g.t.Errorf("an action that is none: %q", c.Action)
	}
	return adapters.Form{Ticket: g.tk, Verdict: tickets.Approve, Values: c.Form}
}

func (g guarded) Submit(_ context.Context, s adapters.Submission) adapters.Answer {
	g.actor(s.Actor)
	if s.Verdict != tickets.Approve && s.Verdict != tickets.Deny {
		g.t.Errorf("a verdict that is none: %q", s.Verdict)
	}
	_, _, problems := s.Form.Check(s.Verdict)
	return adapters.Form{Ticket: g.tk, Verdict: s.Verdict, Values: s.Form, Problems: problems}
}

func (g guarded) Command(_ context.Context, c adapters.Command) adapters.Answer {
	g.actor(c.Actor)
	return adapters.Note{Text: c.Text}
}

func (g guarded) Autocomplete(context.Context, adapters.Completion) adapters.Suggestions { return nil }

func (g guarded) Home(_ context.Context, a tickets.Actor) adapters.Answer {
	g.actor(a)
	return adapters.Home{Queue: []adapters.Waiting{{Ticket: g.tk}}}
}

func (g guarded) SubmitSettings(_ context.Context, c adapters.Configuration) adapters.Answer {
	g.actor(c.Actor)
	out := adapters.Settings{Version: c.Version}
	for key, value := range c.Values {
		out.Fields = append(out.Fields, adapters.Setting{Key: key, Label: "Label", Value: value, Problem: "wrong"})
	}
	return out
}

// FuzzInteraction: no payload ends the program, gets somebody else past the
// door, or is answered with something that Slack does not take.
func FuzzInteraction(f *testing.F) {
	f.Add([]byte(`{"type":"view_submission","api_app_id":"A01","team":{"id":"T01"},"user":{"id":"U01","team_id":"T01"},
		"view":{"id":"V1","callback_id":"settings","private_metadata":"7","state":{"values":{"category@7":{"category@7":{"value":"x"}},
		"active_states@7":{"active_states@7":{"selected_options":[{"value":"New"}]}}}}}}`))
	f.Add([]byte(`{"type":"block_actions","api_app_id":"A01","team":{"id":"T01"},"user":{"id":"U01","username":"ann","team_id":"T01"},
		"container":{"message_ts":"1.1","channel_id":"C01"},"channel":{"id":"C01"},"trigger_id":"1.2","response_url":"https://hooks.slack.com/actions/T01/1/x",
		"actions":[{"type":"button","action_id":"approve","block_id":"act:7","value":"JIT-1042","action_ts":"1.1"}]}`))
	f.Add([]byte(`{"type":"block_actions","api_app_id":"A01","team":{"id":"T01"},"user":{"id":"U01"},"channel":{"id":"C01"},
		"actions":[{"type":"static_select","action_id":"state","selected_option":{"value":"JIT-1042 On Hold"}}]}`))
	f.Add([]byte(`{"type":"block_actions","team":{"id":"T01"},"user":{"id":"U01"},"view":{"id":"V1","callback_id":"approve","private_metadata":"JIT-1"},"actions":[{"action_id":"unit"}]}`))
	f.Add([]byte(`{"type":"view_submission","team":{"id":"T01"},"user":{"id":"U01","team_id":"T01"},"view":{"id":"V01","hash":"1.ab","callback_id":"approve",
		"private_metadata":"JIT-1042","state":{"values":{"reason":{"reason":{"value":"ok"}},"unit":{"unit":{"selected_option":{"value":"hours"}}},"amount":{"amount":{"value":"30"}}}}}}`))
	f.Add([]byte(`{"type":"view_submission","team":null,"enterprise":{"id":"T01"},"user":{"id":7},"view":[]}`))
	f.Add([]byte(`{"type":"event_callback","event":{"type":"subteam_updated"}}`))
	f.Add([]byte(`{"type":"event_callback","team_id":"T01","event":{"type":"app_home_opened","tab":"home","user":"U01","view":{"hash":"1.a"}}}`))
	f.Add([]byte(`{"type":"block_actions","team":{"id":"T01"},"user":{"id":"U01"},"view":{"id":"V1","type":"home","hash":"1.a"},
		"actions":[{"type":"button","action_id":"approve","value":"JIT-1042"}]}`))
	f.Add([]byte(`{"type":"view_submission","team":{"id":"T01"},"user":{"id":"U01"},"view":{"id":"V1","type":"modal","callback_id":"deny",
		"private_metadata":"JIT-1042 home","state":{"values":{"reason":{"reason":{"value":"ok"}}}}}}`))
	c, err := New(Config{BotToken: "xoxb-x", SigningSecrets: []string{"s"}, Transport: noNetwork{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	c.self = &identity{team: "T01", user: "U0BOT", bot: "B0BOT"}
	tk := adaptertest.Started(adaptertest.Request())
	f.Fuzz(func(t *testing.T, payload []byte) {
		h := guarded{t, tk}
		for _, s := range []response{
			c.interact(t.Context(), time.Now(), payload, h),
			c.command(t.Context(), time.Now(), commandText{TeamID: "T01", UserID: "U01", Text: text(payload)}, h),
			c.event(payload, h),
		} {
			if s.ack == nil {
				continue
			}
			raw, err := jsonx.Encode(s.ack)
			if err != nil {
				t.Fatal(err)
			}
			if sub, ok := s.ack.(submission); ok && sub.View != nil {
				view, err := json.Marshal(sub.View)
				if err != nil {
					t.Fatal(err)
				}
				if wrong := lintView(view); len(wrong) > 0 {
					t.Errorf("a view that slack refuses: %v", wrong)
				}
			}
			for _, bad := range []string{"<!channel>", "\\u0000"} {
				if a, ok := s.ack.(commandAnswer); ok && strings.Contains(a.Text, bad) {
					t.Errorf("%s", raw)
				}
			}
		}
		select {
		case <-c.dead:
		default:
		}
	})
}
