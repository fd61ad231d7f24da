package slack_test

import (
	"io"
	"log/slog"
	"testing"

	"github.com/countersign/countersign/adapters/slack"
)

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	slack.Golden(t, name, got)
}

func logger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
