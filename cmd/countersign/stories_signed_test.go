package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/slack/slacktest"
)

// A wrong clock and a wrong secret are told apart, in the log and the metrics,
// for both chats; and no connection waits for what is refused.
func TestStorySignedRequestsRefused(t *testing.T) {
	t.Parallel()
	s := tell(t, discordByHTTP)
	command := url.Values{"command": {"/epm"}, "text": {"help"}}.Encode()
	for _, how := range []slacktest.Signing{{None: true}, {Age: 10 * time.Minute}, {Secret: "another"}} {
		status, _, err := s.slack.Post(t.Context(), "http://"+s.addr+"/slack/commands", "application/x-www-form-urlencoded", command, how)
		if err != nil || status != http.StatusUnauthorized {
			t.Errorf("%+v: %d, %v, want 401", how, status, err)
		}
	}
	for _, d := range []discordtest.RawDelivery{{Unsigned: true}, {Age: -10 * time.Minute}, {OtherKey: true}} {
		if status, _, err := s.discord.Deliver(t.Context(), d); err != nil || status != http.StatusUnauthorized {
			t.Errorf("%+v: %d, %v, want 401", d, status, err)
		}
	}
	_, metrics := s.get("/metrics")
	// Discord sends wrong signatures of its own when the address is set.
	for _, want := range []string{
		`platform="slack",reason="unsigned"} 1`, `platform="slack",reason="clock"} 1`, `platform="slack",reason="signature"} 1`,
		`platform="discord",reason="clock"} 1`, `platform="discord",reason="signature"} `, `platform="discord",reason="unsigned"} `,
	} {
		line := "countersign_signed_requests_refused_total{" + want
		if !strings.Contains(metrics, line) || strings.Contains(metrics, line+"0\n") {
			t.Errorf("the metrics do not have %s", line)
		}
	}
	s.eventually("a line in the log", func() bool { return strings.Contains(s.logs.String(), "signed requests refused") })
}
