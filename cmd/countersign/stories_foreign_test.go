package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
)

// TestStoryForeignConnection: another installation uses the same Slack app.
// Whoever looks is told, and so is doctor, which connects to nothing.
func TestStoryForeignConnection(t *testing.T) {
	t.Parallel()
	s := tell(t, bySocket)
	clean := func(when string) {
		t.Helper()
		s.eventually(when+" none is foreign", func() bool {
			_, metrics := s.get("/metrics")
			text, fixes, _ := s.doctored(t.Context(), nil)
			return strings.Contains(metrics, "countersign_slack_foreign_connections 0\n") && len(fixes) == 0 &&
				strings.Contains(text, "ok   Slack: the connections of the app, as the bot last recorded them") &&
				!strings.Contains(s.slackSays("U01ANN", "status"), "not of this installation")
		})
	}
	clean("at first")
	s.stop()
	other, err := slack.New(slack.Config{BotToken: slacktest.BotToken, AppToken: slacktest.AppToken, APIURL: s.slack.URL(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- other.Run(ctx, adaptertest.NewBook()) }()
	end := func() { cancel(); <-ended }
	s.eventually("the other is connected", func() bool { return other.Ready() == nil })
	s.start()
	s.eventually("the metric tells", func() bool {
		_, metrics := s.get("/metrics")
		return strings.Contains(metrics, "countersign_slack_foreign_connections 1\n")
	})
	// Slack delivers what people do to either.
	s.eventually("/epm status tells", func() bool {
		return strings.Contains(s.slackSays("U01ANN", "status"), "Slack: connections of this app that are not of this installation: 1.")
	})
	if !strings.Contains(s.logs.String(), "slack has connections of this app that are not of this installation") {
		t.Error("the log does not tell")
	}
	s.eventually("doctor tells", func() bool {
		_, fixes, _ := s.doctored(t.Context(), nil)
		return len(fixes) == 1 && strings.Contains(fixes[0], "not of this installation: 1.")
	})
	end()
	s.stop()
	s.start()
	clean("in the end")
}
