package slack_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/tickets"
)

// TestPostFaults is the table of what a failed post means, and that a repeated
// one never leaves two messages, whether the first took effect or not.
func TestPostFaults(t *testing.T) {
	named := func(name string) slacktest.Fault {
		return slacktest.Fault{Kind: slacktest.SlackError, ErrorName: name}
	}
	for _, tt := range []struct {
		name  string
		fault slacktest.Fault
		want  tickets.Class
		both  bool // it may have taken effect
	}{
		{"Drop", slacktest.Fault{Kind: slacktest.DropConnection}, tickets.Ambiguous, true},
		{"EmptyObject", slacktest.Fault{Kind: slacktest.EmptyObject}, tickets.Ambiguous, true},
		{"OKFalse", slacktest.Fault{Kind: slacktest.OKFalse}, tickets.Ambiguous, true},
		{"NoTS", slacktest.Fault{Kind: slacktest.NoTS}, tickets.Ambiguous, true},
		{"Unavailable", slacktest.Fault{Kind: slacktest.Unavailable}, tickets.Ambiguous, true},
		{"InternalError", slacktest.Fault{Kind: slacktest.InternalError}, tickets.Ambiguous, true},
		{"CaptivePortal", slacktest.Fault{Kind: slacktest.CaptivePortal}, tickets.Ambiguous, true},
		{"UnknownElement", slacktest.Fault{Kind: slacktest.UnknownElement}, tickets.Ambiguous, true},
		{"Slow", slacktest.Fault{Kind: slacktest.Slow, Delay: 3 * time.Second}, tickets.Ambiguous, true},
		{"Fatal", named("fatal_error"), tickets.Ambiguous, true},
		{"Limited", slacktest.Fault{Kind: slacktest.Limited}, tickets.RateLimited, true},
		{"LimitedNoHeader", slacktest.Fault{Kind: slacktest.LimitedNoHeader}, tickets.RateLimited, true},
		{"LimitedInBody", slacktest.Fault{Kind: slacktest.LimitedInBody}, tickets.RateLimited, true},
		{"LimitedOtherName", named("rate_limited"), tickets.RateLimited, true},
		{"LimitedMessages", named("message_limit_exceeded"), tickets.RateLimited, true},
		{"ChannelGone", named("channel_not_found"), tickets.NotFound, false},
		{"Archived", named("is_archived"), tickets.NotFound, false},
		{"NotInvited", named("not_in_channel"), tickets.NotFound, false},
		{"Restricted", named("restricted_action"), tickets.Rejected, false},
		{"Auth", named("invalid_auth"), tickets.Unauthorized, false},
		{"Revoked", named("token_revoked"), tickets.Unauthorized, false},
		{"Unknown", named("a_name_of_tomorrow"), tickets.Unavailable, false},
	} {
		for _, did := range []bool{false, true} {
			if did && !tt.both {
				continue
			}
			t.Run(fmt.Sprintf("%s/did=%v", tt.name, did), func(t *testing.T) {
				b := adaptertest.NewBook()
				w := begin(t, "http", b, func(_ *slacktest.Config, c *slack.Config) {
					if tt.fault.Kind == slacktest.Slow {
						c.Timeout = tt.fault.Delay / 3
					}
				})
				tk := b.Add(1042, adaptertest.Request(), w.Place())
				f := tt.fault
				f.Method, f.Did = "chat.postMessage", did
				w.fake.Fail(f)
				since := time.Now()
				_, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
				var got *tickets.Failure
				if !errors.As(err, &got) || got.Class != tt.want {
					t.Fatalf("Post() = %v, want class %s", err, tt.want)
				}
				if (got.RetryAfter > 0) != (tt.want == tickets.RateLimited) {
					t.Errorf("After is %s", got.RetryAfter)
				}
				if !tt.both || (tt.want == tickets.RateLimited && got.RetryAfter > time.Second) {
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), hang)
				defer cancel()
				if _, err := w.chat.Post(ctx, w.Place(), tk, since); err != nil {
					t.Fatalf("the second Post() = %v", err)
				}
				if n := len(w.fake.Messages(channel)); n != 1 {
					t.Errorf("%d messages, want 1", n)
				}
			})
		}
	}
}

