package discord_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/tickets"
)

// flooding answers every call with gzip that becomes far more than any answer
// needs, and counts what is read of it.
type flooding struct{ read atomic.Int64 }

const flood = 128 << 20

func (f *flooding) RoundTrip(*http.Request) (*http.Response, error) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = io.WriteString(w, `{"ok":true,"id":"1","ts":"`)
	_, _ = io.CopyN(w, endless{}, flood)
	_ = w.Close()
	body, err := gzip.NewReader(&packed)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"application/json"}},
		ContentLength: -1, Uncompressed: true, Body: io.NopCloser(io.TeeReader(body, (*counter)(&f.read))),
	}, nil
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	return copy(b, strings.Repeat("7", len(b))), nil
}

type counter atomic.Int64

func (c *counter) Write(b []byte) (int, error) {
	(*atomic.Int64)(c).Add(int64(len(b)))
	return len(b), nil
}

// An answer without end, as a small one in gzip can be, is not read to its end.
func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	tk := adaptertest.NewBook().Add(1042, adaptertest.Request(), tickets.Place{Platform: discord.Platform, Channel: channel})
	for name, call := range map[string]func(*discord.Chat) error{
		"Post": func(c *discord.Chat) error {
			_, err := c.Post(t.Context(), tickets.Place{Platform: discord.Platform, Channel: channel}, tk, time.Time{})
			return err
		},
		"Find": func(c *discord.Chat) error {
			_, err := c.Post(t.Context(), tickets.Place{Platform: discord.Platform, Channel: channel}, tk, time.Now().Add(-time.Hour))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			flood := &flooding{}
			c, err := discord.New(discord.Config{BotToken: discordtest.BotToken, ApplicationID: discordtest.ApplicationID, Guild: discordtest.GuildID, Transport: flood})
			if err != nil {
				t.Fatal(err)
			}
			if err := call(c); err == nil {
				t.Error("it was understood")
			}
			if n := flood.read.Load(); n == 0 || n > 10<<20 {
				t.Errorf("%d MiB were read, want 8 at most", n>>20)
			}
		})
	}
}
