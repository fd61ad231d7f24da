package slack

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

// lookMargin is how far before the first attempt a message is looked for: our
// clock and Slack's may differ.
const lookMargin = 15 * time.Minute

// found is a message as far as looking for our own needs it.
type found struct {
	TS       string `json:"ts"`
	ThreadTS string `json:"thread_ts"`
	User     string `json:"user"`
	BotID    string `json:"bot_id"`
	Metadata struct {
		EventType    string `json:"event_type"`
		EventPayload struct {
			Ticket text `json:"ticket"`
			Rev    text `json:"rev"`
		} `json:"event_payload"`
	} `json:"metadata"`
}

// by reports whether we have sent m.
func (m *found) by(self identity) bool {
	return self.user != "" && m.User == self.user || self.bot != "" && m.BotID == self.bot
}

// find looks for a message of ours that was sent at or after since: the card
// of ticket n or, in a thread, its reply about event. It returns "" if there
// is none, or if looking is not allowed here: then a second message is the
// smaller harm, since the buttons of both work.
func (c *Chat) find(ctx context.Context, channel, thread string, n tickets.Number, event int, since time.Time) (ts string, rev int, err error) {
	self, err := c.identity(ctx)
	if err != nil {
		return "", 0, err
	}
	method := "conversations.history"
	args := url.Values{
		"channel":              {channel},
		"oldest":               {strconv.FormatInt(since.Add(-lookMargin).Unix(), 10)},
		"inclusive":            {"1"},
		"limit":                {"200"},
		"include_all_metadata": {"1"},
	}
	if thread != "" {
		method = "conversations.replies"
		args.Set("ts", thread)
	}
	for {
		var page struct {
			Messages []found `json:"messages"`
			HasMore  bool    `json:"has_more"`
			Next     struct {
				Cursor string `json:"next_cursor"`
			} `json:"response_metadata"`
		}
		err := c.call(ctx, method, channel, false, func() error {
			err := c.read(ctx, method, args, &page)
			if err == nil && page.Messages == nil {
				err = errNoList // it does not say that there is none
			}
			return err
		})
		if err != nil {
			switch tickets.FailureOf(err).Class {
			case tickets.Unauthorized, tickets.NotFound, tickets.Rejected:
				c.log.Warn("cannot look for an earlier message, sending another", "ticket", string(n), "channel", channel, "err", err)
				return "", 0, nil
			}
			return "", 0, err
		}
		for _, m := range page.Messages {
			p := m.Metadata.EventPayload
			inThread := m.ThreadTS != "" && m.ThreadTS != m.TS
			if !m.by(self) || m.Metadata.EventType != adapters.MetadataEvent || string(p.Ticket) != string(n) || inThread != (thread != "") {
				continue
			}
			rev, err := strconv.Atoi(string(p.Rev))
			if err != nil || (thread != "" && rev != event) {
				continue
			}
			if !isTS(m.TS) {
				return "", 0, failure(method, false, errNoEcho)
			}
			return m.TS, rev, nil
		}
		if page.Next.Cursor == "" {
			return "", 0, nil
		}
		args.Set("cursor", page.Next.Cursor)
	}
}