// TestNoTimestamp: an answer that names something else than a message may
// hold our own token, and a message's id is stored. To see it fail, let isTS
// take anything.
func TestNoTimestamp(t *testing.T) {
	for name, ts := range map[string]string{
		"Secret": "Bearer " + slacktest.BotToken, "Seconds": "1769864700", "Short": "1769864700.00010", "Long": "1769864700.0001000", "Comma": "1769864700,000100",
		"Early": "176986470.000100", "Line": "1769864700.000100\n", "Around": "p1769864700.000100 ", "Digits": "١٧٦٩٨٦٤٧٠٠.٠٠٠١٠٠",
	} {
		t.Run(name, func(t *testing.T) {
			b := adaptertest.NewBook()
			w := begin(t, "http", b, nil)
			tk := b.Add(1042, adaptertest.Request(), w.Place())
			odd := func(method, ts string) {
				w.fake.Fail(slacktest.Fault{Method: method, Kind: slacktest.OtherTS, TS: ts, Did: true})
			}
			unclear := func(call string, err error) {
				t.Helper()
				if err == nil || tickets.FailureOf(err).Class != tickets.Ambiguous || strings.Contains(err.Error(), slacktest.BotToken) {
					t.Errorf("%s = %v, want that it is unclear", call, err)
				}
			}
			since := time.Now()
			odd("chat.postMessage", ts)
			id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
			if unclear("Post()", err); id != "" {
				t.Errorf("Post() = %q", id)
			}
			if id, err = w.chat.Post(t.Context(), w.Place(), tk, since); err != nil || len(w.fake.Messages(channel)) != 1 || id != w.fake.Messages(channel)[0].TS {
				t.Fatalf("the second Post() = %q, %v, with %v", id, err, w.fake.Messages(channel))
			}
			m := tickets.Message{Place: w.Place(), ID: id}
			odd("chat.update", ts)
			unclear("Edit()", w.chat.Edit(t.Context(), m, tk))
			odd("chat.update", "1769864700.000100")
			unclear("Edit() of another", w.chat.Edit(t.Context(), m, tk))
			odd("chat.postMessage", ts)
			unclear("Reply()", w.chat.Reply(t.Context(), m, tk, 0, time.Time{}))
			w.fake.AddUser(slacktest.User{ID: "U0ANN", Name: "ann"})
			odd("chat.postMessage", ts)
			unclear("Tell()", w.chat.DirectMessage(t.Context(), tickets.Principal{Platform: slack.Platform, Kind: tickets.User, ID: "U0ANN"}, "x"))
		})
	}
}

func TestRefusedBlocksArePostedPlain(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "http", b, nil)
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	w.fake.Fail(slacktest.Fault{Method: "chat.postMessage", Kind: slacktest.SlackError, ErrorName: "invalid_blocks"})
	id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	cards := w.Cards()
	if len(cards) != 1 || !strings.Contains(cards[0].Text, "JIT-1042") || len(cards[0].Buttons) != 3 {
		t.Errorf("cards are %+v", cards)
	}
	if !strings.Contains(w.log.String(), "slack refuses a message") {
		t.Error("the operator was not told")
	}
	w.fake.Fail(slacktest.Fault{Method: "chat.update", Kind: slacktest.SlackError, ErrorName: "msg_blocks_too_long"})
	if err := w.chat.Edit(t.Context(), tickets.Message{Place: w.Place(), ID: id}, tk); err != nil {
		t.Error(err)
	}
	w.fake.Fail(slacktest.Fault{Method: "chat.update", Kind: slacktest.SlackError, ErrorName: "invalid_blocks", Times: 2})
	if f := tickets.FailureOf(w.chat.Edit(t.Context(), tickets.Message{Place: w.Place(), ID: id}, tk)); f.Class != tickets.Rejected {
		t.Errorf("refused twice: %v, want class refused", f)
	}
}

func TestWhatIsSent(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "http", b, nil)
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	if _, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{}); err != nil {
		t.Fatal(err)
	}
	call := w.fake.CallsTo("chat.postMessage")[0]
	if call.Args["unfurl_links"] != "false" || call.Args["unfurl_media"] != "false" || call.Args["text"] == "" {
		t.Errorf("the arguments are %v", call.Args)
	}
	var meta map[string]any
	if err := json.Unmarshal([]byte(call.Args["metadata"]), &meta); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(meta), "map[event_payload:map[place:slack:C01EPM rev:1 ticket:JIT-1042] event_type:countersign_ticket]"; got != want {
		t.Errorf("metadata is %s, want %s", got, want)
	}
}
